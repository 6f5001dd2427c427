#include "runtime/run/inputs.h"

#include <algorithm>

#include "runtime/base/element_types.h"
#include "runtime/base/message.h"
#include "runtime/base/scale_layout.h"
#include "runtime/run/page_tables.h"
#include "runtime/run/score_modifiers.h"

namespace heed::detail {
namespace {

const std::byte* bytes(const InputData& data) { return static_cast<const std::byte*>(data.data()); }

/// The scales of one head of a sequence, or of the pool.
kernels::TokenScales bind_scales(const Scales& scales, const ScaleLayout& layout,
                                 std::ptrdiff_t start, std::int32_t head) noexcept {
  if (scales.scales == nullptr) return {};
  const std::ptrdiff_t offset = start + head * layout.head_stride;
  return {scales.scales + offset,
          scales.zero_points == nullptr ? nullptr : scales.zero_points + offset,
          layout.token_stride, layout.sequence_stride};
}

void bind_keys(const PlanData& plan, const AttentionTensors& tensors, const PlannedItem& p,
               kernels::AttentionItem& item) noexcept {
  const PlannedSequence& s = plan.sequences[static_cast<std::size_t>(p.sequence)];
  item.k = bytes(tensors.k) + s.k + p.kv_head * plan.k.head_stride;
  if (tensors.v != nullptr) item.v = bytes(tensors.v) + s.v + p.kv_head * plan.v.head_stride;
  item.k_stride = plan.k.token_stride;
  item.v_stride = plan.v.token_stride;
  if (p.heads > 1) {
    item.head_step.k = plan.k.head_stride;
    item.head_step.v = plan.v.head_stride;
    item.head_step.k_scales = plan.k_scales.head_stride;
    item.head_step.v_scales = plan.v_scales.head_stride;
  }
  if (plan.pages) {
    item.pages = pages_of(tensors.tables, p.sequence).data();
    item.page_tokens = static_cast<std::int32_t>(plan.pages->page_tokens);
    item.k_page = plan.k_page;
    item.v_page = plan.v_page;
  }
  item.k_scales = bind_scales(tensors.k_scales, plan.k_scales, s.k_scales, p.kv_head);
  item.v_scales = bind_scales(tensors.v_scales, plan.v_scales, s.v_scales, p.kv_head);
}

/// An item with the planned rows and keys, and the addresses of queries, keys and values.
kernels::AttentionItem bind_rows(const PlanData& plan, const AttentionTensors& tensors,
                                 const PlannedItem& p) noexcept {
  const PlannedSequence& s = plan.sequences[static_cast<std::size_t>(p.sequence)];
  const std::ptrdiff_t group = plan.shape.group, query_head = p.kv_head * group;
  kernels::AttentionItem item;
  item.q = bytes(tensors.q) + s.q + query_head * plan.q.head_stride;
  item.q_stride = {plan.q.token_stride, plan.q.head_stride};
  if (p.heads > 1) item.head_step.q = group * plan.q.head_stride;
  item.row_begin = p.row_begin;
  item.rows = p.rows;
  item.decode = p.decode;
  item.heads = p.heads;
  item.key_begin = p.key_begin;
  item.key_end = p.key_end;
  if (p.key_begin < p.key_end) bind_keys(plan, tensors, p, item);  // else both may be null
  return item;
}

}  // namespace

Status check_inputs(const PlanData& plan, const AttentionTensors& t, bool values) {
  const AttentionConfig& config = plan.config;
  const bool needed = plan.schedule.visible_scores > 0;
  if (t.q == nullptr) return invalid("q is null");
  if (t.k == nullptr && needed) return invalid("k is null");
  if (values && t.v == nullptr && needed) return invalid("v is null");
  HEED_RETURN_IF_ERROR(check_given_type("q", t.q, config.q_type));
  HEED_RETURN_IF_ERROR(check_given_type("k", t.k, config.k_type));
  HEED_RETURN_IF_ERROR(check_given_type("v", t.v, config.v_type));
  HEED_RETURN_IF_ERROR(check_given_scales("k_scales", t.k_scales, config.k_type, needed));
  HEED_RETURN_IF_ERROR(check_given_scales("v_scales", t.v_scales, config.v_type, needed && values));
  return check_modifiers(plan, t.modifiers);
}

std::array<Region, 13> input_regions(const PlanData& plan, const AttentionTensors& t) {
  const AttentionConfig& c = plan.config;
  const auto modifiers = regions_of(plan, t.modifiers);
  return {Region({"q"}, t.q.data(), plan.shapes.q, c.q_type),
          Region({"k"}, t.k.data(), plan.shapes.k, c.k_type),
          Region({"v"}, t.v.data(), plan.shapes.v, c.v_type),
          Region({"tables.pages"}, t.tables.pages),
          Region({"tables.indptr"}, t.tables.indptr),
          Region({"k_scales.scales"}, t.k_scales.scales, plan.shapes.k_scales),
          Region({"k_scales.zero_points"}, t.k_scales.zero_points, plan.shapes.k_scales),
          Region({"v_scales.scales"}, t.v_scales.scales, plan.shapes.v_scales),
          Region({"v_scales.zero_points"}, t.v_scales.zero_points, plan.shapes.v_scales),
          modifiers[0],
          modifiers[1],
          modifiers[2],
          modifiers[3]};
}

kernels::AttentionItem bind_inputs(const PlanData& plan, const AttentionTensors& tensors,
                                   const PlannedItem& p) noexcept {
  kernels::AttentionItem item = bind_rows(plan, tensors, p);
  if (p.sequences > 1) {
    item.keys = p.key_end;
  } else {
    const Visibility& mask = plan.visibility(p.sequence, p.kv_head);
    item.keys = static_cast<std::int32_t>(mask.keys);
    item.query_position = mask.query_position(0);
    item.prefix = static_cast<std::int32_t>(mask.prefix);
    item.keep_first = static_cast<std::int32_t>(mask.keep_first);
    item.mask = mask.mask.rows;
  }
  bind_modifiers(plan, tensors.modifiers, p, item);
  return item;
}

kernels::AttentionItem bind_ahead(const PlanData& plan, const AttentionTensors& tensors,
                                  const PlannedItem& p) noexcept {
  kernels::AttentionItem item = bind_rows(plan, tensors, p);
  if (p.sequences > 1) return item;
  const Range gap =
      plan.visibility(p.sequence, p.kv_head).gap_of({p.row_begin, p.row_begin + p.rows});
  if (item.key_begin < gap.first) {
    item.key_end = static_cast<std::int32_t>(std::min<std::int64_t>(item.key_end, gap.first));
  } else if (item.key_begin < gap.last) {
    item.key_begin = static_cast<std::int32_t>(std::min<std::int64_t>(item.key_end, gap.last));
  }
  return item;
}

}  // namespace heed::detail
