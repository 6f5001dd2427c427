// The modifiers of scores of a run: checked, and as the kernels take them.
#pragma once

#include <array>

#include "heed/score_modifiers.h"
#include "kernels/interface.h"
#include "runtime/base/regions.h"
#include "runtime/plan/plan_data.h"

namespace heed::detail {

/// What natural logits are multiplied with to be logits to base 2: log2 e / T, or log2 e for the
/// argmax.
float logit_unit(const AttentionConfig& config);

/// Whether a plan's runs may have these modifiers. Allocates only on failure.
Status check_modifiers(const PlanData& plan, const ScoreModifiers& modifiers);

/// The plan's shape with what modifiers change in it.
kernels::AttentionShape with_modifiers(const PlanData& plan, const ScoreModifiers& modifiers);

/// Points an item to the slopes, sinks and biases of its heads and tokens.
void bind_modifiers(const PlanData& plan, const ScoreModifiers& modifiers,
                    const PlannedItem& planned, kernels::AttentionItem& item);

/// Where slopes, sinks and biases lie, of modifiers that have passed check_modifiers.
std::array<Region, 3> regions_of(const PlanData& plan, const ScoreModifiers& modifiers);

}  // namespace heed::detail
