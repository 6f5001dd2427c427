// Tiles of keys and values: rows in the caller's memory, or a copy of them. A tile is copied once
// for all blocks that read it, where its rows are not of floats, lie in several pages or evict each
// other from L1.
#pragma once

#include "kernels/elements/rows.inl.h"
#include "kernels/interface.h"
#include "kernels/vector/simd.inl.h"

namespace heed::kernels {
namespace {

/// Rows of keys or of values as floats, a stride apart.
struct Rows {
  const float* data;
  std::ptrdiff_t stride;
  std::int32_t dims;
};

/// All keys or all values of a sequence, of any type, in one piece or in pages.
struct Storage {
  DType type = DType::f32;
  std::int32_t dims = 0;
  const std::byte* data = nullptr;  ///< row 0; of page 0 of the pool where there are pages
  std::ptrdiff_t stride = 0;        ///< of rows, in bytes
  const std::int32_t* pages = nullptr;
  std::int32_t page_tokens = 1;
  std::ptrdiff_t page = 0;  ///< in bytes
  TokenScales scales;       ///< of codes
  std::int32_t group = 1;   ///< elements that have a scale in common

  HEED_INLINE const std::byte* row(std::int32_t j) const {
    if (pages == nullptr) return data + j * stride;
    return data + pages[j / page_tokens] * page + j % page_tokens * stride;
  }
  /// Where the scales of row j are, from those of row 0.
  HEED_INLINE std::ptrdiff_t scale_offset(std::int32_t j) const {
    if (pages == nullptr) return j * scales.token;
    return pages[j / page_tokens] * scales.page + j % page_tokens * scales.token;
  }
  HEED_INLINE RowScales scales_of(std::int32_t j) const {
    if (scales.scale == nullptr) return {};
    const std::ptrdiff_t offset = scale_offset(j);
    return {scales.scale + offset,
            scales.zero_point == nullptr ? nullptr : scales.zero_point + offset, group};
  }
  /// The rows from row j on, where they are of floats.
  HEED_INLINE Rows rows_from(std::int32_t j) const {
    return {reinterpret_cast<const float*>(row(j)),
            stride / static_cast<std::ptrdiff_t>(sizeof(float)), dims};
  }
  /// How many of the `count` rows from row j on lie a stride apart.
  HEED_INLINE std::int32_t run(std::int32_t j, std::int32_t count) const {
    if (pages == nullptr) return count;
    const std::int32_t left = page_tokens - j % page_tokens;
    return left < count ? left : count;
  }
};

HEED_INLINE Storage keys_of(const AttentionShape& shape, const AttentionItem& item) {
  return {shape.k_type,     shape.head_dim, item.k,        item.k_stride, item.pages,
          item.page_tokens, item.k_page,    item.k_scales, shape.k_group};
}

HEED_INLINE Storage values_of(const AttentionShape& shape, const AttentionItem& item) {
  return {shape.v_type,     shape.value_head_dim, item.v,        item.v_stride, item.pages,
          item.page_tokens, item.v_page,          item.v_scales, shape.v_group};
}

/// Lines so many bytes apart, or a multiple of it, share a set of an L1 cache, which has 64 sets of
/// lines on every core with AVX2. As many of them as a set has ways stay in it: 8 to 12.
inline constexpr std::ptrdiff_t kSetPeriod = 4096;
inline constexpr std::int32_t kWays = 8;

/// Sets in which lines `stride` bytes apart lie: the larger the power of two that divides it, the
/// fewer.
HEED_INLINE std::int32_t sets_of(std::ptrdiff_t stride) {
  const std::ptrdiff_t power = stride & -stride;
  if (power >= kSetPeriod || power == 0) return 1;
  constexpr auto line = static_cast<std::ptrdiff_t>(kAlignment);
  return static_cast<std::int32_t>(kSetPeriod / (power > line ? power : line));
}

/// Whether a line of each of `count` rows that lie `stride` bytes apart do not stay in L1, where
/// half of the ways belong to weights and queries.
HEED_INLINE bool evict_each_other(std::ptrdiff_t stride, std::int32_t count) {
  return count > sets_of(stride) * (kWays / 2);
}

/// Blocks of query rows that must read a tile to make its copy pay where rows only evict each
/// other: copying moves each float once. Where a row's own lines lie in one or two sets, keys are
/// evicted before they are read to the end, too, and it pays sooner.
inline constexpr int kBlocksPerCopy = 4, kBlocksPerCopyOfFewSets = 2;

/// P·V reads each line of values once for every register tile of dimensions in it, which all miss
/// where rows evict each other. Four times or more, with tiles of so many dimensions or fewer
/// (AVX2), are worth a copy; twice, with eight (AVX-512), are not.
inline constexpr int kRowsThatReadAgain = 4;

/// Whether `blocks` blocks read rows [begin, begin + count) from a copy, in register tiles of
/// `Rows` rows: because the rows are not of floats or do not lie in one piece, or because the copy
/// pays.
template <int Rows>
HEED_INLINE bool wants_copy(const Storage& s, std::int32_t begin, std::int32_t count, int blocks) {
  if (s.type != DType::f32 || s.run(begin, count) < count) return true;
  if (!evict_each_other(s.stride, count)) return false;
  if (sets_of(s.stride) <= 2) return blocks >= kBlocksPerCopyOfFewSets;
  return Rows <= kRowsThatReadAgain && blocks >= kBlocksPerCopy;
}

/// How the rows of a tile lie in its copy.
enum class TileForm {
  floats,       ///< as they are
  swapped,      ///< floats, those of keys 2 · i and 2 · i + 1 in each other's place
  swapped_all,  ///< the same, and the elements 2 · i and 2 · i + 1 of each likewise
  packed,       ///< bf16 as they are, two to a float
  interleaved,  ///< the bf16 of keys 2 · i and 2 · i + 1, element by element, in one row
};

/// The keys [begin, end) of a tile: row j of `k` is key begin + j, and so is that of v, but where
/// one row has two values. With pairs both are even, keys that swapped rows name are begin + (j ^
/// 1), and those that the item does not have are zeros.
struct TileView {
  Rows k, v;
  std::int32_t begin, end;
  std::int32_t values_of_row = 1;

  /// The slice of the tile from key `first` to before key `last`.
  HEED_INLINE TileView slice(std::int32_t first, std::int32_t last) const {
    TileView p{k, v, first, last, values_of_row};
    p.k.data += (first - begin) * k.stride;
    p.v.data += (first - begin) / values_of_row * v.stride;
    return p;
  }
};

}  // namespace
}  // namespace heed::kernels
