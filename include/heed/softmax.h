// Softmax and its relatives over the rows of a matrix.
//
//   z = scale · x / T     softmax(x)_i = exp(z_i − lse)     log_softmax(x)_i = z_i − lse
//   lse = log Σ exp(z)    and the gradients of the first two, by x and by T.
//
// Entries of −∞ are masked, and so are those that a mask hides: they weigh nothing. A row that is
// masked throughout, or empty, has softmax 0, log-softmax −∞ and LSE −∞. NaN in a row spreads over
// that row and no further. Results do not depend on the number of threads. An entry of +∞ makes its
// row NaN, as ∞ − ∞ is.
//
// Matrices are of f32, f16 or bf16, each its own. Whatever they are, rows are computed in f32, and
// a result of 16 bits is the one of f32, rounded to the nearest (ties to even).
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "heed/executor.h"
#include "heed/export.h"
#include "heed/status.h"
#include "heed/tensor_data.h"

namespace heed {

/// A matrix to read: row r begins r · stride elements after data.
struct ConstRows {
  InputData data;  ///< of f32, f16 or bf16: a `const float*`, `const BFloat16*` …
  std::int64_t rows = 0;
  std::int64_t length = 0;  ///< elements of a row, ≥ 0
  /// Elements from row to row; |stride| ≥ length where there is more than one row.
  std::int64_t stride = 0;
};

/// A matrix to write; may be exactly the input (in place, of its type), but may not overlap it
/// otherwise.
struct Rows {
  OutputData data;
  std::int64_t rows = 0;
  std::int64_t length = 0;
  std::int64_t stride = 0;
};

/// Which entries of a matrix are visible: entry i of row r where visible[r · stride + i] is not 0
/// (true, as in PyTorch's masks of bool). The others are hidden. What they hold is not looked at,
/// NaN included: they have softmax 0, log-softmax −∞, and no gradient.
struct EntryMask {
  const std::uint8_t* visible = nullptr;  ///< null: all entries are visible
  /// Bytes from row to row, of any sign; 0: all rows have the same mask.
  std::int64_t stride = 0;
};

struct SoftmaxOptions {
  float scale = 1.0F;  ///< finite
  /// T ≥ 0. 0 is the argmax, shared equally among ties (log-softmax: log of that; LSE: NaN);
  /// infinity is uniform over the entries that are not masked.
  float temperature = 1.0F;
  /// One T for each row, each as above and in any mixture, in place of `temperature`, which is then
  /// not looked at. Empty: there are none.
  std::span<const float> temperatures = {};
  EntryMask mask = {};
  std::string_view isa = {};     ///< as in PlanOptions
  int workers = 0;               ///< as in PlanOptions; 1 stays on the calling thread
  Executor* executor = nullptr;  ///< null: where thread_library() says
};

/// y = softmax(x).
HEED_API Status softmax(const ConstRows& x, const Rows& y,
                        const SoftmaxOptions& options = {}) noexcept;

/// y = log-softmax(x).
HEED_API Status log_softmax(const ConstRows& x, const Rows& y,
                            const SoftmaxOptions& options = {}) noexcept;

/// lse[r] = log Σ exp(z) of row r; `lse` has x.rows elements.
HEED_API Status log_sum_exp(const ConstRows& x, float* lse,
                            const SoftmaxOptions& options = {}) noexcept;

/// The gradient through y = softmax(x): dx = g · scale / T with g = y ⊙ (dy − ⟨y, dy⟩). dx may be y
/// or dy. T = ∞ gives 0; T = 0 has no gradient and is refused. Hidden entries have dx 0.
HEED_API Status softmax_gradient(const ConstRows& y, const ConstRows& dy, const Rows& dx,
                                 const SoftmaxOptions& options = {}) noexcept;

/// The gradient through y = log-softmax(x): dx = g · scale / T with g = dy − exp(y) · Σ dy; as
/// above.
HEED_API Status log_softmax_gradient(const ConstRows& y, const ConstRows& dy, const Rows& dx,
                                     const SoftmaxOptions& options = {}) noexcept;

/// The same, and the gradient of each row's T (dL/dT, where dy is dL/dy): dt[r] = −1/T · Σ g·(log y
/// − m), m being the mean of log y under y. Neither x nor the logits are needed for it. `dt` has
/// y.rows elements, or is null. T = ∞ and a scale of 0 give 0; entries with y = 0 add nothing. The
/// sum of a T that rows have in common is that of its rows' gradients.
///
/// Accuracy, for y as given, with ε = 2⁻²⁴: within (A + 4)·ε/T · Σ |g·(log y − m)| + 6·ε/T · Σ
/// |g·log y|, A being what a sum of 1024 floats loses: 22, 37 or 68 with AVX-512, AVX2 or neither.
HEED_API Status softmax_gradient(const ConstRows& y, const ConstRows& dy, const Rows& dx, float* dt,
                                 const SoftmaxOptions& options = {}) noexcept;

/// The same through y = log-softmax(x), whose values are the log y above; those of −∞ add nothing.
HEED_API Status log_softmax_gradient(const ConstRows& y, const ConstRows& dy, const Rows& dx,
                                     float* dt, const SoftmaxOptions& options = {}) noexcept;

}  // namespace heed
