// Softmax and its relatives over the rows of a matrix.
//
//   z = scale · x / T     softmax(x)_i = exp(z_i − lse)     log_softmax(x)_i = z_i − lse
//   lse = log Σ exp(z)    and the gradients of the first two.
//
// Entries of −∞ are masked: they weigh nothing. A row that is masked throughout, or empty, has
// softmax 0, log-softmax −∞ and LSE −∞. NaN in a row spreads over that row and no further. Results
// do not depend on the number of threads. An entry of +∞ makes its row NaN, as ∞ − ∞ is.
#pragma once

#include <cstdint>
#include <string_view>

#include "heed/executor.h"
#include "heed/export.h"
#include "heed/status.h"

namespace heed {

/// A matrix to read: row r begins at data + r · stride.
struct ConstRows {
  const float* data = nullptr;
  std::int64_t rows = 0;
  std::int64_t length = 0;  ///< elements of a row, ≥ 0
  /// Elements from row to row; |stride| ≥ length where there is more than one row.
  std::int64_t stride = 0;
};

/// A matrix to write; may be exactly the input (in place), but may not overlap it otherwise.
struct Rows {
  float* data = nullptr;
  std::int64_t rows = 0;
  std::int64_t length = 0;
  std::int64_t stride = 0;
};

struct SoftmaxOptions {
  float scale = 1.0F;  ///< finite
  /// T ≥ 0. 0 is the argmax, shared equally among ties (log-softmax: log of that; LSE: NaN);
  /// infinity is uniform over the entries that are not masked.
  float temperature = 1.0F;
  std::string_view isa = {};     ///< as in PlanOptions
  int workers = 0;               ///< as in PlanOptions; 1 stays on the calling thread
  Executor* executor = nullptr;  ///< default: the caller's arena
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

/// The gradient through y = softmax(x): dx = y ⊙ (dy − ⟨y, dy⟩) · scale / T. dx may be y or dy.
/// T = ∞ gives 0; T = 0 has no gradient and is refused.
HEED_API Status softmax_gradient(const ConstRows& y, const ConstRows& dy, const Rows& dx,
                                 const SoftmaxOptions& options = {}) noexcept;

/// The gradient through y = log-softmax(x): dx = (dy − exp(y) · Σ dy) · scale / T; as above.
HEED_API Status log_softmax_gradient(const ConstRows& y, const ConstRows& dy, const Rows& dx,
                                     const SoftmaxOptions& options = {}) noexcept;

}  // namespace heed
