// The door through which keys and values come: tiles of rows, in the caller's memory where that is
// friendly to the kernel, else in one copy per tile that all its readers share.
#pragma once

#include "kernels/abi.h"
#include "kernels/simd.inl.h"

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

}  // namespace
}  // namespace heed::kernels
