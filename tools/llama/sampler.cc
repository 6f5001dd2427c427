#include "tools/llama/sampler.h"

#include <fmt/format.h>

#include "tools/status.h"

namespace heed::llama {

Status Sampler::pick(std::span<const float> logits, std::int64_t position, std::int32_t& token) {
  const auto length = static_cast<std::int64_t>(logits.size());
  const Draw draw{options_.seed, static_cast<std::uint64_t>(position)};
  std::int32_t drawn = kNoToken;
  HEED_RETURN_IF_ERROR(sample({logits.data(), 1, length, length}, {&options_.rule, 1}, {&draw, 1},
                              {&drawn}, {.workers = 1}, &workspace_));
  if (drawn == kNoToken) {
    return {
        StatusCode::invalid_argument,
        fmt::format("the model gives no probabilities at position {}: its logits are not finite",
                    position)};
  }
  token = drawn;
  return {};
}

}  // namespace heed::llama
