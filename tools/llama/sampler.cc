#include "tools/llama/sampler.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "heed/softmax.h"
#include "tools/status.h"

namespace heed::llama {
namespace {

/// The `index`th number of a sequence that `seed` begins, uniform in [0, 1): SplitMix64 (Steele et
/// al., "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014).
double uniform(std::uint64_t seed, std::uint64_t index) {
  std::uint64_t z = seed + (index + 1) * 0x9E3779B97F4A7C15U;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
  return static_cast<double>((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

Status check_logits(std::span<const float> logits, std::int64_t position) {
  const bool numbers = std::ranges::all_of(logits, [](float x) { return x < INFINITY; });
  if (numbers && std::ranges::max(logits) > -INFINITY) return {};
  return {StatusCode::invalid_argument,
          fmt::format("the model gives no probabilities at position {}: its logits are not finite",
                      position)};
}

}  // namespace

Status Sampler::pick(std::span<float> logits, std::int64_t position, std::int32_t& token) {
  HEED_RETURN_IF_ERROR(check_logits(logits, position));
  if (options_.temperature == 0) {
    token = static_cast<std::int32_t>(std::ranges::max_element(logits) - logits.begin());
    return {};
  }
  const auto length = static_cast<std::int64_t>(logits.size());
  SoftmaxOptions softmax_options;
  softmax_options.temperature = options_.temperature;
  softmax_options.workers = 1;
  HEED_RETURN_IF_ERROR(softmax({logits.data(), 1, length, length},
                               {logits.data(), 1, length, length}, softmax_options));
  token = draw(logits, uniform(options_.seed, static_cast<std::uint64_t>(position)));
  return {};
}

double Sampler::keep_nucleus(std::span<const float> probabilities) {
  const auto of = [&](std::int32_t id) { return probabilities[static_cast<std::size_t>(id)]; };
  // All tokens below (1 − top_p) / (all but one) have less than 1 − top_p together, so that they
  // are not needed to have more than top_p.
  const float others = std::max(1.0F, static_cast<float>(probabilities.size() - 1));
  const float limit = std::min((1 - options_.top_p) / others, std::ranges::max(probabilities));
  candidates_.clear();
  for (std::int32_t id = 0; id < static_cast<std::int32_t>(probabilities.size()); ++id) {
    if (of(id) > 0 && of(id) >= limit) candidates_.push_back(id);
  }
  if (options_.top_p < 1) std::ranges::stable_sort(candidates_, std::greater(), of);
  std::size_t kept = 0;
  double sum = 0;
  while (kept < candidates_.size() && (options_.top_p == 1 || sum <= double{options_.top_p})) {
    sum += double{of(candidates_[kept++])};
  }
  candidates_.resize(kept);
  return sum;
}

std::int32_t Sampler::draw(std::span<const float> probabilities, double random) {
  double left = random * keep_nucleus(probabilities);
  for (const std::int32_t id : candidates_) {
    left -= double{probabilities[static_cast<std::size_t>(id)]};
    if (left < 0) return id;
  }
  return candidates_.back();  // where roundings are left
}

}  // namespace heed::llama
