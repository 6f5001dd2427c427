// The door through which keys and values come: tiles of rows, in the caller's memory where that is
// friendly to the kernel, else in one copy per tile that all its readers share.
#pragma once

#include "kernels/interface.h"
#include "kernels/vector/simd.inl.h"

namespace heed::kernels {
namespace {

/// Rows of keys or of values, a stride apart.
struct Rows {
  const float* data;
  std::ptrdiff_t stride;
  std::int32_t dims;
};

/// All keys or all values of a sequence, in one piece or in pages.
struct Storage {
  Rows rows;  ///< from row 0 on; of page 0 of the pool where there are pages
  const std::int32_t* pages = nullptr;
  std::int32_t page_tokens = 1;
  std::ptrdiff_t page = 0;

  HEED_INLINE const float* row(std::int32_t j) const {
    if (pages == nullptr) return rows.data + j * rows.stride;
    return rows.data + pages[j / page_tokens] * page + j % page_tokens * rows.stride;
  }
  /// Rows from j on that lie a stride apart, of `count`.
  HEED_INLINE std::int32_t run(std::int32_t j, std::int32_t count) const {
    if (pages == nullptr) return count;
    const std::int32_t left = page_tokens - j % page_tokens;
    return left < count ? left : count;
  }
};

HEED_INLINE Storage keys_of(const AttentionShape& shape, const AttentionItem& item) {
  return {{item.k, item.k_stride, shape.head_dim}, item.pages, item.page_tokens, item.k_page};
}

HEED_INLINE Storage values_of(const AttentionShape& shape, const AttentionItem& item) {
  return {{item.v, item.v_stride, shape.value_head_dim}, item.pages, item.page_tokens, item.v_page};
}

/// Rows whose distance is a multiple of this many floats (half the 4096 bytes after which the sets
/// of an L1 cache repeat) share two sets of 8 to 12 lines: a tile of them evicts itself.
inline constexpr std::ptrdiff_t kCollidingStride = 512;

/// Copying a tile moves each float once; for rows that only collide that pays when several blocks
/// of query rows then read it.
inline constexpr int kBlocksPerCopy = 2;

/// Whether rows [begin, begin + count) are better read from a copy by so many blocks, or must be,
/// for they do not lie in one piece.
HEED_INLINE bool wants_copy(const Storage& s, std::int32_t begin, std::int32_t count, int blocks) {
  if (s.run(begin, count) < count) return true;
  return blocks >= kBlocksPerCopy && s.rows.stride % kCollidingStride == 0;
}

/// The keys [begin, end) of a tile: row j of `k` and `v` is key begin + j.
struct TileView {
  Rows k, v;
  std::int32_t begin, end;

  /// The slice of the tile from key `first` to before key `last`.
  HEED_INLINE TileView slice(std::int32_t first, std::int32_t last) const {
    TileView p{k, v, first, last};
    p.k.data += (first - begin) * k.stride;
    p.v.data += (first - begin) * v.stride;
    return p;
  }
};

}  // namespace
}  // namespace heed::kernels
