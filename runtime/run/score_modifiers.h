// The modifiers of scores of a run: checked, and as the kernels take them.
#pragma once

#include <array>

#include "heed/score_modifiers.h"
#include "kernels/interface.h"
#include "runtime/base/regions.h"
#include "runtime/plan/plan_data.h"

namespace heed::detail {

/// Whether a plan's runs may have these modifiers. Allocates only on failure.
Status check_modifiers(const PlanData& plan, const ScoreModifiers& modifiers);

/// The plan's shape with what modifiers change in it.
kernels::AttentionShape with_modifiers(const PlanData& plan, const ScoreModifiers& modifiers);

/// Points an item to the slopes, sinks and biases of its heads and tokens.
void bind_modifiers(const PlanData& plan, const ScoreModifiers& modifiers,
                    const PlannedItem& planned, kernels::AttentionItem& item);

/// That of a sequence's first token and of this query head; null where there are none.
const float* temperatures_of(const PlanData& plan, const RowTemperatures& temperatures,
                             std::int64_t sequence, std::int64_t head);

/// From token to token, and from head to head.
kernels::Strides strides_of(const RowTemperatures& temperatures);

/// Where slopes, sinks, biases and temperatures lie, of modifiers that have passed check_modifiers.
std::array<Region, 4> regions_of(const PlanData& plan, const ScoreModifiers& modifiers);

}  // namespace heed::detail
