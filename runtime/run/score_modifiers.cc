#include "runtime/run/score_modifiers.h"

#include <bit>
#include <cmath>

#include "runtime/base/element_types.h"
#include "runtime/base/message.h"
#include "runtime/base/strides.h"

namespace heed {
namespace detail {
namespace {

constexpr double kLog2E = 1.44269504088896340736;

double unit_of(const AttentionConfig& config) {
  return kLog2E / (config.temperature == 0 ? 1.0 : static_cast<double>(config.temperature));
}

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

/// The factor of queries, and what the tanh of their logits is multiplied with.
struct Softcap {
  float query_factor, cap;
};

Softcap softcap_of(const PlanData& plan, float softcap) {
  const auto natural = static_cast<double>(softcap);
  Softcap result{static_cast<float>(static_cast<double>(*plan.config.scale) / natural),
                 static_cast<float>(natural * unit_of(plan.config))};
  if (plan.shape.pairs && std::fpclassify(result.cap) == FP_SUBNORMAL) result.cap = 0;
  return result;
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

Status check_softcap(const PlanData& plan, float softcap) {
  if (softcap == 0) return {};
  if (!(softcap > 0) || !std::isfinite(softcap)) {
    return invalid("modifiers.softcap (", softcap, ") must be finite and at least 0");
  }
  const Softcap own = softcap_of(plan, softcap);
  const bool tiny = std::fpclassify(own.query_factor) == FP_SUBNORMAL ||
                    (own.query_factor == 0 && *plan.config.scale != 0);
  if (std::isfinite(own.query_factor) && std::isfinite(own.cap) && !tiny) return {};
  return invalid("modifiers.softcap (", softcap, ") with scale (", *plan.config.scale,
                 ") and temperature (", plan.config.temperature, ") exceeds the range of float");
}

}  // namespace

float logit_unit(const AttentionConfig& config) { return static_cast<float>(unit_of(config)); }

Status check_modifiers(const PlanData& plan, const ScoreModifiers& modifiers) {
  const bool natural = modifiers.alibi_slopes != nullptr || modifiers.sinks != nullptr ||
                       modifiers.bias.data != nullptr;
  if (natural && !std::isfinite(logit_unit(plan.config))) {
    return invalid("with modifiers of scores 1 / temperature (", plan.config.temperature,
                   ") must be in the range of float; for the argmax use temperature 0");
  }
  HEED_RETURN_IF_ERROR(check_softcap(plan, modifiers.softcap));
  return modifiers.bias.data == nullptr ? Status() : check_bias(plan, modifiers.bias);
}

kernels::AttentionShape with_modifiers(const PlanData& plan, const ScoreModifiers& modifiers) {
  kernels::AttentionShape shape = plan.shape;
  shape.unit = logit_unit(plan.config);
  if (modifiers.softcap > 0) {
    const Softcap own = softcap_of(plan, modifiers.softcap);
    shape.softcap = own.cap;
    if (own.cap > 0) shape.query_factor = own.query_factor;
  }
  shape.bias_type = modifiers.bias.data.type();
  shape.bias_per_key = modifiers.bias.key_stride != 0;
  return shape;
}

void bind_modifiers(const PlanData& plan, const ScoreModifiers& modifiers,
                    const PlannedItem& planned, kernels::AttentionItem& item) {
  const PlannedSequence& s = plan.sequences[static_cast<std::size_t>(planned.sequence)];
  const std::ptrdiff_t head = std::ptrdiff_t{planned.kv_head} * plan.shape.group;
  if (planned.sequences > 1) item.places = plan.places.data() + s.place;
  if (modifiers.alibi_slopes != nullptr) item.slopes = modifiers.alibi_slopes + head;
  if (modifiers.sinks != nullptr) item.sinks = modifiers.sinks + head;
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

std::array<Region, 3> regions_of(const PlanData& plan, const ScoreModifiers& modifiers) {
  const std::int64_t heads = plan.config.query_heads;
  std::array<Region, 3> regions{Region({"modifiers.alibi_slopes"}, modifiers.alibi_slopes, heads),
                                Region({"modifiers.sinks"}, modifiers.sinks, heads), Region()};
  if (modifiers.bias.data != nullptr) {
    regions[2] = Region({"modifiers.bias"}, modifiers.bias.data.data(),
                        bias_shape(plan, modifiers.bias, false), modifiers.bias.data.type());
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
