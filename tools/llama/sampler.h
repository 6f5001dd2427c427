// Which token comes next.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "heed/status.h"

namespace heed::llama {

struct SamplerOptions {
  float temperature = 0;  ///< ≥ 0; 0: always the largest logit, the first among equals
  /// Only the fewest most probable tokens that together have more than this probability, above 0;
  /// 1: all tokens.
  float top_p = 1;
  std::uint64_t seed = 0;
};

/// Draws tokens by their probabilities. A draw depends on the logits, the position and the options
/// alone: a text is the same in any batch, and each time.
class Sampler {
 public:
  explicit Sampler(const SamplerOptions& options) : options_(options) {}

  /// The token at a position, from the logits of all tokens, which it overwrites. Fails where one
  /// is NaN or +∞, or all are −∞.
  Status pick(std::span<float> logits, std::int64_t position, std::int32_t& token);

 private:
  /// Makes `candidates_` the tokens that top_p leaves, and returns their probability together.
  double keep_nucleus(std::span<const float> probabilities);
  std::int32_t draw(std::span<const float> probabilities, double random);

  SamplerOptions options_;
  std::vector<std::int32_t> candidates_;
};

}  // namespace heed::llama
