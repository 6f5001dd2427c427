// Which token comes next.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "heed/executor.h"
#include "heed/sampling.h"
#include "heed/status.h"

namespace heed::llama {

struct SamplerOptions {
  /// As heed/sampling.h has it, but greedy where nothing is said.
  SamplingRule rule = {.temperature = 0};
  std::uint64_t seed = 0;
  RunOptions run = {.workers = 1};
};

/// Draws tokens by their probabilities. A draw depends on the logits, the position and the options
/// alone: a text is the same in any batch, and each time.
class Sampler {
 public:
  explicit Sampler(const SamplerOptions& options) : options_(options) {}

  /// The tokens at a position each of some texts, whose logits of all tokens lie one after the
  /// other. kNoToken where one is NaN or +∞, or all are −∞.
  Status pick(std::span<const float> logits, std::span<const std::int64_t> positions,
              std::span<std::int32_t> tokens);

 private:
  SamplerOptions options_;
  std::vector<Draw> draws_;
  SamplingWorkspace workspace_;
};

}  // namespace heed::llama
