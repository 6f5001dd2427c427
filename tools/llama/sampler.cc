#include "tools/llama/sampler.h"

namespace heed::llama {

Status Sampler::pick(std::span<const float> logits, std::span<const std::int64_t> positions,
                     std::span<std::int32_t> tokens) {
  const std::int64_t rows = std::ssize(positions);
  const std::int64_t length = rows == 0 ? 0 : std::ssize(logits) / rows;
  draws_.clear();
  for (const std::int64_t position : positions) {
    draws_.push_back({options_.seed, static_cast<std::uint64_t>(position)});
  }
  return sample({logits.data(), rows, length, length}, {&options_.rule, 1}, draws_, {tokens.data()},
                options_.run, &workspace_);
}

}  // namespace heed::llama
