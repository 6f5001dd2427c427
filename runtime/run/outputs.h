// Where runs of a plan write, and items computed there.
#pragma once

#include <array>

#include "heed/attention.h"
#include "kernels/interface.h"
#include "runtime/base/regions.h"
#include "runtime/plan/plan_data.h"

namespace heed::detail {

/// Those of the first query head of a KV head's group.
struct Outputs {
  std::byte* out;
  float* lse;
};
Outputs outputs_of(const PlanData& plan, const AttentionTensors& tensors, std::int32_t sequence,
                   std::int32_t kv_head) noexcept;

/// Points an item to them.
void bind_outputs(const PlanData& plan, const AttentionTensors& tensors, const PlannedItem& planned,
                  kernels::AttentionItem& item) noexcept;

/// Where outputs and the log-sum-exp lie.
std::array<Region, 2> output_regions(const PlanData& plan, const AttentionTensors& tensors);

/// Computes an item, with each rule that its rows have. Returns whether the kernel kept to its
/// scratch, as far as that is checked.
bool compute(const PlanData& plan, kernels::AttentionShape shape,
             const kernels::AttentionItem& item, float* scratch) noexcept;

}  // namespace heed::detail
