// Partial states: checked, then merged token by token.
#include "heed/partial_states.h"

#include <algorithm>
#include <array>
#include <limits>

#include "kernels/interface.h"
#include "kernels/temperature.h"
#include "runtime/base/check_executor.h"
#include "runtime/base/element_types.h"
#include "runtime/base/float_environment.h"
#include "runtime/base/message.h"
#include "runtime/plan/plan_data.h"
#include "runtime/run/score_modifiers.h"
#include "runtime/run/states.h"
#include "runtime/threads/parallel_for_rows.h"

namespace heed {
namespace detail {
namespace {

using kernels::ConstStates;

Status check_plan(const PlanData* plan) {
  if (plan != nullptr) return {};
  return invalid("the plan is empty: make it with plan_attention first");
}

ConstStates kernel_states(const ConstPartialStates& s, const PlanData& plan) {
  return {s.m, s.l, s.o, plan.states.rows, static_cast<std::int32_t>(s.partitions)};
}

/// Tokens of one sequence.
struct TokenRange {
  const PlannedSequence& sequence;
  std::int64_t number;  ///< of the sequence
  std::int64_t first, count;
  std::int64_t state;  ///< the first one's first row

  std::int64_t state_of(std::int64_t token, std::int64_t heads) const {
    return state + (token - first) * heads;
  }
};

/// Calls visit(TokenRange) for the tokens of sequences in the slots first … first + count − 1.
template <class Visit>
void for_each_sequence(const PlanData& plan, std::int64_t first, std::int64_t count,
                       const Visit& visit) {
  const std::int64_t heads = plan.config.query_heads;
  for (std::size_t b = 0; b < plan.sequences.size(); ++b) {
    const PlannedSequence& sequence = plan.sequences[b];
    const std::int64_t slot = sequence.state / heads;
    const std::int64_t begin = std::max<std::int64_t>(first - slot, 0);
    const std::int64_t end = std::min(first + count - slot, plan.masks[b].queries);
    if (begin >= end) continue;
    visit(TokenRange{sequence, static_cast<std::int64_t>(b), begin, end - begin,
                     sequence.state + begin * heads});
  }
}

/// Spreads the slots of the plan's tokens, each with so many partitions, over the plan's workers.
template <class Body>
Status parallel_for_tokens(const PlanData& plan, std::int64_t partitions, Executor* executor,
                           const Body& body) {
  if (plan.states.rows == 0) return {};
  const std::int64_t heads = plan.config.query_heads;
  // A state that is added costs about as much as 32 elements beside its own.
  const std::int64_t row = (partitions + 1) * (plan.states.value_head_dim + 32);
  return parallel_for_rows(
      plan.states.rows / heads, heads * row, plan.workers, executor,
      [&](std::int64_t first, std::int64_t count) { for_each_sequence(plan, first, count, body); },
      plan.shape.pairs ? Denormals::zero : Denormals::kept);
}

/// Those of a token and the first head; null where there are none.
const float* temperatures_at(const PlanData& plan, const RowTemperatures& temperatures,
                             const TokenRange& tokens, std::int64_t token) {
  const float* const first = temperatures_of(plan, temperatures, tokens.number, 0);
  return first == nullptr ? nullptr : first + token * temperatures.query_stride;
}

/// The modifiers that merges know.
ScoreModifiers of_merges(const ScoreModifiers& modifiers) {
  ScoreModifiers own;
  own.sinks = modifiers.sinks;
  own.temperatures = modifiers.temperatures;
  return own;
}

/// Each token's states, merged.
class Merge {
 public:
  Merge(const PlanData& plan, std::span<const ConstStates> states, OutputData out, float* lse,
        const ScoreModifiers& modifiers)
      : plan_(plan),
        temperatures_(modifiers.temperatures),
        out_(static_cast<std::byte*>(out.data())),
        lse_(lse) {
    const FloatEnvironment environment;  // the unit is part of the result
    rows_.states = states.data();
    rows_.count = static_cast<std::int32_t>(states.size());
    rows_.group = rows_.rows = static_cast<std::int32_t>(plan.config.query_heads);
    rows_.state_stride = {rows_.group, 1};
    rows_.out_type = plan.shape.out_type;
    rows_.out_stride = {plan.out.token_stride, plan.out.head_stride};
    rows_.lse_stride = {plan.lse.token_stride, plan.lse.head_stride};
    rows_.value_head_dim = plan.shape.value_head_dim;
    rows_.rule = plan.shape.rule;
    rows_.unit = static_cast<float>(kernels::unit_at(plan.config.temperature));
    rows_.sinks = modifiers.sinks;
    rows_.temperature_stride = strides_of(temperatures_);
  }

  void operator()(const TokenRange& tokens) const {
    kernels::MergeRows rows = rows_;
    for (std::int64_t i = tokens.first; i < tokens.first + tokens.count; ++i) {
      rows.first_state = tokens.state_of(i, rows.group);
      rows.out = out_ + tokens.sequence.out + i * plan_.out.token_stride;
      if (lse_ != nullptr) rows.lse = lse_ + tokens.sequence.lse + i * plan_.lse.token_stride;
      rows.temperatures = temperatures_at(plan_, temperatures_, tokens, i);
      plan_.kernels->merge(rows);
    }
  }

 private:
  const PlanData& plan_;
  RowTemperatures temperatures_;
  std::byte* out_;
  float* lse_;
  kernels::MergeRows rows_;
};

Status check_merge(const PlanData& plan, std::span<const ConstPartialStates> shards, OutputData out,
                   float* lse, const ScoreModifiers& modifiers) {
  if (shards.size() > kMaxShards) {
    return invalid("shards has ", shards.size(), " entries; it may have ", kMaxShards,
                   ": merge the states of the others into one");
  }
  if (out == nullptr && plan.states.rows > 0) return invalid("out is null");
  HEED_RETURN_IF_ERROR(check_given_type("out", out, plan.config.out_type));
  const Region outputs[] = {{{"out"}, out.data(), plan.shapes.out, plan.config.out_type},
                            {{"lse"}, lse, plan.shapes.lse}};
  HEED_RETURN_IF_ERROR(check_modifiers(plan, modifiers));
  HEED_RETURN_IF_ERROR(check_regions(outputs, regions_of(plan, modifiers)));
  for (std::size_t i = 0; i < shards.size(); ++i) {
    const StatesName name{"shards", static_cast<std::int64_t>(i)};
    HEED_RETURN_IF_ERROR(check_states(name, shards[i], plan));
    HEED_RETURN_IF_ERROR(check_regions(outputs, regions_of(name, shards[i], plan)));
  }
  return {};
}

Status check_accumulate(const PlanData& plan, const PartialStates& total,
                        const ConstPartialStates& states, const ScoreModifiers& modifiers) {
  HEED_RETURN_IF_ERROR(check_states({"total"}, total, plan));
  HEED_RETURN_IF_ERROR(check_states({"states"}, states, plan));
  if (total.partitions != 1) {
    return invalid("total.partitions (", total.partitions, ") must be 1");
  }
  const auto sums = regions_of({"total"}, total, plan);
  HEED_RETURN_IF_ERROR(check_modifiers(plan, modifiers));
  HEED_RETURN_IF_ERROR(check_regions(sums, regions_of(plan, modifiers)));
  return check_regions(sums, regions_of({"states"}, states, plan));
}

/// The states of tokens, made empty.
void clear_tokens(const PlanData& plan, const PartialStates& states, const TokenRange& tokens) {
  const std::int64_t rows = tokens.count * plan.config.query_heads;
  const std::int64_t dims = plan.states.value_head_dim;
  for (std::int64_t p = 0; p < states.partitions; ++p) {
    const std::int64_t first = p * plan.states.rows + tokens.state;
    std::fill_n(states.m + first, rows, kernels::kNoKey);
    std::fill_n(states.l + first, rows, 0.0F);
    std::fill_n(states.o + first * dims, rows * dims, 0.0F);
  }
}

}  // namespace

Status check_states(const StatesName& name, const ConstPartialStates& states,
                    const PlanData& plan) {
  const auto refuse = [&](const char* field, const auto&... rule) {
    return name.index < 0 ? invalid(name.name, field, rule...)
                          : invalid(name.name, "[", name.index, "]", field, rule...);
  };
  constexpr std::int64_t most = kMaxCount / kPartitionKeys + 1;  // what a sequence may have
  if (states.partitions < 0 || states.partitions > most) {
    return refuse(".partitions", " (", states.partitions, ") must be from 0 to ", most);
  }
  if (states.partitions == 0 || plan.states.rows == 0) return {};
  if (states.m == nullptr) return refuse(".m", " is null");
  if (states.l == nullptr) return refuse(".l", " is null");
  if (states.o == nullptr) return refuse(".o", " is null");
  const StateShape shape{states.partitions, plan.states.rows, plan.states.value_head_dim};
  if (shape.floats() <= static_cast<std::size_t>(kMaxElements)) return {};
  return refuse("", " of ", shape.partitions, " partitions of ", shape.rows, " rows reach beyond",
                " the address space");
}

std::array<Region, 3> regions_of(const StatesName& name, const ConstPartialStates& states,
                                 const PlanData& plan) {
  const std::int64_t rows = states.partitions * plan.states.rows;
  return {Region({name.name, ".m", name.index}, states.m, rows),
          Region({name.name, ".l", name.index}, states.l, rows),
          Region({name.name, ".o", name.index}, states.o, rows * plan.states.value_head_dim)};
}

}  // namespace detail

std::size_t StateShape::floats() const noexcept {
  std::size_t size = 0;
  if (__builtin_mul_overflow(partitions, rows, &size) ||
      __builtin_mul_overflow(size, value_head_dim + 2, &size)) {
    return std::numeric_limits<std::size_t>::max();
  }
  return size;
}

StateShape state_shape(const Plan& plan) noexcept {
  return plan.data() == nullptr ? StateShape() : plan.data()->states;
}

Status merge(const Plan& plan, std::span<const ConstPartialStates> shards, OutputData out,
             float* lse, const ScoreModifiers& modifiers, Executor* executor) noexcept {
  return detail::guarded([&]() -> Status {
    const detail::PlanData* data = plan.data();
    HEED_RETURN_IF_ERROR(detail::check_plan(data));
    const ScoreModifiers own = detail::of_merges(modifiers);
    HEED_RETURN_IF_ERROR(detail::check_merge(*data, shards, out, lse, own));
    HEED_RETURN_IF_ERROR(detail::check_executor(executor));
    std::array<kernels::ConstStates, kMaxShards> states;
    std::int64_t partitions = 0;
    for (std::size_t i = 0; i < shards.size(); ++i) {
      states[i] = detail::kernel_states(shards[i], *data);
      partitions += shards[i].partitions;
    }
    const detail::Merge merge(*data, std::span(states).first(shards.size()), out, lse, own);
    return detail::parallel_for_tokens(*data, partitions, executor, merge);
  });
}

Status merge_into(const Plan& plan, const PartialStates& total, const ConstPartialStates& states,
                  const ScoreModifiers& modifiers, Executor* executor) noexcept {
  return detail::guarded([&]() -> Status {
    const detail::PlanData* data = plan.data();
    HEED_RETURN_IF_ERROR(detail::check_plan(data));
    const ScoreModifiers own{.temperatures = modifiers.temperatures};
    HEED_RETURN_IF_ERROR(detail::check_accumulate(*data, total, states, own));
    HEED_RETURN_IF_ERROR(detail::check_executor(executor));
    const kernels::MergeIntoRows all{
        .total = {total.m, total.l, total.o, data->states.rows, 1},
        .states = detail::kernel_states(states, *data),
        .value_head_dim = data->shape.value_head_dim,
        .rule = data->shape.rule,
        .temperature_stride = detail::strides_of(own.temperatures),
        .query_heads = static_cast<std::int32_t>(data->config.query_heads)};
    const auto add = [&](const detail::TokenRange& tokens) {
      kernels::MergeIntoRows rows = all;
      rows.temperatures = detail::temperatures_at(*data, own.temperatures, tokens, tokens.first);
      rows.first_row = tokens.state;
      rows.rows = tokens.count * data->config.query_heads;
      data->kernels->merge_into(rows);
    };
    return detail::parallel_for_tokens(*data, states.partitions, executor, add);
  });
}

Status clear(const Plan& plan, const PartialStates& states) noexcept {
  return detail::guarded([&]() -> Status {
    const detail::PlanData* data = plan.data();
    HEED_RETURN_IF_ERROR(detail::check_plan(data));
    const detail::StatesName name{"states"};
    HEED_RETURN_IF_ERROR(detail::check_states(name, states, *data));
    HEED_RETURN_IF_ERROR(detail::check_regions(detail::regions_of(name, states, *data), {}));
    const std::int64_t slots = data->states.rows / data->config.query_heads;
    detail::for_each_sequence(*data, 0, slots, [&](const detail::TokenRange& tokens) {
      detail::clear_tokens(*data, states, tokens);
    });
    return {};
  });
}

}  // namespace heed
