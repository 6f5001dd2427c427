// Drawing a token from logits as include/heed/sampling.h defines it, one token after the other, by
// sorting all of them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace heed::proof {

struct SamplingCase {
  float temperature = 1;
  std::int64_t top_k = 0;
  float top_p = 1, min_p = 0;
};

/// What a row's tokens weigh after all filters, in units of 2⁻⁴⁰; empty where no token can be
/// drawn. T is above 0.
std::vector<std::uint64_t> kept_weights(std::span<const float> logits, const SamplingCase& c);

/// The first of the largest logits, or −1.
std::int32_t greedy_token(std::span<const float> logits);

/// The token that a random number draws; −1 of no weights.
std::int32_t drawn_token(std::span<const std::uint64_t> weights, std::uint64_t random);

/// The random number of a seed and a counter.
std::uint64_t random_number(std::uint64_t seed, std::uint64_t counter);

/// What tokens weigh without filters in float64, the largest being 1.
std::vector<double> exact_weights(std::span<const float> logits, float temperature);

}  // namespace heed::proof
