// The tensors that runs of a plan read: checked, and as items find them.
#pragma once

#include <array>

#include "heed/attention.h"
#include "kernels/interface.h"
#include "runtime/base/regions.h"
#include "runtime/plan/plan_data.h"

namespace heed::detail {

/// Whether tensors are of the plan's types, and there where they are needed; page tables are looked
/// at after the places of tensors. Values are not needed where only logits are computed.
Status check_inputs(const PlanData& plan, const AttentionTensors& tensors, bool values);

/// Where the tensors of check_inputs lie.
std::array<Region, 13> input_regions(const PlanData& plan, const AttentionTensors& tensors);

/// The planned item with the addresses of a run's queries, keys, values and modifiers.
kernels::AttentionItem bind_inputs(const PlanData& plan, const AttentionTensors& tensors,
                                   const PlannedItem& planned) noexcept;

/// What is prefetched of a planned item: its queries, and the keys and values that its rows see
/// first, up to the gap between these and the keys of windows, or from its end on.
kernels::AttentionItem bind_ahead(const PlanData& plan, const AttentionTensors& tensors,
                                  const PlannedItem& planned) noexcept;

}  // namespace heed::detail
