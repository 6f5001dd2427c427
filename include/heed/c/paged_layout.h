// How pages of keys and values lie in memory.
#pragma once

/* NOLINTBEGIN(readability-identifier-naming,modernize-*,bugprone-macro-parentheses) */
#include <stddef.h>
#include <stdint.h>

#include "heed/c/export.h"
#include "heed/c/scales.h"
#include "heed/c/status.h"
#include "heed/c/struct.h"

#ifdef __cplusplus
extern "C" {
#endif

/// Strides of a pool of pages, in elements: heed::PageStrides in paged_layout.h.
typedef struct heed_page_strides {
  int64_t page;
  int64_t token;
  int64_t head;
} heed_page_strides;

/// The shape of one layer's pages: heed::PagedLayout in paged_layout.h. There are no defaults.
typedef struct heed_paged_layout {
  size_t struct_size;
  int64_t pages;
  int64_t page_tokens;
  int64_t kv_heads;
  int64_t head_dim;
  int64_t value_head_dim;
  heed_page_strides k, v;
  const heed_scale_layout* k_scales;  ///< null: one per (page, token, head), contiguous
  const heed_scale_layout* v_scales;
} heed_paged_layout;

HEED_C_INIT(heed_paged_layout);

/// Keys and values in two buffers, each [page, token, head, dim], as heed::PagedLayout::bshd. A
/// value_head_dim of 0 means head_dim. `layout` must be initialised, as all structs that heed
/// writes and that begin with struct_size.
HEED_C_API heed_status heed_paged_layout_bshd(int64_t pages, int64_t page_tokens, int64_t kv_heads,
                                              int64_t head_dim, int64_t value_head_dim,
                                              heed_paged_layout* layout);
/// The same with [page, head, token, dim], as heed::PagedLayout::bhsd.
HEED_C_API heed_status heed_paged_layout_bhsd(int64_t pages, int64_t page_tokens, int64_t kv_heads,
                                              int64_t head_dim, int64_t value_head_dim,
                                              heed_paged_layout* layout);
/// Makes a layout of two buffers one of a single buffer, each page's keys before its values, as
/// heed::PagedLayout::together.
HEED_C_API heed_status heed_paged_layout_together(heed_paged_layout* layout);

#ifdef __cplusplus
}
#endif
/* NOLINTEND(readability-identifier-naming,modernize-*,bugprone-macro-parentheses) */
