#include "tests/proof/rotary_reference.h"

#include <algorithm>
#include <cmath>
#include <numbers>

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

using Real = long double;

constexpr Real kTwoPi = 2 * std::numbers::pi_v<Real>;

/// The base of dynamic NTK scaling, as transformers writes it.
Real dynamic_base(const RotaryConfig& c) {
  const Real s = c.scaling.factor, length = c.scaling.original_positions, d = c.rotary_dim;
  const Real n = std::max<Real>(c.positions, length);
  return c.base * std::pow(s * n / length - (s - 1), d / (d - 2));
}

/// By wavelengths, as Llama 3.1's own code has it.
RotaryFrequency llama3(const RotaryScaling& s, const RotaryFrequency& plain) {
  const Real length = s.original_positions, low = s.low_freq_factor, high = s.high_freq_factor;
  const Real wavelength = kTwoPi / plain.exact;
  const double roundings =
      (plain.roundings + 4) * (1 + s.factor * static_cast<double>(high / (high - low)));
  if (wavelength < length / high) return {plain.exact, roundings};
  if (wavelength > length / low) return {plain.exact / s.factor, roundings};
  const Real smooth = (length / wavelength - low) / (high - low);
  return {(1 - smooth) * plain.exact / s.factor + smooth * plain.exact, roundings};
}

/// As the authors' code has it, by an "extrapolation" and an "interpolation".
RotaryFrequency yarn(const RotaryConfig& c, Real pair, const RotaryFrequency& plain) {
  const RotaryScaling& s = c.scaling;
  const Real d = c.rotary_dim;
  const auto correction = [&](Real turns) {
    return d * std::log(s.original_positions / (turns * kTwoPi)) /
           (2 * std::log(static_cast<Real>(c.base)));
  };
  Real low = correction(s.beta_fast), high = correction(s.beta_slow);
  if (s.truncate) low = std::floor(low), high = std::ceil(high);
  low = std::max<Real>(low, 0);
  high = std::min(high, d - 1);
  if (low == high) high += 0.001L;
  const Real ramp = std::min<Real>(std::max<Real>((pair - low) / (high - low), 0), 1);
  const Real mask = 1 - ramp;
  const double logs = 4 + static_cast<double>(d) * (8 + 4 / std::log(c.base)) /
                              static_cast<double>(std::abs(high - low));
  return {plain.exact / s.factor * (1 - mask) + plain.exact * mask,
          plain.roundings + 4 + s.factor * (s.truncate ? 4 : logs)};
}

}  // namespace

std::vector<RotaryFrequency> rotary_frequency_reference(const RotaryConfig& c) {
  std::vector<RotaryFrequency> list;
  const RotaryScaling& s = c.scaling;
  const bool dynamic = s.kind == RotaryScalingKind::dynamic_ntk;
  const Real base = dynamic ? dynamic_base(c) : static_cast<Real>(c.base);
  const auto log_base = static_cast<double>(std::abs(std::log(base)));
  const bool scaled = s.kind != RotaryScalingKind::none || !c.factors.empty();
  for (std::size_t i = 0; i < static_cast<std::size_t>(c.rotary_dim / 2); ++i) {
    RotaryFrequency f{std::pow(base, -2 * static_cast<Real>(i) / c.rotary_dim),
                      dynamic ? 16 + 2 * log_base : 4 + log_base};
    if (!c.frequencies.empty()) f.exact = c.frequencies[i];
    if (!c.factors.empty()) f.exact /= c.factors[i];
    if (s.kind == RotaryScalingKind::llama3) {
      f = llama3(s, f);
    } else if (s.kind == RotaryScalingKind::yarn) {
      f = yarn(c, static_cast<Real>(i), f);
    } else if (scaled) {
      f.roundings += 4;
    }
    if (s.kind == RotaryScalingKind::linear) f.exact /= s.factor;
    if (s.kind == RotaryScalingKind::long_rope) {
      f.exact /= (c.positions > s.original_positions ? s.long_factors : s.short_factors)[i];
    }
    list.push_back(f);
  }
  return list;
}

long double rotary_attention_reference(const RotaryConfig& c) {
  const RotaryScaling& s = c.scaling;
  if (s.attention_factor != 0) return s.attention_factor;
  const Real log_factor = std::log(static_cast<Real>(s.factor));
  const auto mscale = [&](Real m) { return 0.1L * m * log_factor + 1; };
  if (s.kind == RotaryScalingKind::yarn) {
    return s.mscale == 0 ? mscale(1) : mscale(s.mscale) / mscale(s.mscale_all_dim);
  }
  if (s.kind != RotaryScalingKind::long_rope) return 1;
  return std::sqrt(1 + log_factor / std::log(static_cast<Real>(s.original_positions)));
}

std::vector<Bounded> rotary_reference(std::span<const float> x, std::int64_t position,
                                      const RotaryConfig& config) {
  std::vector<Bounded> result;
  for (const float value : x) result.push_back({value, 0});
  const std::vector<RotaryFrequency> frequencies = rotary_frequency_reference(config);
  const Real factor = rotary_attention_reference(config);
  for_each_pair(config, [&](std::int64_t i, std::size_t first, std::size_t second) {
    const Real a = x[first], b = x[second];
    const auto& [frequency, roundings] = frequencies[static_cast<std::size_t>(i)];
    const Real angle = static_cast<Real>(position) * config.position_scale * frequency;
    const double size =
        static_cast<double>(factor * (std::abs(x[first]) + std::abs(static_cast<Real>(x[second]))));
    const double relative = (factor == 1 ? 2.6 : 3.1) * 0x1p-24 +
                            static_cast<double>(std::abs(angle)) * roundings * 0x1p-53;
    const double bound = size * relative + 0x1p-148;
    result[first] = {static_cast<double>(factor * (a * std::cos(angle) - b * std::sin(angle))),
                     bound};
    result[second] = {static_cast<double>(factor * (b * std::cos(angle) + a * std::sin(angle))),
                      bound};
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
