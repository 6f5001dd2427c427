#include "runtime/run/score_modifiers.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "runtime/base/element_types.h"
#include "runtime/base/message.h"

namespace heed {
namespace detail {
namespace {

constexpr double kLog2E = 1.44269504088896340736;

/// Distances of queries and keys must be numbers of 32 bits.
constexpr std::int64_t kMaxAlibiTokens = std::int64_t{1} << 30;

double unit_of(const AttentionConfig& config) {
  return kLog2E / (config.temperature == 0 ? 1.0 : static_cast<double>(config.temperature));
}

/// The elements of a bias that have a place of their own: those of the longest sequence, or of the
/// shortest one, in each.
StridedShape bias_shape(const PlanData& plan, const ScoreBias& bias, bool longest) {
  std::int64_t queries = longest ? 0 : std::numeric_limits<std::int64_t>::max();
  std::int64_t keys = queries, tokens = 0;
  for (const Visibility& mask : plan.masks) {
    queries = longest ? std::max(queries, mask.queries) : std::min(queries, mask.queries);
    keys = longest ? std::max(keys, mask.keys) : std::min(keys, mask.keys);
    tokens += mask.queries;
  }
  const auto sequences = static_cast<std::int64_t>(plan.masks.size());
  const Axis by_sequence{"sequence", bias.sequence_stride, plan.ragged_queries ? 1 : sequences};
  return {{{by_sequence,
            {"head", bias.head_stride, plan.config.query_heads},
            {"query", bias.query_stride, plan.ragged_queries ? tokens : queries}}},
          bias.key_stride == 0 ? 1 : keys};
}

Status check_bias(const PlanData& plan, const ScoreBias& bias) {
  if (!dtype_info(bias.data.type()).computes) {
    return invalid("modifiers.bias is of ", name_of(bias.data.type()),
                   "; it must be of f32, f16 or bf16");
  }
  if (bias.key_stride != 0 && bias.key_stride != 1) {
    return invalid("modifiers.bias.key_stride (", bias.key_stride,
                   ") must be 1, or 0 for one bias "
                   "of all keys");
  }
  const StridedShape shape = bias_shape(plan, bias, true);
  return check_reach("modifiers.bias", shape.axes, shape.dims);
}

Status check_softcap(const PlanData& plan, float softcap) {
  if (!(softcap >= 0) || !std::isfinite(softcap)) {
    return invalid("modifiers.softcap (", softcap, ") must be finite and at least 0");
  }
  const auto cap = static_cast<double>(softcap);
  const auto factor = static_cast<float>(static_cast<double>(*plan.config.scale) / cap);
  if (softcap == 0 ||
      (std::isfinite(factor) && std::isfinite(static_cast<float>(cap * unit_of(plan.config))))) {
    return {};
  }
  return invalid("modifiers.softcap (", softcap, ") with scale (", *plan.config.scale,
                 ") and temperature (", plan.config.temperature, ") exceeds the range of float");
}

Status check_alibi(const PlanData& plan) {
  for (const Visibility& mask : plan.masks) {
    const std::int64_t most = std::max(mask.queries, mask.keys);
    if (most <= kMaxAlibiTokens) continue;
    return invalid("modifiers.alibi_slopes need sequences of at most ", kMaxAlibiTokens,
                   " queries and keys; one has ", most);
  }
  return {};
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
  if (modifiers.alibi_slopes != nullptr) HEED_RETURN_IF_ERROR(check_alibi(plan));
  return modifiers.bias.data == nullptr ? Status() : check_bias(plan, modifiers.bias);
}

kernels::AttentionShape with_modifiers(const PlanData& plan, const ScoreModifiers& modifiers) {
  kernels::AttentionShape shape = plan.shape;
  shape.unit = logit_unit(plan.config);
  const auto cap = static_cast<double>(modifiers.softcap);
  shape.softcap = static_cast<float>(cap * unit_of(plan.config));
  if (shape.softcap > 0) {
    shape.query_factor = static_cast<float>(static_cast<double>(*plan.config.scale) / cap);
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
  const std::ptrdiff_t bytes = dtype_info(bias.data.type()).block_bytes;
  const std::ptrdiff_t sequence = plan.ragged_queries ? 0 : bias.sequence_stride * bytes;
  item.bias_stride = {bias.query_stride * bytes, bias.head_stride * bytes};
  item.bias_sequence = sequence;
  item.head_step.bias = plan.shape.group * item.bias_stride.head;
  item.bias = static_cast<const std::byte*>(bias.data.data()) + head * item.bias_stride.head;
  if (item.places == nullptr) {
    item.bias += planned.sequence * sequence + s.first_query * item.bias_stride.token;
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
