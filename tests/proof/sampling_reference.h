// Drawing a token from logits as include/heed/sampling.h defines it, one token after the other, by
// sorting all of them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "heed/sampling.h"

namespace heed::proof {

/// What a row gives: the token and its probability.
struct Drawn {
  std::int32_t token = kNoToken;
  float probability = 0;
  bool operator==(const Drawn&) const = default;
};

/// What a row must give.
Drawn drawn(std::span<const float> logits, const SamplingRule& rule, const Draw& draw);

/// What a row's tokens weigh after all filters, in units of 2⁻⁴⁰; empty where no token can be
/// drawn. T is above 0.
std::vector<std::uint64_t> kept_weights(std::span<const float> logits, const SamplingRule& rule);

/// What a row whose tokens weigh so much gives for a random number.
Drawn drawn_of(std::span<const std::uint64_t> weights, std::uint64_t random);

/// The random number of a seed and a counter.
std::uint64_t random_number(std::uint64_t seed, std::uint64_t counter);

/// What tokens weigh without filters in float64, the largest being 1.
std::vector<double> exact_weights(std::span<const float> logits, float temperature);

}  // namespace heed::proof
