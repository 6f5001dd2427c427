// Where the keys and values of a paged cache lie.
#pragma once

#include <cstdint>
#include <optional>

#include "heed/export.h"
#include "heed/scales.h"

namespace heed {

/// Strides of a pool of pages, in elements: the vector of page p, offset t within the page and head
/// h begins at base + p · page + t · token + h · head. Its elements are contiguous.
struct PageStrides {
  std::int64_t page = 0;
  std::int64_t token = 0;
  std::int64_t head = 0;

  /// [page, token, head, head_dim].
  static constexpr PageStrides bshd(std::int64_t page_tokens, std::int64_t heads,
                                    std::int64_t head_dim) {
    return {page_tokens * heads * head_dim, heads * head_dim, head_dim};
  }
  /// [page, head, token, head_dim]: what a head keeps in a page is contiguous.
  static constexpr PageStrides bhsd(std::int64_t page_tokens, std::int64_t heads,
                                    std::int64_t head_dim) {
    return {heads * page_tokens * head_dim, head_dim, page_tokens * head_dim};
  }
};

/// The shape of one layer's pages and their places: any strides that keep keys apart from keys and
/// values from values. Keys and values have a base each, in two buffers or in one. The storage
/// belongs to the caller, or to a KvCache.
struct PagedLayout {
  std::int64_t pages = 0;           ///< numbered 0 … pages − 1; from 1 to 2³¹ − 1
  std::int64_t page_tokens = 0;     ///< tokens of a page: any number from 1 to 2³¹ − 1
  std::int64_t kv_heads = 0;        ///< from 1 to 2³¹ − 1
  std::int64_t head_dim = 0;        ///< of keys, 1 … kMaxHeadDim
  std::int64_t value_head_dim = 0;  ///< of values, 1 … kMaxHeadDim
  PageStrides k = {}, v = {};
  /// Scales of keys and values of int8 and int4. Default: one per (page, token, head), contiguous.
  std::optional<ScaleLayout> k_scales = {}, v_scales = {};

  /// Keys and values in two buffers, each [page, token, head, dim]. A value_head_dim of 0 means
  /// head_dim.
  static constexpr PagedLayout bshd(std::int64_t pages, std::int64_t page_tokens,
                                    std::int64_t kv_heads, std::int64_t head_dim,
                                    std::int64_t value_head_dim = 0) {
    if (value_head_dim == 0) value_head_dim = head_dim;
    return {pages,
            page_tokens,
            kv_heads,
            head_dim,
            value_head_dim,
            PageStrides::bshd(page_tokens, kv_heads, head_dim),
            PageStrides::bshd(page_tokens, kv_heads, value_head_dim),
            {},
            {}};
  }
  /// Keys and values in two buffers, each [page, head, token, dim]; as above.
  static constexpr PagedLayout bhsd(std::int64_t pages, std::int64_t page_tokens,
                                    std::int64_t kv_heads, std::int64_t head_dim,
                                    std::int64_t value_head_dim = 0) {
    if (value_head_dim == 0) value_head_dim = head_dim;
    return {pages,
            page_tokens,
            kv_heads,
            head_dim,
            value_head_dim,
            PageStrides::bhsd(page_tokens, kv_heads, head_dim),
            PageStrides::bhsd(page_tokens, kv_heads, value_head_dim),
            {},
            {}};
  }
  /// As `apart`, which has keys and values in two buffers, but in one, each page's keys before its
  /// values: [page, key or value, …]. The values' base is the keys' + apart.k.page. For keys and
  /// values whose elements take as many bytes.
  static constexpr PagedLayout together(const PagedLayout& apart) {
    PagedLayout one = apart;
    one.k.page = one.v.page = apart.k.page + apart.v.page;
    return one;
  }
};

}  // namespace heed
