#include "bindings/c/convert.h"

#include "bindings/c/handles.h"

namespace heed::c {
namespace {

PageStrides to_cpp(const heed_page_strides& c) noexcept { return {c.page, c.token, c.head}; }

heed_page_strides to_c(const PageStrides& strides) noexcept {
  return {strides.page, strides.token, strides.head};
}

Scales to_cpp(const heed_scales& c) noexcept { return {c.scales, c.zero_points}; }

}  // namespace

PageTables to_cpp(const Path& path, const heed_page_tables* given) {
  const heed_page_tables c = read(path, given);
  return {.pages = elements(path.member("pages"), c.pages, c.pages_count),
          .stride = c.stride,
          .indptr = elements(path.member("indptr"), c.indptr, c.indptr_count)};
}

ScoreBias to_cpp(const Path& path, const heed_score_bias* given) {
  const heed_score_bias c = read(path, given);
  return {to_cpp(c.data), c.sequence_stride, c.head_stride, c.query_stride, c.key_stride};
}

RowTemperatures to_cpp(const Path& path, const heed_row_temperatures* given) {
  const heed_row_temperatures c = read(path, given);
  return {c.data, c.sequence_stride, c.head_stride, c.query_stride};
}

RunOptions to_cpp(const Path& path, const heed_run_options* given) {
  const heed_run_options c = read(path, given);
  return {name_of(c.isa), c.workers, value_of(c.executor)};
}

PagedLayout to_cpp(const Path& path, const heed_paged_layout* given) {
  const heed_paged_layout c = read(path, given);
  return {.pages = c.pages,
          .page_tokens = c.page_tokens,
          .kv_heads = c.kv_heads,
          .head_dim = c.head_dim,
          .value_head_dim = c.value_head_dim,
          .k = to_cpp(c.k),
          .v = to_cpp(c.v),
          .k_scales = optional(path.member("k_scales"), c.k_scales),
          .v_scales = optional(path.member("v_scales"), c.v_scales)};
}

heed_paged_layout to_c(const PagedLayout& layout) noexcept {
  heed_paged_layout c = defaults<heed_paged_layout>();
  c.pages = layout.pages;
  c.page_tokens = layout.page_tokens;
  c.kv_heads = layout.kv_heads;
  c.head_dim = layout.head_dim;
  c.value_head_dim = layout.value_head_dim;
  c.k = to_c(layout.k);
  c.v = to_c(layout.v);
  return c;
}

ScoreModifiers to_cpp(const Path& path, const heed_score_modifiers* given) {
  const heed_score_modifiers c = read(path, given);
  return {.softcap = c.softcap,
          .alibi_slopes = c.alibi_slopes,
          .bias = or_defaults(path.member("bias"), c.bias),
          .sinks = c.sinks,
          .temperatures = or_defaults(path.member("temperatures"), c.temperatures)};
}

AttentionTensors to_cpp(const Path& path, const heed_attention_tensors* given) {
  const heed_attention_tensors c = read(path, given);
  return {.q = to_cpp(c.q),
          .k = to_cpp(c.k),
          .v = to_cpp(c.v),
          .out = to_cpp(c.out),
          .lse = c.lse,
          .tables = or_defaults(path.member("tables"), c.tables),
          .k_scales = to_cpp(c.k_scales),
          .v_scales = to_cpp(c.v_scales),
          .modifiers = or_defaults(path.member("modifiers"), c.modifiers)};
}

}  // namespace heed::c
