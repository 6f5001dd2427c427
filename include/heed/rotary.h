// Rotary position embedding (Su et al., "RoFormer", arXiv 2104.09864).
//
//   θ = position · position_scale · base^(−2i / rotary_dim)          for pair i < rotary_dim / 2
//   (a, b) → (a · cos θ − b · sin θ, b · cos θ + a · sin θ)
//
// Angles, cosines and sines are taken in double and rounded once to float. An element of a pair (a,
// b) is within (|a| + |b|) · (2.6 · 2⁻²⁴ + |θ| · (4 + |ln base|) · 2⁻⁵³) + 2⁻¹⁴⁸ of the exact one;
// a NaN or infinity goes where the formula takes it. A vector's result depends on the vector and
// its position alone, and its bits are the same on every ISA with fused multiply-add; `generic`,
// which has none, rounds once more.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "heed/attention.h"
#include "heed/executor.h"
#include "heed/export.h"
#include "heed/status.h"

namespace heed {

/// Which dimensions of a vector make a pair.
enum class RotaryPairs {
  adjacent,  ///< 2i and 2i + 1, as in GPT-J and llama2.c
  halves,    ///< i and i + rotary_dim / 2, as in GPT-NeoX and Hugging Face's Llama
};

/// What a model fixes.
struct RotaryConfig {
  /// Even, 2 … kMaxHeadDim: dimensions that turn, the first of a vector; others stay.
  std::int64_t rotary_dim = 0;
  RotaryPairs pairs = RotaryPairs::adjacent;
  double base = 10000.0;        ///< finite, > 0
  double position_scale = 1.0;  ///< finite: what positions are multiplied by (linear scaling)
  /// Positions are 0 … positions − 1, from 1 to 2³¹ − 1 of them: the context length of the model.
  /// Each costs rotary_dim floats.
  std::int64_t positions = 0;
};

/// The cosines and sines of all positions: made once, then read by any number of threads.
class HEED_API Rotary {
 public:
  Rotary() noexcept = default;

  /// Computes positions · rotary_dim cosines and sines.
  static Status create(const RotaryConfig& config, Rotary& rotary) noexcept;
  /// As given to create; before it rotary_dim is 0.
  const RotaryConfig& config() const noexcept { return config_; }
  /// For heed itself: for each position rotary_dim / 2 cosines, then as many sines.
  const float* data() const noexcept { return table_.data(); }

 private:
  RotaryConfig config_;
  std::vector<float> table_;
};

/// Vectors to rotate, [token, head, head_dim], in f32, f16 or bf16. They are rotated in f32; y may
/// have another type than x, and elements are rounded to the nearest, ties to even.
struct RotaryTensors {
  InputData x = {};
  /// Exactly x with x's layout and type (in place), or no element of y may be one of x.
  OutputData y = {};
  std::int64_t heads = 1;     ///< 1 … 2³¹ − 1
  std::int64_t head_dim = 0;  ///< rotary_dim … kMaxHeadDim
  /// Default: contiguous. The sequence stride is not used.
  std::optional<Layout> x_layout = {}, y_layout = {};
  std::span<const std::int64_t> positions = {};  ///< one per token
};

/// y = x rotated: for queries, and for keys outside a cache (heed::append rotates those inside).
HEED_API Status rotate(const Rotary& rotary, const RotaryTensors& tensors,
                       const RunOptions& options = {}) noexcept;

}  // namespace heed
