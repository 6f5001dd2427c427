// Paged caches, and writing to them.
#include "bindings/c/convert.h"
#include "bindings/c/handles.h"

namespace heed::c {

PageBudget to_cpp(const Path& path, const heed_page_budget* given) {
  const heed_page_budget c = read(path, given);
  return {c.pages, c.page_tokens, c.sequences, c.sequence_tokens, c.prefixes != 0};
}

KvCacheConfig to_cpp(const Path& path, const heed_kv_cache_config* given) {
  const heed_kv_cache_config c = read(path, given);
  return {.layout = to_cpp(path.member("layout"), c.layout),
          .layers = c.layers,
          .sequences = c.sequences,
          .sequence_tokens = c.sequence_tokens,
          .k_type = static_cast<DType>(c.k_type),
          .v_type = static_cast<DType>(c.v_type),
          .k_zero_points = c.k_zero_points != 0,
          .v_zero_points = c.v_zero_points != 0,
          .prefixes = c.prefixes != 0};
}

KvPages to_cpp(const Path& path, const heed_kv_pages* given) {
  const heed_kv_pages c = read(path, given);
  return {.k = to_cpp(c.k),
          .v = to_cpp(c.v),
          .k_scales = {c.k_scales.scales, c.k_scales.zero_points},
          .v_scales = {c.v_scales.scales, c.v_scales.zero_points}};
}

heed_kv_pages to_c(const KvPages& pages) {
  auto c = defaults<heed_kv_pages>();
  c.k = to_c(pages.k);
  c.v = to_c(pages.v);
  c.k_scales = {pages.k_scales.scales, pages.k_scales.zero_points};
  c.v_scales = {pages.v_scales.scales, pages.v_scales.zero_points};
  return c;
}

NewTokens to_cpp(const Path& path, const heed_new_tokens* given) {
  const heed_new_tokens c = read(path, given);
  return {.k = to_cpp(c.k),
          .v = to_cpp(c.v),
          .k_layout = optional(path, c.k_layout),
          .v_layout = optional(path, c.v_layout),
          .slots = elements(path.member("slots"), c.slots, c.slots_count),
          .rotary = c.rotary == nullptr ? nullptr : &c.rotary->value,
          .positions = elements(path.member("positions"), c.positions, c.positions_count)};
}

namespace {

// What heed_paged_sequences and heed_kv_cache have in common.

auto& owner(heed_paged_sequences* handle) { return needed("sequences", handle).value; }
const auto& owner(const heed_paged_sequences* handle) { return needed("sequences", handle).value; }
auto& owner(heed_kv_cache* handle) { return needed("cache", handle).value; }
const auto& owner(const heed_kv_cache* handle) { return needed("cache", handle).value; }

template <class Handle>
heed_status add(Handle* handle, int32_t* id) {
  return call([&] { return owner(handle).add(needed("id", id)); });
}

template <class Handle>
heed_status begin(Handle* handle, std::span<const int32_t> tokens, int32_t* id, int64_t* found) {
  return call([&] {
    return owner(handle).begin(elements("tokens", tokens.data(), tokens.size()), needed("id", id),
                               needed("found", found));
  });
}

template <class Handle>
heed_status publish(Handle* handle, int32_t id, std::span<const int32_t> tokens) {
  return call(
      [&] { return owner(handle).publish(id, elements("tokens", tokens.data(), tokens.size())); });
}

template <class Handle>
heed_status forget(Handle* handle, int32_t id, int64_t tokens, int64_t keep_first) {
  return call([&] { return owner(handle).forget(id, tokens, keep_first); });
}

template <class Handle>
heed_status fork(Handle* handle, int32_t id, int64_t tokens, int32_t* child) {
  return call([&] { return owner(handle).fork(id, tokens, needed("child", child)); });
}

template <class Handle>
heed_status truncate(Handle* handle, int32_t id, int64_t tokens) {
  return call([&] { return owner(handle).truncate(id, tokens); });
}

template <class Handle>
heed_status remove(Handle* handle, int32_t id) {
  return call([&] { return owner(handle).remove(id); });
}

template <class Handle>
heed_status tokens_of(const Handle* handle, int32_t id, int64_t* tokens) {
  return call([&] { needed("tokens", tokens) = owner(handle).tokens(id); });
}

template <class Handle>
heed_status pages_of(const Handle* handle, int32_t id, const int32_t** pages, size_t* pages_count) {
  return call([&] {
    const std::span<const int32_t> all = owner(handle).pages(id);
    const int32_t*& first = needed("pages", pages);
    needed("pages_count", pages_count) = all.size();
    first = all.data();
  });
}

template <class Handle>
heed_status free_pages(const Handle* handle, int64_t* pages) {
  return call([&] { needed("pages", pages) = owner(handle).free_pages(); });
}

template <class Handle>
heed_status block_table(const Handle* handle, std::span<const int32_t> ids, int64_t stride,
                        std::span<int32_t> table) {
  return call([&] {
    return owner(handle).block_table(elements("ids", ids.data(), ids.size()), stride,
                                     elements("table", table.data(), table.size()));
  });
}

template <class Handle>
heed_status page_lists(const Handle* handle, std::span<const int32_t> ids, int32_t* indptr,
                       std::span<int32_t> indices) {
  return call([&] {
    return owner(handle).page_lists(elements("ids", ids.data(), ids.size()),
                                    elements("indptr", indptr, ids.size() + 1),
                                    elements("indices", indices.data(), indices.size()));
  });
}

template <class Handle>
heed_status shared_prefixes(const Handle* handle, std::span<const int32_t> ids, int32_t* prefixes) {
  return call([&] {
    return owner(handle).shared_prefixes(elements("ids", ids.data(), ids.size()),
                                         elements("prefixes", prefixes, ids.size()));
  });
}

}  // namespace
}  // namespace heed::c

void heed_kv_cache::describe() noexcept {
  layout = heed::c::to_c(value.layout());
  if (value.layout().k_scales) {
    k_scales = heed::c::to_c(*value.layout().k_scales);
    layout.k_scales = &k_scales;
  }
  if (value.layout().v_scales) {
    v_scales = heed::c::to_c(*value.layout().v_scales);
    layout.v_scales = &v_scales;
  }
}

using heed::c::call;
using heed::c::elements;
using heed::c::needed;
using heed::c::owner;
using heed::c::to_cpp;

heed_status heed_paged_sequences_create(const heed_page_budget* budget,
                                        heed_paged_sequences** sequences) {
  return call([&] {
    return heed::c::create("sequences", sequences, [&](heed_paged_sequences& made) {
      return heed::PagedSequences::create(to_cpp("budget", budget), made.value);
    });
  });
}

heed_status heed_paged_sequences_extend(heed_paged_sequences* sequences, int32_t id, int64_t* slots,
                                        size_t slots_count, heed_page_copy* copy) {
  return call([&] {
    heed_page_copy& place = needed("copy", copy);
    heed::PageCopy page;
    heed::Status status = owner(sequences).extend(id, elements("slots", slots, slots_count), page);
    if (status.ok()) place = {page.from, page.to, page.tokens};
    return status;
  });
}

heed_status heed_kv_cache_create(const heed_kv_cache_config* config, heed_kv_cache** cache) {
  return call([&] {
    return heed::c::create("cache", cache, [&](heed_kv_cache& made) {
      heed::Status status = heed::KvCache::create(to_cpp("config", config), made.value);
      if (status.ok()) made.describe();
      return status;
    });
  });
}

heed_status heed_kv_cache_extend(heed_kv_cache* cache, int32_t id, int64_t* slots,
                                 size_t slots_count) {
  return call([&] { return owner(cache).extend(id, elements("slots", slots, slots_count)); });
}

// Of both classes.
// NOLINTBEGIN(bugprone-macro-parentheses)
#define HEED_C_SEQUENCES(type)                                                                     \
  void type##_destroy(type* handle) { delete handle; }                                             \
  heed_status type##_add(type* handle, int32_t* id) { return heed::c::add(handle, id); }           \
  heed_status type##_begin(type* handle, const int32_t* tokens, size_t tokens_count, int32_t* id,  \
                           int64_t* found) {                                                       \
    return heed::c::begin(handle, {tokens, tokens_count}, id, found);                              \
  }                                                                                                \
  heed_status type##_publish(type* handle, int32_t id, const int32_t* tokens,                      \
                             size_t tokens_count) {                                                \
    return heed::c::publish(handle, id, {tokens, tokens_count});                                   \
  }                                                                                                \
  heed_status type##_forget(type* handle, int32_t id, int64_t tokens, int64_t keep_first) {        \
    return heed::c::forget(handle, id, tokens, keep_first);                                        \
  }                                                                                                \
  heed_status type##_fork(type* handle, int32_t id, int64_t tokens, int32_t* child) {              \
    return heed::c::fork(handle, id, tokens, child);                                               \
  }                                                                                                \
  heed_status type##_truncate(type* handle, int32_t id, int64_t tokens) {                          \
    return heed::c::truncate(handle, id, tokens);                                                  \
  }                                                                                                \
  heed_status type##_remove(type* handle, int32_t id) { return heed::c::remove(handle, id); }      \
  heed_status type##_tokens(const type* handle, int32_t id, int64_t* tokens) {                     \
    return heed::c::tokens_of(handle, id, tokens);                                                 \
  }                                                                                                \
  heed_status type##_pages(const type* handle, int32_t id, const int32_t** pages, size_t* count) { \
    return heed::c::pages_of(handle, id, pages, count);                                            \
  }                                                                                                \
  heed_status type##_free_pages(const type* handle, int64_t* pages) {                              \
    return heed::c::free_pages(handle, pages);                                                     \
  }                                                                                                \
  heed_status type##_block_table(const type* handle, const int32_t* ids, size_t ids_count,         \
                                 int64_t stride, int32_t* table, size_t table_count) {             \
    return heed::c::block_table(handle, {ids, ids_count}, stride, {table, table_count});           \
  }                                                                                                \
  heed_status type##_page_lists(const type* handle, const int32_t* ids, size_t ids_count,          \
                                int32_t* indptr, int32_t* indices, size_t indices_count) {         \
    return heed::c::page_lists(handle, {ids, ids_count}, indptr, {indices, indices_count});        \
  }                                                                                                \
  heed_status type##_shared_prefixes(const type* handle, const int32_t* ids, size_t ids_count,     \
                                     int32_t* prefixes) {                                          \
    return heed::c::shared_prefixes(handle, {ids, ids_count}, prefixes);                           \
  }                                                                                                \
  static_assert(true)
// NOLINTEND(bugprone-macro-parentheses)

HEED_C_SEQUENCES(heed_paged_sequences);
HEED_C_SEQUENCES(heed_kv_cache);

heed_status heed_kv_cache_layout(const heed_kv_cache* cache, heed_paged_layout* layout) {
  return call([&] { heed::c::write("layout", needed("cache", cache).layout, layout); });
}

heed_status heed_kv_cache_layers(const heed_kv_cache* cache, int64_t* layers) {
  return call([&] { needed("layers", layers) = owner(cache).layers(); });
}

heed_status heed_kv_cache_k_type(const heed_kv_cache* cache, heed_dtype* type) {
  return call([&] { needed("type", type) = static_cast<heed_dtype>(owner(cache).k_type()); });
}

heed_status heed_kv_cache_v_type(const heed_kv_cache* cache, heed_dtype* type) {
  return call([&] { needed("type", type) = static_cast<heed_dtype>(owner(cache).v_type()); });
}

heed_status heed_kv_cache_layer(const heed_kv_cache* cache, int64_t index, heed_kv_pages* pages) {
  return call([&] { heed::c::write("pages", heed::c::to_c(owner(cache).layer(index)), pages); });
}

heed_status heed_kv_cache_bytes(const heed_kv_cache* cache, size_t* bytes) {
  return call([&] { needed("bytes", bytes) = owner(cache).bytes(); });
}

heed_status heed_append(const heed_paged_layout* layout, const heed_kv_pages* pages,
                        const heed_new_tokens* tokens, const heed_run_options* options) {
  return call([&] {
    return heed::append(to_cpp("layout", layout), to_cpp("pages", pages), to_cpp("tokens", tokens),
                        heed::c::or_defaults("options", options));
  });
}

heed_status heed_convert(heed_input_data from, heed_output_data to, int64_t elements,
                         const heed_run_options* options) {
  return call([&] {
    return heed::convert(to_cpp(from), to_cpp(to), elements,
                         heed::c::or_defaults("options", options));
  });
}
