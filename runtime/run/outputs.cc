#include "runtime/run/outputs.h"

#include "kernels/temperature.h"
#include "runtime/run/scratch_check.h"

namespace heed::detail {

Outputs outputs_of(const PlanData& plan, const AttentionTensors& tensors, std::int32_t sequence,
                   std::int32_t kv_head) noexcept {
  const PlannedSequence& s = plan.sequences[static_cast<std::size_t>(sequence)];
  const std::ptrdiff_t head = std::ptrdiff_t{kv_head} * plan.shape.group;
  return {static_cast<std::byte*>(tensors.out.data()) + s.out + head * plan.out.head_stride,
          tensors.lse == nullptr ? nullptr : tensors.lse + s.lse + head * plan.lse.head_stride};
}

void bind_outputs(const PlanData& plan, const AttentionTensors& tensors, const PlannedItem& p,
                  kernels::AttentionItem& item) noexcept {
  const Outputs outputs = outputs_of(plan, tensors, p.sequence, p.kv_head);
  item.out = outputs.out;
  item.lse = outputs.lse;
  item.out_stride = {plan.out.token_stride, plan.out.head_stride};
  item.lse_stride = {plan.lse.token_stride, plan.lse.head_stride};
}

std::array<Region, 2> output_regions(const PlanData& plan, const AttentionTensors& t) {
  return {Region({"out"}, t.out.data(), plan.shapes.out, plan.config.out_type),
          Region({"lse"}, t.lse, plan.shapes.lse)};
}

bool compute(const PlanData& plan, kernels::AttentionShape shape,
             const kernels::AttentionItem& item, float* scratch) noexcept {
  const ScratchCheck check(shape, *plan.kernels, item, scratch);
  const kernels::AttentionShape all = shape;
  for (const kernels::WeightRule rule :
       {kernels::WeightRule::exponential, kernels::WeightRule::argmax}) {
    if (!has_rule(all, item, rule)) continue;
    shape.rule = rule;
    plan.kernels->attend(shape, item, scratch);
  }
  return check.intact();
}

}  // namespace heed::detail
