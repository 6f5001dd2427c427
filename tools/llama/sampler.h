// Which token comes next.
#pragma once

#include <cstdint>
#include <span>

#include "heed/sampling.h"
#include "heed/status.h"

namespace heed::llama {

struct SamplerOptions {
  /// As heed/sampling.h has it, but greedy where nothing is said.
  SamplingRule rule = {.temperature = 0};
  std::uint64_t seed = 0;
};

/// Draws tokens by their probabilities. A draw depends on the logits, the position and the options
/// alone: a text is the same in any batch, and each time.
class Sampler {
 public:
  explicit Sampler(const SamplerOptions& options) : options_(options) {}

  /// The token at a position, from the logits of all tokens. Fails where one is NaN or +∞, or all
  /// are −∞.
  Status pick(std::span<const float> logits, std::int64_t position, std::int32_t& token);

 private:
  SamplerOptions options_;
  SamplingWorkspace workspace_;
};

}  // namespace heed::llama
