// The door through which keys and values come: tiles of rows, in the caller's memory where that is
// friendly to the kernel, else in one copy per tile that all its readers share.
#pragma once

#include "kernels/abi.h"
#include "kernels/lanes.inl.h"

namespace heed::kernels {
namespace {

/// Rows whose distance is a multiple of this many floats (half the 4096 bytes after which the sets
/// of an L1 cache repeat) share two sets of 8 to 12 lines: a tile of them evicts itself.
inline constexpr std::ptrdiff_t kCollidingStride = 512;

/// Copying a tile moves each float once; that pays only when several blocks of rows then read it.
inline constexpr int kBlocksPerCopy = 2;

HEED_INLINE bool collides(std::ptrdiff_t stride) { return stride % kCollidingStride == 0; }

/// The keys [begin, end) of a tile: row j of `k` and `v` is key begin + j.
struct TileView {
  const float* k;
  const float* v;
  std::ptrdiff_t k_stride, v_stride;
  std::int32_t begin, end;

  /// The part of the tile from key `first` to before key `last`.
  HEED_INLINE TileView part(std::int32_t first, std::int32_t last) const {
    return {k + (first - begin) * k_stride,
            v + (first - begin) * v_stride,
            k_stride,
            v_stride,
            first,
            last};
  }
};

HEED_INLINE TileView tile_in_place(const AttentionItem& item, std::int32_t begin,
                                   std::int32_t end) {
  return {item.k + begin * item.k_stride,
          item.v + begin * item.v_stride,
          item.k_stride,
          item.v_stride,
          begin,
          end};
}

/// Copies `count` rows, each filled up with zeros to whole vectors; returns the copy's stride.
template <class Arch>
std::ptrdiff_t copy_rows(const float* rows, std::ptrdiff_t stride, std::int32_t count,
                         std::int32_t dims, float* copy) {
  constexpr int lanes = kLanes<Arch>;
  const std::ptrdiff_t to = tile_copy_stride(dims);
  for (std::int32_t j = 0; j < count; ++j, rows += stride, copy += to) {
    std::int32_t x = 0;
    for (; x + lanes <= dims; x += lanes) store<Arch>(copy + x, load<Arch>(rows + x));
    if (x < dims) store<Arch>(copy + x, Part<Arch>(dims - x).load(rows + x, 0.0F));
  }
  return to;
}

}  // namespace
}  // namespace heed::kernels
