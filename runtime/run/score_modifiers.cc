#include "runtime/run/score_modifiers.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "kernels/temperature.h"
#include "runtime/base/element_types.h"
#include "runtime/base/float_environment.h"
#include "runtime/base/message.h"
#include "runtime/base/strides.h"

namespace heed {
namespace detail {
namespace {

/// The elements of a bias: those of as many queries and keys as the longest sequence has, or the
/// shortest.
StridedShape bias_shape(const PlanData& plan, const ScoreBias& bias, bool longest) {
  const TokenCounts& counts = plan.counts;
  const auto sequences = static_cast<std::int64_t>(plan.masks.size());
  const std::int64_t queries = plan.ragged_queries ? counts.queries
                               : longest           ? counts.most_queries
                                                   : counts.fewest_queries;
  const std::int64_t keys = longest ? counts.most_keys : counts.fewest_keys;
  return {{{{"sequence", bias.sequence_stride, plan.ragged_queries ? 1 : sequences},
            {"head", bias.head_stride, plan.config.query_heads},
            {"query", bias.query_stride, queries}}},
          bias.key_stride == 0 ? 1 : keys};
}

Status check_bias(const PlanData& plan, const ScoreBias& bias) {
  if (!dtype_info(bias.data.type()).computes) {
    return invalid("modifiers.bias is of ", name_of(bias.data.type()),
                   "; it must be of f32, f16 or bf16");
  }
  if (bias.key_stride != 0 && bias.key_stride != 1) {
    return invalid("modifiers.bias.key_stride (", bias.key_stride,
                   ") must be 1, or 0 for one bias of all keys");
  }
  const StridedShape shape = bias_shape(plan, bias, true);
  return check_reach("modifiers.bias", shape.axes, shape.dims);
}

/// Whether all factors of a temperature are in the range of float.
bool in_range(const PlanData& plan, const ScoreModifiers& modifiers, float temperature) {
  const bool natural = modifiers.alibi_slopes != nullptr || modifiers.sinks != nullptr ||
                       modifiers.bias.data != nullptr;
  const auto factors = [&](float softcap) {
    return kernels::factors_at(temperature, *plan.config.scale, softcap, plan.shape.pairs);
  };
  const kernels::LogitFactors plain = factors(0.0F), capped = factors(modifiers.softcap);
  return std::isfinite(plain.query) && std::isfinite(capped.softcap) &&
         (!natural || std::isfinite(plain.unit));
}

Status check_softcap(const PlanData& plan, float softcap) {
  if (softcap == 0) return {};
  if (!(softcap > 0) || !std::isfinite(softcap)) {
    return invalid("modifiers.softcap (", softcap, ") must be finite and at least 0");
  }
  const float scale = *plan.config.scale;
  const auto factor = static_cast<float>(static_cast<double>(scale) / static_cast<double>(softcap));
  const bool tiny = std::fpclassify(factor) == FP_SUBNORMAL || (factor == 0 && scale != 0);
  if (std::isfinite(factor) && !tiny) return {};
  return invalid("modifiers.softcap (", softcap, ") with scale (", scale,
                 ") exceeds the range of float");
}

Status check_temperature(const PlanData& plan, const ScoreModifiers& modifiers) {
  const AttentionConfig& config = plan.config;
  if (in_range(plan, modifiers, config.temperature)) return {};
  const float softcap = modifiers.softcap;
  if (!std::isfinite(
          kernels::factors_at(config.temperature, *config.scale, softcap, false).softcap)) {
    return invalid("modifiers.softcap (", softcap, ") with scale (", *config.scale,
                   ") and temperature (", config.temperature, ") exceeds the range of float");
  }
  return invalid("with modifiers of scores 1 / temperature (", config.temperature,
                 ") must be in the range of float; for the argmax use temperature 0");
}

/// Temperatures lie as biases do that all keys share.
ScoreBias as_bias(const RowTemperatures& t) {
  return {t.data, t.sequence_stride, t.head_stride, t.query_stride, 0};
}

/// Calls fine(temperature) for those of all rows, once where a stride is 0. Returns a sentence
/// about the first one of which it is false.
template <class Fine>
Status check_each(const PlanData& plan, const RowTemperatures& temperatures, const char* rule,
                  const Fine& fine) {
  const auto steps = [](std::int64_t stride, std::int64_t count) {
    return stride == 0 ? std::min<std::int64_t>(count, 1) : count;
  };
  const auto sequences = static_cast<std::int64_t>(plan.masks.size());
  for (std::int64_t b = 0; b < sequences; ++b) {
    const std::int64_t queries = plan.masks[static_cast<std::size_t>(b)].queries;
    for (std::int64_t h = 0; h < steps(temperatures.head_stride, plan.config.query_heads); ++h) {
      const float* const own = temperatures_of(plan, temperatures, b, h);
      for (std::int64_t i = 0; i < steps(temperatures.query_stride, queries); ++i) {
        const float temperature = own[i * temperatures.query_stride];
        if (fine(temperature)) continue;
        return invalid("modifiers.temperatures of sequence ", b, ", head ", h, ", query ", i, " (",
                       temperature, ") ", rule);
      }
    }
  }
  return {};
}

Status check_temperatures(const PlanData& plan, const ScoreModifiers& modifiers) {
  const RowTemperatures& temperatures = modifiers.temperatures;
  const StridedShape shape = bias_shape(plan, as_bias(temperatures), true);
  HEED_RETURN_IF_ERROR(check_reach("modifiers.temperatures", shape.axes, shape.dims));
  HEED_RETURN_IF_ERROR(check_aligned(regions_of(plan, modifiers)[3]));
  // All factors are in range where those of the smallest are.
  float smallest = std::numeric_limits<float>::infinity();
  HEED_RETURN_IF_ERROR(
      check_each(plan, temperatures, "must be 0 or more, or infinity", [&](float temperature) {
        const double t = kernels::exact_double(temperature);
        if (t > 0 && t < kernels::exact_double(smallest)) {
          smallest = temperature;
        }
        return t >= 0;
      }));
  const auto fine = [&](float t) { return in_range(plan, modifiers, t); };
  if (fine(smallest) && fine(0.0F)) return {};
  return check_each(plan, temperatures,
                    "with the plan's scale and the other modifiers exceeds the range of float; for "
                    "the argmax use 0",
                    fine);
}

void bind_temperatures(const PlanData& plan, const ScoreModifiers& modifiers,
                       const PlannedItem& planned, kernels::AttentionItem& item) {
  const RowTemperatures& temperatures = modifiers.temperatures;
  const std::int64_t head = planned.kv_head * plan.shape.group;
  item.temperature_stride = strides_of(temperatures);
  item.temperature_sequence = plan.ragged_queries ? 0 : temperatures.sequence_stride;
  item.head_step.temperature = times(plan.shape.group, temperatures.head_stride);
  item.temperatures = item.places == nullptr
                          ? temperatures_of(plan, temperatures, planned.sequence, head)
                          : temperatures.data + times(head, temperatures.head_stride);
}

}  // namespace

Status check_modifiers(const PlanData& plan, const ScoreModifiers& modifiers) {
  HEED_RETURN_IF_ERROR(check_softcap(plan, modifiers.softcap));
  HEED_RETURN_IF_ERROR(modifiers.temperatures.data == nullptr
                           ? check_temperature(plan, modifiers)
                           : check_temperatures(plan, modifiers));
  return modifiers.bias.data == nullptr ? Status() : check_bias(plan, modifiers.bias);
}

kernels::AttentionShape with_modifiers(const PlanData& plan, const ScoreModifiers& modifiers) {
  const FloatEnvironment environment;  // the factors are part of the result
  kernels::AttentionShape shape = plan.shape;
  const kernels::LogitFactors factors = kernels::factors_at(
      plan.config.temperature, *plan.config.scale, modifiers.softcap, shape.pairs);
  shape.query_factor = factors.query;
  shape.unit = factors.unit;
  shape.softcap = modifiers.temperatures.data == nullptr ? factors.softcap : modifiers.softcap;
  shape.bias_type = modifiers.bias.data.type();
  shape.bias_per_key = modifiers.bias.key_stride != 0;
  return shape;
}

const float* temperatures_of(const PlanData& plan, const RowTemperatures& temperatures,
                             std::int64_t sequence, std::int64_t head) {
  if (temperatures.data == nullptr) return nullptr;
  const std::int64_t first = plan.sequences[static_cast<std::size_t>(sequence)].first_query;
  const std::int64_t before = plan.ragged_queries ? times(first, temperatures.query_stride)
                                                  : times(sequence, temperatures.sequence_stride);
  return temperatures.data + before + times(head, temperatures.head_stride);
}

kernels::Strides strides_of(const RowTemperatures& temperatures) {
  return {times(1, temperatures.query_stride), times(1, temperatures.head_stride)};
}

void bind_modifiers(const PlanData& plan, const ScoreModifiers& modifiers,
                    const PlannedItem& planned, kernels::AttentionItem& item) {
  const PlannedSequence& s = plan.sequences[static_cast<std::size_t>(planned.sequence)];
  const std::ptrdiff_t head = std::ptrdiff_t{planned.kv_head} * plan.shape.group;
  if (planned.sequences > 1) item.places = plan.places.data() + s.place;
  if (modifiers.alibi_slopes != nullptr) item.slopes = modifiers.alibi_slopes + head;
  if (modifiers.sinks != nullptr) item.sinks = modifiers.sinks + head;
  if (modifiers.temperatures.data != nullptr) bind_temperatures(plan, modifiers, planned, item);
  const ScoreBias& bias = modifiers.bias;
  if (bias.data == nullptr) return;
  // A stride that nothing is multiplied with may be any number.
  const DTypeInfo& type = dtype_info(bias.data.type());
  const auto step = [&](std::int64_t stride, std::int64_t count) {
    return times(count, stride_bytes(stride, type));
  };
  item.bias_stride = {step(bias.query_stride, 1), step(bias.head_stride, 1)};
  item.bias_sequence = plan.ragged_queries ? 0 : step(bias.sequence_stride, 1);
  item.head_step.bias = step(bias.head_stride, plan.shape.group);
  item.bias = static_cast<const std::byte*>(bias.data.data()) + step(bias.head_stride, head);
  if (item.places == nullptr) {
    item.bias +=
        times(planned.sequence, item.bias_sequence) + step(bias.query_stride, s.first_query);
  }
}

std::array<Region, 4> regions_of(const PlanData& plan, const ScoreModifiers& modifiers) {
  const std::int64_t heads = plan.config.query_heads;
  std::array<Region, 4> regions{Region({"modifiers.alibi_slopes"}, modifiers.alibi_slopes, heads),
                                Region({"modifiers.sinks"}, modifiers.sinks, heads), Region(),
                                Region()};
  if (modifiers.bias.data != nullptr) {
    regions[2] = Region({"modifiers.bias"}, modifiers.bias.data.data(),
                        bias_shape(plan, modifiers.bias, false), modifiers.bias.data.type());
  }
  if (modifiers.temperatures.data != nullptr) {
    regions[3] = Region({"modifiers.temperatures"}, modifiers.temperatures.data,
                        bias_shape(plan, as_bias(modifiers.temperatures), false));
  }
  return regions;
}

}  // namespace detail

void alibi_slopes(std::span<float> slopes) noexcept {
  const std::size_t heads = slopes.size();
  if (heads == 0) return;
  const std::size_t lower = std::bit_floor(heads);
  const auto power = [](std::size_t h, std::size_t n) {
    return static_cast<float>(
        std::exp2(-8.0 * static_cast<double>(h + 1) / static_cast<double>(n)));
  };
  for (std::size_t h = 0; h < heads; ++h) {
    slopes[h] = h < lower ? power(h, lower) : power(2 * (h - lower), 2 * lower);
  }
}

}  // namespace heed
