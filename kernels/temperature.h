// What temperatures make of logits: the factors of a row, and the rule of its weights. The runtime
// computes those of a temperature for all rows here, and the kernels those of rows that have
// temperatures of their own, so that both have the same bits.
#pragma once

#include "kernels/interface.h"

namespace heed::kernels {

/// x, exactly, also where the floating-point environment takes denormals for zero.
[[maybe_unused]] static constexpr double exact_double(float x) {
  const auto bits = __builtin_bit_cast(std::uint32_t, x);
  if ((bits & 0x7F800000U) != 0) return static_cast<double>(x);
  const double magnitude = static_cast<double>(bits & 0x007FFFFFU) * 0x1p-149;
  return (bits >> 31U) != 0 ? -magnitude : magnitude;
}

[[maybe_unused]] static constexpr WeightRule rule_at(float temperature) {
  return exact_double(temperature) == 0.0 ? WeightRule::argmax : WeightRule::exponential;
}

/// log2 e / T, or log2 e for the argmax: AttentionShape::unit before it is rounded.
[[maybe_unused]] static constexpr double unit_at(float temperature) {
  const double t = exact_double(temperature);
  return 1.44269504088896340736 / (t == 0.0 ? 1.0 : t);
}

/// Those of AttentionShape.
struct LogitFactors {
  float query = 0, unit = 0, softcap = 0;
};

/// The factors of a temperature, where scale and softcap are what the caller calls so. A softcap of
/// 0 to base 2 is none.
[[maybe_unused]] static constexpr LogitFactors factors_at(float temperature, float scale,
                                                          float softcap, bool pairs) {
  const double t = exact_double(temperature), s = exact_double(scale), c = exact_double(softcap);
  const double unit = unit_at(temperature);
  LogitFactors factors{static_cast<float>(s * 1.44269504088896340736 / (t == 0.0 ? 1.0 : t)),
                       static_cast<float>(unit), static_cast<float>(c * unit)};
  const bool denormal =
      (__builtin_bit_cast(std::uint32_t, factors.softcap) & 0x7F800000U) == 0;  // or 0
  if (pairs && denormal) factors.softcap = 0;
  if (factors.softcap > 0) factors.query = static_cast<float>(s / c);
  return factors;
}

/// The temperature of a query row of an item that has any, where `group` is AttentionShape's.
[[maybe_unused]] static inline float temperature_of(std::int32_t group, const AttentionItem& item,
                                                    std::int32_t row) {
  const std::int32_t token = row / group;
  const TokenPlace place = item.places == nullptr ? TokenPlace{0, token, 0} : item.places[token];
  return item.temperatures[place.sequence * item.temperature_sequence +
                           place.token * item.temperature_stride.token +
                           row % group * item.temperature_stride.head];
}

/// Whether rows of an item, of any of its KV heads, have weights of this rule.
[[maybe_unused]] static inline bool has_rule(const AttentionShape& shape, AttentionItem item,
                                             WeightRule rule) {
  if (item.temperatures == nullptr) return shape.rule == rule;
  for (std::int32_t h = 0; h < item.heads; ++h) {
    for (std::int32_t row = item.row_begin; row < item.row_begin + item.rows; ++row) {
      if (rule_at(temperature_of(shape.group, item, row)) == rule) return true;
    }
    item.temperatures += item.head_step.temperature;
  }
  return false;
}

}  // namespace heed::kernels
