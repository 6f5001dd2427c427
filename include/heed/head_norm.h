// The norm of queries and keys before they turn, one for each head (Henry et al., "Query-Key
// Normalization", arXiv 2010.04245, with the RMS norm of Zhang and Sennrich, arXiv 1910.07467), as
// Qwen 3 and Gemma 3 have it.
//
//   y_i = x_i / √(Σ x² / head_dim + epsilon) · (weight_i + weight_offset)
//
// All of it is computed in double and rounded once to float: y is within |y| · (2⁻²⁴ + (head_dim /
// 16 + 8) · 2⁻⁵³) + 2⁻¹⁵⁰ of the exact number. Elements of f16 and bf16 are the floats that they
// widen to; where y is f16 or bf16, that float is rounded to the nearest, ties to even. The order
// of operations is fixed, so that a head's bits depend on its own elements and on the norm alone:
// squares are added up in eight sums, the sum s over the elements i with i mod 8 = s, in their
// order; then the upper half of the sums is added to the lower one, three times; then 1 / √(…),
// times x_i, times (weight_i + weight_offset).
#pragma once

#include <cstdint>
#include <optional>

#include "heed/attention.h"
#include "heed/executor.h"
#include "heed/export.h"
#include "heed/status.h"
#include "heed/tensor_data.h"

namespace heed {

/// What a model fixes of a layer's norm of queries, or of keys.
struct RmsNorm {
  const float* weight = nullptr;  ///< [head_dim], the same for all heads; null: 1
  float weight_offset = 0.0F;     ///< finite: added to weights, 1 in Gemma
  double epsilon = 1e-6;          ///< finite, > 0
};

/// Heads to normalise, [token, head, head_dim], in f32, f16 or bf16; y may have another type than
/// x.
struct HeadTensors {
  InputData x = {};
  /// Exactly x with x's layout and type (in place), or no element of y may be one of x.
  OutputData y = {};
  std::int64_t tokens = 0;    ///< 0 … 2³¹ − 1
  std::int64_t heads = 1;     ///< 1 … 2³¹ − 1
  std::int64_t head_dim = 0;  ///< 1 … kMaxHeadDim
  /// Default: contiguous. The sequence stride is not used.
  std::optional<Layout> x_layout = {}, y_layout = {};
};

/// y = x normalised, head by head; NaN and infinity go where the formula takes them. Fails before
/// anything is written.
HEED_API Status normalise_heads(const RmsNorm& norm, const HeadTensors& tensors,
                                const RunOptions& options = {}) noexcept;

}  // namespace heed
