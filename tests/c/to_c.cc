#include "tests/c/to_c.h"

namespace heed::tests {
namespace {

heed_lengths to_c(const Lengths& lengths) {
  return {lengths.length, lengths.lengths.data(), lengths.lengths.size(), lengths.offsets.data(),
          lengths.offsets.size()};
}

heed_page_strides to_c(const PageStrides& strides) {
  return {strides.page, strides.token, strides.head};
}

/// Where an optional one is, its conversion at `place`; else null.
template <class Cpp, class C>
const C* place(const std::optional<Cpp>& value, C& place) {
  if (!value) return nullptr;
  place = tests::to_c(*value);
  return &place;
}

heed_key_mask to_c(const KeyMask& mask) {
  auto c = initialised(heed_key_mask_init);
  c.data = mask.data;
  c.type = static_cast<heed_mask_type>(mask.type);
  c.sequence_stride = mask.sequence_stride;
  c.head_stride = mask.head_stride;
  c.query_stride = mask.query_stride;
  c.query_block = mask.query_block;
  c.key_block = mask.key_block;
  c.last_keys = mask.last_keys;
  return c;
}

heed_key_lists to_c(const KeyLists& lists) {
  auto c = initialised(heed_key_lists_init);
  c.offsets = lists.offsets.data();
  c.offsets_count = lists.offsets.size();
  c.keys = lists.keys.data();
  c.keys_count = lists.keys.size();
  return c;
}

heed_key_shard to_c(const KeyShard& shard) {
  auto c = initialised(heed_key_shard_init);
  c.first_key = shard.first_key;
  c.whole_length = shard.whole_length;
  c.first_keys = shard.first_keys.data();
  c.first_keys_count = shard.first_keys.size();
  c.whole_lengths = shard.whole_lengths.data();
  c.whole_lengths_count = shard.whole_lengths.size();
  return c;
}

heed_score_bias to_c(const ScoreBias& bias) {
  auto c = initialised(heed_score_bias_init);
  c.data = tests::to_c(bias.data);
  c.sequence_stride = bias.sequence_stride;
  c.head_stride = bias.head_stride;
  c.query_stride = bias.query_stride;
  c.key_stride = bias.key_stride;
  return c;
}

heed_row_temperatures to_c(const RowTemperatures& temperatures) {
  auto c = initialised(heed_row_temperatures_init);
  c.data = temperatures.data;
  c.sequence_stride = temperatures.sequence_stride;
  c.head_stride = temperatures.head_stride;
  c.query_stride = temperatures.query_stride;
  return c;
}

}  // namespace

heed_input_data to_c(const InputData& data) {
  return {data.data(), static_cast<heed_dtype>(data.type())};
}

heed_output_data to_c(const OutputData& data) {
  return {data.data(), static_cast<heed_dtype>(data.type())};
}

heed_layout to_c(const Layout& layout) {
  return {layout.sequence_stride, layout.token_stride, layout.head_stride};
}

heed_scale_layout to_c(const ScaleLayout& layout) {
  return {layout.group, layout.sequence_stride, layout.token_stride, layout.head_stride};
}

CConfig::CConfig(const AttentionConfig& config) : c(initialised(heed_attention_config_init)) {
  c.query_heads = config.query_heads;
  c.kv_heads = config.kv_heads;
  c.head_dim = config.head_dim;
  c.value_head_dim = config.value_head_dim;
  c.causal = config.causal;
  c.alignment = static_cast<heed_alignment>(config.alignment);
  c.window_left = config.window_left;
  c.window_right = config.window_right;
  c.keep_first = config.keep_first;
  scale = config.scale.value_or(0);
  c.scale = config.scale ? &scale : nullptr;
  c.temperature = config.temperature;
  c.products = static_cast<heed_products>(config.products);
  c.q_type = static_cast<heed_dtype>(config.q_type);
  c.k_type = static_cast<heed_dtype>(config.k_type);
  c.v_type = static_cast<heed_dtype>(config.v_type);
  c.out_type = static_cast<heed_dtype>(config.out_type);
}

CPagedLayout::CPagedLayout(const PagedLayout& layout) : c(initialised(heed_paged_layout_init)) {
  c.pages = layout.pages;
  c.page_tokens = layout.page_tokens;
  c.kv_heads = layout.kv_heads;
  c.head_dim = layout.head_dim;
  c.value_head_dim = layout.value_head_dim;
  c.k = to_c(layout.k);
  c.v = to_c(layout.v);
  c.k_scales = place(layout.k_scales, k_scales);
  c.v_scales = place(layout.v_scales, v_scales);
}

CBatch::CBatch(const Batch& batch)
    : pages(batch.pages.value_or(PagedLayout())), c(initialised(heed_batch_init)) {
  c.sequences = batch.sequences;
  c.query = to_c(batch.query);
  c.key = to_c(batch.key);
  c.q = place(batch.q, q);
  c.k = place(batch.k, k);
  c.v = place(batch.v, v);
  c.out = place(batch.out, out);
  c.k_scales = place(batch.k_scales, k_scales);
  c.v_scales = place(batch.v_scales, v_scales);
  c.pages = batch.pages ? &pages.c : nullptr;
  c.shared_prefixes = batch.shared_prefixes.data();
  c.shared_prefixes_count = batch.shared_prefixes.size();
  c.visible_prefixes = batch.visible_prefixes.data();
  c.visible_prefixes_count = batch.visible_prefixes.size();
  if (batch.mask) c.mask = &(mask = to_c(*batch.mask));
  if (batch.key_lists) c.key_lists = &(key_lists = to_c(*batch.key_lists));
  c.lse = place(batch.lse, lse);
  if (batch.shard) c.shard = &(shard = to_c(*batch.shard));
}

CTensors::CTensors(const AttentionTensors& tensors)
    : tables(initialised(heed_page_tables_init)),
      bias(to_c(tensors.modifiers.bias)),
      temperatures(to_c(tensors.modifiers.temperatures)),
      modifiers(initialised(heed_score_modifiers_init)),
      c(initialised(heed_attention_tensors_init)) {
  tables.pages = tensors.tables.pages.data();
  tables.pages_count = tensors.tables.pages.size();
  tables.stride = tensors.tables.stride;
  tables.indptr = tensors.tables.indptr.data();
  tables.indptr_count = tensors.tables.indptr.size();
  modifiers.softcap = tensors.modifiers.softcap;
  modifiers.alibi_slopes = tensors.modifiers.alibi_slopes;
  modifiers.sinks = tensors.modifiers.sinks;
  modifiers.bias = &bias;
  modifiers.temperatures = &temperatures;
  c.q = to_c(tensors.q);
  c.k = to_c(tensors.k);
  c.v = to_c(tensors.v);
  c.out = to_c(tensors.out);
  c.lse = tensors.lse;
  c.tables = &tables;
  c.k_scales = {tensors.k_scales.scales, tensors.k_scales.zero_points};
  c.v_scales = {tensors.v_scales.scales, tensors.v_scales.zero_points};
  c.modifiers = &modifiers;
}

CPlan::CPlan(const AttentionConfig& config, const Batch& batch, int workers) {
  auto options = initialised(heed_plan_options_init);
  options.workers = workers;
  EXPECT_DONE(heed_plan_create(plan.out()));
  EXPECT_DONE(
      heed_plan_attention(CConfig(config).pointer(), CBatch(batch).pointer(), &options, plan));
  EXPECT_DONE(heed_workspace_create(workspace.out()));
  EXPECT_DONE(heed_workspace_reserve(workspace, plan));
}

}  // namespace heed::tests
