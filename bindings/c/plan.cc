// Describing attention, and planning it.
#include <string_view>

#include "bindings/c/convert.h"
#include "bindings/c/handles.h"

namespace heed::c {

AttentionConfig to_cpp(const Path& path, const heed_attention_config* given) {
  const heed_attention_config c = read(path, given);
  AttentionConfig config{.query_heads = c.query_heads,
                         .kv_heads = c.kv_heads,
                         .head_dim = c.head_dim,
                         .value_head_dim = c.value_head_dim,
                         .causal = c.causal != 0,
                         .alignment = static_cast<Alignment>(c.alignment),
                         .window_left = c.window_left,
                         .window_right = c.window_right,
                         .keep_first = c.keep_first,
                         .temperature = c.temperature,
                         .q_type = static_cast<DType>(c.q_type),
                         .k_type = static_cast<DType>(c.k_type),
                         .v_type = static_cast<DType>(c.v_type),
                         .out_type = static_cast<DType>(c.out_type),
                         .products = static_cast<Products>(c.products)};
  if (c.scale != nullptr) config.scale = *c.scale;
  return config;
}

Lengths to_cpp(const Path& path, const heed_lengths& c) {
  return {.length = c.length,
          .lengths = elements(path.member("lengths"), c.lengths, c.lengths_count),
          .offsets = elements(path.member("offsets"), c.offsets, c.offsets_count)};
}

KeyMask to_cpp(const Path& path, const heed_key_mask* given) {
  const heed_key_mask c = read(path, given);
  return {.type = static_cast<MaskType>(c.type),
          .data = c.data,
          .sequence_stride = c.sequence_stride,
          .head_stride = c.head_stride,
          .query_stride = c.query_stride,
          .query_block = c.query_block,
          .key_block = c.key_block,
          .last_keys = c.last_keys};
}

KeyLists to_cpp(const Path& path, const heed_key_lists* given) {
  const heed_key_lists c = read(path, given);
  return {.offsets = elements(path.member("offsets"), c.offsets, c.offsets_count),
          .keys = elements(path.member("keys"), c.keys, c.keys_count)};
}

KeyShard to_cpp(const Path& path, const heed_key_shard* given) {
  const heed_key_shard c = read(path, given);
  return {.first_key = c.first_key,
          .whole_length = c.whole_length,
          .first_keys = elements(path.member("first_keys"), c.first_keys, c.first_keys_count),
          .whole_lengths =
              elements(path.member("whole_lengths"), c.whole_lengths, c.whole_lengths_count)};
}

Batch to_cpp(const Path& path, const heed_batch* given) {
  const heed_batch c = read(path, given);
  return {.sequences = c.sequences,
          .query = to_cpp(path.member("query"), c.query),
          .key = to_cpp(path.member("key"), c.key),
          .q = optional(path, c.q),
          .k = optional(path, c.k),
          .v = optional(path, c.v),
          .out = optional(path, c.out),
          .k_scales = optional(path, c.k_scales),
          .v_scales = optional(path, c.v_scales),
          .pages = optional(path.member("pages"), c.pages),
          .shared_prefixes =
              elements(path.member("shared_prefixes"), c.shared_prefixes, c.shared_prefixes_count),
          .visible_prefixes = elements(path.member("visible_prefixes"), c.visible_prefixes,
                                       c.visible_prefixes_count),
          .mask = optional(path.member("mask"), c.mask),
          .key_lists = optional(path.member("key_lists"), c.key_lists),
          .lse = optional(path, c.lse),
          .shard = optional(path.member("shard"), c.shard)};
}

PlanOptions to_cpp(const Path& path, const heed_plan_options* given) {
  const heed_plan_options c = read(path, given);
  return {name_of(c.isa), c.workers, c.tile_keys, c.item_rows};
}

}  // namespace heed::c

using heed::c::call;
using heed::c::needed;

heed_status heed_plan_create(heed_plan** plan) {
  return call([&] { return heed::c::create("plan", plan); });
}

void heed_plan_destroy(heed_plan* plan) { delete plan; }

heed_status heed_plan_attention(const heed_attention_config* config, const heed_batch* batch,
                                const heed_plan_options* options, heed_plan* plan) {
  return call([&] {
    return heed::plan_attention(heed::c::to_cpp("config", config), heed::c::to_cpp("batch", batch),
                                heed::c::or_defaults("options", options),
                                needed("plan", plan).value);
  });
}

heed_status heed_plan_describe(const heed_plan* plan, char* text, size_t size, size_t* length) {
  return call(
      [&] { heed::c::write_text(needed("plan", plan).value.describe(), text, size, length); });
}

heed_status heed_plan_isa(const heed_plan* plan, const char** isa) {
  return call([&] { needed("isa", isa) = heed::c::literal(needed("plan", plan).value.isa()); });
}

heed_status heed_plan_workers(const heed_plan* plan, int* workers) {
  return call([&] { needed("workers", workers) = needed("plan", plan).value.workers(); });
}

heed_status heed_plan_workspace_bytes(const heed_plan* plan, size_t* bytes) {
  return call([&] { needed("bytes", bytes) = needed("plan", plan).value.workspace_bytes(); });
}

heed_status heed_plan_visible_scores(const heed_plan* plan, int64_t* scores) {
  return call([&] { needed("scores", scores) = needed("plan", plan).value.visible_scores(); });
}

heed_status heed_get_forecast(const heed_plan* plan, heed_forecast* forecast) {
  return call([&] {
    heed::Forecast told;
    heed::Status status = heed::forecast(needed("plan", plan).value, told);
    if (!status.ok()) return status;
    auto c = heed::c::defaults<heed_forecast>();
    c.items = told.items;
    c.splits = told.splits;
    c.work = told.work;
    c.longest = told.longest;
    c.makespan = told.makespan;
    heed::c::write("forecast", c, forecast);
    return status;
  });
}

heed_status heed_paged_layout_bshd(int64_t pages, int64_t page_tokens, int64_t kv_heads,
                                   int64_t head_dim, int64_t value_head_dim,
                                   heed_paged_layout* layout) {
  return call([&] {
    const auto made =
        heed::PagedLayout::bshd(pages, page_tokens, kv_heads, head_dim, value_head_dim);
    heed::c::write("layout", heed::c::to_c(made), layout);
  });
}

heed_status heed_paged_layout_bhsd(int64_t pages, int64_t page_tokens, int64_t kv_heads,
                                   int64_t head_dim, int64_t value_head_dim,
                                   heed_paged_layout* layout) {
  return call([&] {
    const auto made =
        heed::PagedLayout::bhsd(pages, page_tokens, kv_heads, head_dim, value_head_dim);
    heed::c::write("layout", heed::c::to_c(made), layout);
  });
}

heed_status heed_paged_layout_together(heed_paged_layout* layout) {
  return call([&] {
    const auto one = heed::PagedLayout::together(heed::c::to_cpp("layout", layout));
    heed_paged_layout c = heed::c::to_c(one);
    c.k_scales = layout->k_scales;
    c.v_scales = layout->v_scales;
    heed::c::write("layout", c, layout);
  });
}
