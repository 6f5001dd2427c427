// Rotary position embedding (Su et al., "RoFormer", arXiv 2104.09864).
//
//   θ = position · position_scale · f_i                               for pair i < rotary_dim / 2
//   (a, b) → A · (a · cos θ − b · sin θ, b · cos θ + a · sin θ)
//
// with the frequency f_i = base^(−2i / rotary_dim) and the attention factor A = 1, unless the
// configuration scales them (RotaryScaling) or has frequencies and factors of its own.
//
// Angles, cosines and sines are taken in double and rounded once to float. An element of a pair (a,
// b) is within A · (|a| + |b|) · (r · 2⁻²⁴ + |θ| · E · 2⁻⁵³) + 2⁻¹⁴⁸ of the exact one, where r is
// 2.6, or 3.1 where A is not 1, and E = 4 + |ln base| without scaling; a NaN or infinity goes where
// the formula takes it. So positions beyond 2²⁰ cost no accuracy that a float could show. A
// vector's result depends on the vector and its position alone, and its bits are the same on every
// ISA with fused multiply-add; `generic`, which has none, rounds once more.
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

/// How models stretch positions over longer contexts than those they were trained on first. With f
/// the frequency before, s the factor, L the original_positions and d the rotary_dim, a pair turns
/// by:
enum class RotaryScalingKind {
  none,    ///< f
  linear,  ///< f / s (Chen et al., arXiv 2306.15595)
  /// base^(−2i / d) with base · (1 + s · (n / L − 1))^(d / (d − 2)) for the base, where n is
  /// RotaryConfig::positions, at least L: the frequencies that a text of n tokens has in the end
  /// ("dynamic" in Hugging Face's transformers). rotary_dim must be above 2.
  dynamic_ntk,
  /// f where L · f / 2π ≥ high_freq_factor, f / s where it is ≤ low_freq_factor, and between them
  /// the mixture f · w + f / s · (1 − w) with w = (L · f / 2π − low) / (high − low) (Llama 3.1,
  /// arXiv 2407.21783, and "llama3" in transformers).
  llama3,
  /// f · (1 − r) + f / s · r with r = (i − low) / (high − low), within 0 … 1 (Peng et al., "YaRN",
  /// arXiv 2309.00071). low is the pair, a fraction, that turns beta_fast times in L tokens, high
  /// the one that turns beta_slow times: d · ln(L / 2πβ) / (2 · ln base); rounded down and up if
  /// `truncate`, then not below 0 and not above d − 1; equal ones are taken 0.001 apart. base
  /// must be above 1. A = 1 + ln(s) / 10.
  yarn,
  /// f over short_factors[i], or over long_factors[i] where RotaryConfig::positions is above L
  /// (Ding et al., "LongRoPE", arXiv 2402.13753, as Phi-3 has it). A = √(1 + ln s / ln L), where s
  /// is the longest context that the model can have, over L.
  long_rope,
};

/// What a kind does not name it does not read, but for lists, which are refused. With E of plain
/// rotation, and e = E + 4, scaling makes it: e (linear, long_rope), 16 + 2 · |ln b| of the changed
/// base b (dynamic_ntk), e · (1 + s · high / (high − low)) (llama3), e + 4 · s (yarn; without
/// truncation, and with low < high, e + s · (4 + d · (8 + 4 / ln base) / (high − low))).
struct RotaryScaling {
  RotaryScalingKind kind = RotaryScalingKind::none;
  double factor = 1.0;                  ///< s: finite, ≥ 1
  std::int64_t original_positions = 0;  ///< L: 2 … 2³¹ − 1; linear does not need it
  double low_freq_factor = 1.0;         ///< llama3: finite, ≥ 0
  double high_freq_factor = 4.0;        ///< llama3: finite, above low_freq_factor
  double beta_fast = 32.0;              ///< yarn: finite, > 0
  double beta_slow = 1.0;               ///< yarn: finite, > 0, at most beta_fast
  bool truncate = true;                 ///< yarn; gpt-oss has it off
  /// yarn: finite, > 0, both or, as 0, neither. A = (1 + m · ln(s) / 10) of the one over that of
  /// the other, as in DeepSeek-V2.
  double mscale = 0.0, mscale_all_dim = 0.0;
  /// A, for any kind, `none` included: finite, ≥ 0. 0: as the kind says, else 1.
  double attention_factor = 0.0;
  /// long_rope: rotary_dim / 2 of them, finite, > 0.
  std::span<const double> short_factors = {}, long_factors = {};
};

/// What a model fixes.
struct RotaryConfig {
  /// Even, 2 … kMaxHeadDim: dimensions that turn, the first of a vector; others stay.
  std::int64_t rotary_dim = 0;
  RotaryPairs pairs = RotaryPairs::adjacent;
  double base = 10000.0;        ///< finite, > 0
  double position_scale = 1.0;  ///< finite: what positions are multiplied by
  /// Positions are 0 … positions − 1, from 1 to 2³¹ − 1 of them: the context length of the model.
  /// Each costs rotary_dim floats.
  std::int64_t positions = 0;
  RotaryScaling scaling = {};
  /// Frequencies of one's own, in the place of those of base, which is then not read: rotary_dim /
  /// 2, finite; empty: none. They are scaled like others, but yarn and dynamic_ntk need a base.
  std::span<const double> frequencies = {};
  /// What each pair's frequency is divided by before it is scaled, as by llama.cpp's rope_freqs:
  /// rotary_dim / 2, finite, > 0; empty: 1.
  std::span<const double> factors = {};
};

/// The cosines and sines of all positions: made once, then read by any number of threads.
class HEED_API Rotary {
 public:
  Rotary() noexcept = default;

  /// Computes positions · rotary_dim cosines and sines.
  static Status create(const RotaryConfig& config, Rotary& rotary) noexcept;
  /// As given to create, but without its lists; before it rotary_dim is 0.
  const RotaryConfig& config() const noexcept { return config_; }
  /// f_i of each pair, after scaling.
  std::span<const double> frequencies() const noexcept { return frequencies_; }
  /// A.
  double attention_factor() const noexcept { return attention_factor_; }
  /// For heed itself: for each position rotary_dim / 2 cosines, then as many sines, times A.
  const float* data() const noexcept { return table_.data(); }

 private:
  RotaryConfig config_;
  std::vector<double> frequencies_;
  double attention_factor_ = 1.0;
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
