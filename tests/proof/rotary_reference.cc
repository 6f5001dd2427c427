#include "tests/proof/rotary_reference.h"

#include <cmath>

namespace heed::tests {
namespace {

/// Calls body(i, first, second) for each pair i and the indices of its elements.
template <class Body>
void for_each_pair(const RotaryConfig& config, Body body) {
  const std::int64_t pairs = config.rotary_dim / 2;
  for (std::int64_t i = 0; i < pairs; ++i) {
    const bool adjacent = config.pairs == RotaryPairs::adjacent;
    body(i, static_cast<std::size_t>(adjacent ? 2 * i : i),
         static_cast<std::size_t>(adjacent ? 2 * i + 1 : i + pairs));
  }
}

}  // namespace

std::vector<Bounded> rotary_reference(std::span<const float> x, std::int64_t position,
                                      const RotaryConfig& config) {
  std::vector<Bounded> result;
  for (const float value : x) result.push_back({value, 0});
  for_each_pair(config, [&](std::int64_t i, std::size_t first, std::size_t second) {
    const long double a = x[first], b = x[second];
    const long double exponent = -2.0L * static_cast<long double>(i) / config.rotary_dim;
    const long double angle = static_cast<long double>(position) * config.position_scale *
                              std::pow(static_cast<long double>(config.base), exponent);
    const double size = std::abs(x[first]) + static_cast<double>(std::abs(x[second]));
    const double relative = 2.6 * 0x1p-24 + static_cast<double>(std::abs(angle)) *
                                                (4 + std::abs(std::log(config.base))) * 0x1p-53;
    const double bound = size * relative + 0x1p-148;
    result[first] = {static_cast<double>(a * std::cos(angle) - b * std::sin(angle)), bound};
    result[second] = {static_cast<double>(b * std::cos(angle) + a * std::sin(angle)), bound};
  });
  return result;
}

std::vector<float> rotary_oracle(std::span<const float> x, std::int64_t position,
                                 const RotaryConfig& config) {
  std::vector<float> result(x.begin(), x.end());
  for_each_pair(config, [&](std::int64_t i, std::size_t first, std::size_t second) {
    const double frequency = std::pow(
        config.base, -2.0 * static_cast<double>(i) / static_cast<double>(config.rotary_dim));
    const double angle = static_cast<double>(position) * config.position_scale * frequency;
    const auto c = static_cast<float>(std::cos(angle)), s = static_cast<float>(std::sin(angle));
    const float a = x[first], b = x[second];
    result[first] = std::fma(a, c, -(b * s));
    result[second] = std::fma(b, c, a * s);
  });
  return result;
}

}  // namespace heed::tests
