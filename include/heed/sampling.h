// Drawing tokens from logits, for vocabularies of up to 4 million tokens, many rows at once,
// without sorting them.
//
// What happens to a row of logits z:
//
//   weights   w_i = 2^((z_i − max z) · log2 e / T), rounded to a multiple of 2⁻⁴⁰. Logits of −∞ are
//             masked: they weigh nothing. Tokens have an order: by logit from the largest down,
//             among equal logits by number from the lowest up.
//   top-k     The first k tokens of that order are kept.
//   top-p     Of these the fewest, from the first on, whose weights together are at least top_p
//             times the weights of all these.
//   min-p     Of these all with w_i ≥ min_p · (the largest weight, 1).
//   drawing   One of these, with probability w_i / (the sum of the weights of these).
//
// So temperature comes first, each filter sees what the one before it has left, and the first token
// of the order is always kept. T = 0 is greedy: the first token of that order, whatever the filters
// say. T = ∞ gives all tokens that are not masked the same weight, and leaves their order.
//
// Weights are integers (of units of 2⁻⁴⁰), and their sums are exact: what is kept is exactly the
// set above, and the token of a row follows from its logits, its rule and its draw alone. Threads,
// the other rows, strides, and the instruction set do not change it. Computed weights are off by
// 2⁻⁴¹ of the largest one, and relatively by (|log2 w| + 1) · 2⁻²²; a token that weighs less than
// 2⁻⁴¹ of the largest one is never drawn. A share W of a sum S is drawn with probability W / S
// within 2⁻⁶⁴.
//
// The random number of a draw is the first 64 bits, the first word being the lower half, of
// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011) with the
// seed as its key and the counter in the first two words of its counter, the others being 0. The
// token is the first at which the sum of the kept weights, by number, exceeds random · S / 2^64.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "heed/executor.h"
#include "heed/export.h"
#include "heed/status.h"
#include "heed/tensor_data.h"

namespace heed {

/// Logits to read, of f32, f16 or bf16: row r begins at element r · stride.
struct Logits {
  InputData data;
  std::int64_t rows = 0;
  std::int64_t length = 0;  ///< tokens of the vocabulary, 0 … 2^22
  std::int64_t stride = 0;  ///< any, 0 too: rows are only read
};

/// What may be drawn from a row, and how likely. As it is: all tokens by their softmax.
struct SamplingRule {
  float temperature = 1;   ///< T ≥ 0; 0: the largest logit; infinity: all alike
  std::int64_t top_k = 0;  ///< ≥ 0; 0: all
  float top_p = 1;         ///< above 0, up to 1; 1: all
  float min_p = 0;         ///< 0 … 1; 0: all
};

/// Which random number a row is given. Two draws are independent where seed or counter differ: a
/// request may have a seed of its own, and count its tokens.
struct Draw {
  std::uint64_t seed = 0;
  std::uint64_t counter = 0;
};

/// What a row without a token gets: NaN or +∞ is among its logits, or all are masked, or it is
/// empty.
inline constexpr std::int32_t kNoToken = -1;

/// What is written, one element for each row.
struct Samples {
  std::int32_t* tokens = nullptr;
  /// The probability that the token had to be drawn, after all filters (1 where T is 0, 0 for
  /// kNoToken); may be null.
  float* probabilities = nullptr;
};

/// The memory that `sample` works in. Kept from call to call it spares each of them an allocation.
/// Grows on request, never shrinks, and serves one call at a time: another one is refused.
class HEED_API SamplingWorkspace {
 public:
  SamplingWorkspace() noexcept = default;
  ~SamplingWorkspace();
  SamplingWorkspace(SamplingWorkspace&& other) noexcept;
  SamplingWorkspace& operator=(SamplingWorkspace&& other) noexcept;

  /// Makes room for rows of `length` logits on `workers` workers (0: CpuInfo::default_workers): for
  /// each 28 bytes a logit, and a few hundred. Allocates only where there is too little.
  Status reserve(std::int64_t length, int workers = 0) noexcept;
  std::size_t bytes() const noexcept { return bytes_; }

  struct Header;
  /// For heed itself.
  Header* data() noexcept { return data_; }

 private:
  Header* data_ = nullptr;
  std::size_t bytes_ = 0;
};

/// Draws a token from each row. `rules` has one rule for each row, or one for all. `draws` has one
/// for each row; it may be empty where all rules have T = 0. Rows without a token (kNoToken) do not
/// disturb the others. Outputs may not overlap the logits or each other. Works in `workspace`, and
/// allocates one for the call where that is null; fails before anything is written.
HEED_API Status sample(const Logits& logits, std::span<const SamplingRule> rules,
                       std::span<const Draw> draws, const Samples& samples,
                       const RunOptions& options = {},
                       SamplingWorkspace* workspace = nullptr) noexcept;

}  // namespace heed
