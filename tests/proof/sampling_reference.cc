#include "tests/proof/sampling_reference.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>
#include <vector>

#include "kernels/vector/exp2_coefficients.h"

namespace heed::proof {
namespace {

__extension__ using Wide = unsigned __int128;

float largest_of(std::span<const float> logits) {
  float largest = -INFINITY;
  for (const float z : logits) {
    if (!(z < INFINITY)) return NAN;
    largest = std::max(largest, z);
  }
  return largest;
}

/// The weight of a logit in units of 2⁻⁴⁰: every product is rounded before it is added.
std::uint64_t weight_of(float z, float largest, float factor, float& weight) {
  weight = 0;
  if (z == -INFINITY) return 0;
  const float x = std::max((z * 0.5F - largest * 0.5F) * factor, -126.0F);
  const float exponent = std::floor(x), f = x - exponent;
  if (exponent < -41) return 0;
  float p = kernels::kExp2Coefficients[5];
  for (int k = 4; k >= 0; --k) {
    const float product = p * f;
    p = product + kernels::kExp2Coefficients[k];
  }
  weight = std::ldexp(p, static_cast<int>(exponent));
  return static_cast<std::uint64_t>(std::nearbyint(static_cast<double>(weight) * 0x1p40));
}

std::vector<std::size_t> in_order(std::size_t count) {
  std::vector<std::size_t> tokens(count);
  std::iota(tokens.begin(), tokens.end(), std::size_t{0});
  return tokens;
}

/// Tokens by falling logit; of equal logits the first token comes first. Sorting pairs takes half
/// the time of sorting tokens by their logits.
std::vector<std::size_t> by_logit(std::span<const float> logits) {
  std::vector<std::pair<float, std::size_t>> pairs;
  for (const float z : logits) pairs.emplace_back(-z, pairs.size());
  std::ranges::sort(pairs);
  std::vector<std::size_t> tokens(pairs.size());
  std::ranges::transform(pairs, tokens.begin(), [](const auto& pair) { return pair.second; });
  return tokens;
}

/// The fewest of the first tokens whose weights come to a share of all of them.
std::size_t tokens_of_share(const std::vector<std::uint64_t>& weights,
                            std::span<const std::size_t> order, float share) {
  std::uint64_t total = 0, sum = 0;
  for (const std::size_t token : order) total += weights[token];
  int exponent = 0;
  const auto integer = static_cast<std::uint64_t>(std::ldexp(std::frexp(share, &exponent), 24));
  // sum ≥ total · share, where share = integer · 2^(exponent − 24) ≤ 1.
  const int shift = 24 - exponent;
  for (std::size_t i = 0; i < order.size(); ++i) {
    sum += weights[order[i]];
    const Wide wanted = Wide{total} * integer;
    const bool enough = shift < 64 ? Wide{sum} << shift >= wanted : sum > 0;
    if (enough) return i + 1;
  }
  return order.size();
}

/// The first of the largest logits.
Drawn greedy(std::span<const float> logits) {
  if (!std::isfinite(largest_of(logits))) return {};
  return {static_cast<std::int32_t>(std::ranges::max_element(logits) - logits.begin()), 1};
}

}  // namespace

Drawn drawn(std::span<const float> logits, const SamplingRule& rule, const Draw& draw) {
  if (rule.temperature == 0) return greedy(logits);
  return drawn_of(kept_weights(logits, rule), random_number(draw.seed, draw.counter));
}

std::vector<std::uint64_t> kept_weights(std::span<const float> logits, const SamplingRule& rule) {
  const float largest = largest_of(logits);
  if (!std::isfinite(largest)) return {};
  const float factor = std::min(2.88539008F / rule.temperature, std::numeric_limits<float>::max());
  std::vector<std::uint64_t> weights, kept(logits.size());
  std::vector<float> floats(logits.size());
  for (std::size_t i = 0; i < logits.size(); ++i) {
    weights.push_back(weight_of(logits[i], largest, factor, floats[i]));
  }
  const bool cut = rule.top_k > 0 || rule.top_p < 1;
  std::vector<std::size_t> order = cut ? by_logit(logits) : in_order(logits.size());
  const auto most = static_cast<std::int64_t>(order.size());
  if (rule.top_k > 0) order.resize(static_cast<std::size_t>(std::min(most, rule.top_k)));
  if (rule.top_p < 1) order.resize(tokens_of_share(weights, order, rule.top_p));
  for (const std::size_t token : order) {
    if (floats[token] >= rule.min_p) kept[token] = weights[token];
  }
  return kept;
}

Drawn drawn_of(std::span<const std::uint64_t> weights, std::uint64_t random) {
  std::uint64_t total = 0, sum = 0;
  for (const std::uint64_t weight : weights) total += weight;
  const auto place = static_cast<std::uint64_t>((Wide{random} * total) >> 64);
  for (std::size_t i = 0; i < weights.size(); ++i) {
    sum += weights[i];
    if (sum <= place) continue;
    const double share = static_cast<double>(weights[i]) / static_cast<double>(total);
    return {static_cast<std::int32_t>(i), static_cast<float>(share)};
  }
  return {};
}

std::uint64_t random_number(std::uint64_t seed, std::uint64_t counter) {
  const auto low = [](std::uint64_t x) { return static_cast<std::uint32_t>(x); };
  const auto high = [](std::uint64_t x) { return static_cast<std::uint32_t>(x >> 32); };
  std::array<std::uint32_t, 4> x = {low(counter), high(counter), 0, 0};
  std::uint32_t k0 = low(seed), k1 = high(seed);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = 0xD2511F53ULL * x[0], b = 0xCD9E8D57ULL * x[2];
    x = {high(b) ^ x[1] ^ k0, low(b), high(a) ^ x[3] ^ k1, low(a)};
    k0 += 0x9E3779B9U;
    k1 += 0xBB67AE85U;
  }
  return x[0] | static_cast<std::uint64_t>(x[1]) << 32;
}

std::vector<double> exact_weights(std::span<const float> logits, float temperature) {
  std::vector<double> weights;
  const double largest = largest_of(logits), t = temperature;
  for (const float z : logits) weights.push_back(std::exp((static_cast<double>(z) - largest) / t));
  return weights;
}

}  // namespace heed::proof
