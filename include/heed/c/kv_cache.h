// Paged caches of keys and values, and writing to them.
#pragma once

/* NOLINTBEGIN(readability-identifier-naming,modernize-*,bugprone-macro-parentheses) */
#include <stddef.h>
#include <stdint.h>

#include "heed/c/attention.h"
#include "heed/c/dtype.h"
#include "heed/c/executor.h"
#include "heed/c/export.h"
#include "heed/c/paged_layout.h"
#include "heed/c/rotary.h"
#include "heed/c/scales.h"
#include "heed/c/status.h"
#include "heed/c/struct.h"

#ifdef __cplusplus
extern "C" {
#endif

/// What heed_paged_sequences may hand out: heed::PageBudget in kv_cache.h. There are no defaults.
typedef struct heed_page_budget {
  size_t struct_size;
  int64_t pages;
  int64_t page_tokens;
  int64_t sequences;
  int64_t sequence_tokens;  ///< of one sequence at most; 0: as many as the pages hold
  int prefixes;             ///< whether pages can be found by their tokens
  int reserved;
} heed_page_budget;

/// What must be copied, in every layer: heed::PageCopy in kv_cache.h. 0 tokens: nothing.
typedef struct heed_page_copy {
  int32_t from;
  int32_t to;
  int32_t tokens;
} heed_page_copy;

HEED_C_INIT(heed_page_budget);

/// Which page holds what, for storage that the caller has: heed::PagedSequences in kv_cache.h.
typedef struct heed_paged_sequences heed_paged_sequences;

HEED_C_API heed_status heed_paged_sequences_create(const heed_page_budget* budget,
                                                   heed_paged_sequences** sequences);
HEED_C_API void heed_paged_sequences_destroy(heed_paged_sequences* sequences);
HEED_C_API heed_status heed_paged_sequences_add(heed_paged_sequences* sequences, int32_t* id);
/// A new sequence for a text with these tokens, `found` of which it shares with earlier ones.
HEED_C_API heed_status heed_paged_sequences_begin(heed_paged_sequences* sequences,
                                                  const int32_t* tokens, size_t tokens_count,
                                                  int32_t* id, int64_t* found);
/// Lets others find the pages of a sequence's first tokens, which have been written.
HEED_C_API heed_status heed_paged_sequences_publish(heed_paged_sequences* sequences, int32_t id,
                                                    const int32_t* tokens, size_t tokens_count);
/// Gives back pages before `tokens`, but for the first `keep_first` tokens; they are −1 then.
HEED_C_API heed_status heed_paged_sequences_forget(heed_paged_sequences* sequences, int32_t id,
                                                   int64_t tokens, int64_t keep_first);
/// Makes room for slots_count more tokens and writes their slots.
HEED_C_API heed_status heed_paged_sequences_extend(heed_paged_sequences* sequences, int32_t id,
                                                   int64_t* slots, size_t slots_count,
                                                   heed_page_copy* copy);
HEED_C_API heed_status heed_paged_sequences_fork(heed_paged_sequences* sequences, int32_t id,
                                                 int64_t tokens, int32_t* child);
HEED_C_API heed_status heed_paged_sequences_truncate(heed_paged_sequences* sequences, int32_t id,
                                                     int64_t tokens);
HEED_C_API heed_status heed_paged_sequences_remove(heed_paged_sequences* sequences, int32_t id);
/// −1 where the id is not in use.
HEED_C_API heed_status heed_paged_sequences_tokens(const heed_paged_sequences* sequences,
                                                   int32_t id, int64_t* tokens);
/// The pages of a sequence, valid until it changes; none where the id is not in use.
HEED_C_API heed_status heed_paged_sequences_pages(const heed_paged_sequences* sequences, int32_t id,
                                                  const int32_t** pages, size_t* pages_count);
HEED_C_API heed_status heed_paged_sequences_free_pages(const heed_paged_sequences* sequences,
                                                       int64_t* pages);
HEED_C_API heed_status heed_paged_sequences_block_table(const heed_paged_sequences* sequences,
                                                        const int32_t* ids, size_t ids_count,
                                                        int64_t stride, int32_t* table,
                                                        size_t table_count);
/// `indptr` has ids_count + 1 elements.
HEED_C_API heed_status heed_paged_sequences_page_lists(const heed_paged_sequences* sequences,
                                                       const int32_t* ids, size_t ids_count,
                                                       int32_t* indptr, int32_t* indices,
                                                       size_t indices_count);
/// `prefixes` has ids_count elements.
HEED_C_API heed_status heed_paged_sequences_shared_prefixes(const heed_paged_sequences* sequences,
                                                            const int32_t* ids, size_t ids_count,
                                                            int32_t* prefixes);

/// The pages of one layer: heed::KvPages in kv_cache.h.
typedef struct heed_kv_pages {
  size_t struct_size;
  heed_output_data k, v;
  heed_mutable_scales k_scales, v_scales;
} heed_kv_pages;

/// What a cache holds: heed::KvCacheConfig in kv_cache.h.
typedef struct heed_kv_cache_config {
  size_t struct_size;
  const heed_paged_layout* layout;  ///< of each layer; needed
  int64_t layers;                   ///< default 1
  int64_t sequences;                ///< has no default
  int64_t sequence_tokens;          ///< of one sequence at most; 0: as many as the pages hold
  heed_dtype k_type, v_type;        ///< default HEED_F32
  int k_zero_points, v_zero_points;
  int prefixes;  ///< whether pages can be found by their tokens
  int reserved;
} heed_kv_cache_config;

/// Keys and values of new tokens: heed::NewTokens in kv_cache.h.
typedef struct heed_new_tokens {
  size_t struct_size;
  heed_input_data k, v;
  const heed_layout* k_layout;  ///< null: contiguous
  const heed_layout* v_layout;
  const int64_t* slots;  ///< one per token
  size_t slots_count;
  const heed_rotary* rotary;  ///< null: keys stay as they are
  const int64_t* positions;   ///< one per token where rotary is given
  size_t positions_count;
} heed_new_tokens;

HEED_C_INIT(heed_kv_pages);
HEED_C_INIT(heed_kv_cache_config);
HEED_C_INIT(heed_new_tokens);

/// Paged sequences with the memory of several layers: heed::KvCache in kv_cache.h.
typedef struct heed_kv_cache heed_kv_cache;

HEED_C_API heed_status heed_kv_cache_create(const heed_kv_cache_config* config,
                                            heed_kv_cache** cache);
HEED_C_API void heed_kv_cache_destroy(heed_kv_cache* cache);
HEED_C_API heed_status heed_kv_cache_add(heed_kv_cache* cache, int32_t* id);
HEED_C_API heed_status heed_kv_cache_begin(heed_kv_cache* cache, const int32_t* tokens,
                                           size_t tokens_count, int32_t* id, int64_t* found);
HEED_C_API heed_status heed_kv_cache_publish(heed_kv_cache* cache, int32_t id,
                                             const int32_t* tokens, size_t tokens_count);
HEED_C_API heed_status heed_kv_cache_forget(heed_kv_cache* cache, int32_t id, int64_t tokens,
                                            int64_t keep_first);
/// Makes room for slots_count more tokens and writes their slots; copies a page where one must be.
HEED_C_API heed_status heed_kv_cache_extend(heed_kv_cache* cache, int32_t id, int64_t* slots,
                                            size_t slots_count);
HEED_C_API heed_status heed_kv_cache_fork(heed_kv_cache* cache, int32_t id, int64_t tokens,
                                          int32_t* child);
HEED_C_API heed_status heed_kv_cache_truncate(heed_kv_cache* cache, int32_t id, int64_t tokens);
HEED_C_API heed_status heed_kv_cache_remove(heed_kv_cache* cache, int32_t id);
HEED_C_API heed_status heed_kv_cache_tokens(const heed_kv_cache* cache, int32_t id,
                                            int64_t* tokens);
HEED_C_API heed_status heed_kv_cache_pages(const heed_kv_cache* cache, int32_t id,
                                           const int32_t** pages, size_t* pages_count);
HEED_C_API heed_status heed_kv_cache_free_pages(const heed_kv_cache* cache, int64_t* pages);
HEED_C_API heed_status heed_kv_cache_block_table(const heed_kv_cache* cache, const int32_t* ids,
                                                 size_t ids_count, int64_t stride, int32_t* table,
                                                 size_t table_count);
HEED_C_API heed_status heed_kv_cache_page_lists(const heed_kv_cache* cache, const int32_t* ids,
                                                size_t ids_count, int32_t* indptr, int32_t* indices,
                                                size_t indices_count);
HEED_C_API heed_status heed_kv_cache_shared_prefixes(const heed_kv_cache* cache, const int32_t* ids,
                                                     size_t ids_count, int32_t* prefixes);
/// What it points to is valid as long as the cache.
HEED_C_API heed_status heed_kv_cache_layout(const heed_kv_cache* cache, heed_paged_layout* layout);
HEED_C_API heed_status heed_kv_cache_layers(const heed_kv_cache* cache, int64_t* layers);
HEED_C_API heed_status heed_kv_cache_k_type(const heed_kv_cache* cache, heed_dtype* type);
HEED_C_API heed_status heed_kv_cache_v_type(const heed_kv_cache* cache, heed_dtype* type);
/// Null pointers for a layer that does not exist.
HEED_C_API heed_status heed_kv_cache_layer(const heed_kv_cache* cache, int64_t index,
                                           heed_kv_pages* pages);
HEED_C_API heed_status heed_kv_cache_bytes(const heed_kv_cache* cache, size_t* bytes);

/// Writes keys and values of new tokens to their slots, as heed::append. `options` may be null.
HEED_C_API heed_status heed_append(const heed_paged_layout* layout, const heed_kv_pages* pages,
                                   const heed_new_tokens* tokens, const heed_run_options* options);

#ifdef __cplusplus
}
#endif
/* NOLINTEND(readability-identifier-naming,modernize-*,bugprone-macro-parentheses) */
