// Loading a tile of keys and values while the tile before it is computed.
//
// Hardware prefetchers follow the many short streams of a tile badly, and software prefetches are
// dropped where too many are in flight. So the rows of a tile are prefetched well ahead, in slices
// that are spread over the work on the previous tile. Memory traffic: each line is read once, and
// written once more where rows are copied.
#pragma once

#include "kernels/attention/tile.inl.h"
#include "kernels/interface.h"
#include "kernels/vector/lanes.inl.h"

namespace heed::kernels {
namespace {

/// The cache into which a line is prefetched, as __builtin_prefetch's locality.
enum class Cache { l2 = 2, l1 = 3 };

template <Cache Into>
HEED_INLINE void prefetch_row(const float* row, std::int32_t dims) {
  constexpr std::int32_t line = kAlignment / sizeof(float);
  for (std::int32_t x = 0; x < dims; x += line) {
    __builtin_prefetch(row + x, 0, static_cast<int>(Into));
  }
}

/// Copies a row, filled up with zeros to whole vectors.
template <class Arch>
HEED_INLINE void copy_row(const float* row, std::int32_t dims, float* copy) {
  constexpr int lanes = kLanes<Arch>;
  std::int32_t x = 0;
  for (; x + lanes <= dims; x += lanes) store<Arch>(copy + x, load<Arch>(row + x));
  if (x < dims) store<Arch>(copy + x, MaskedVector<Arch>(dims - x).load(row + x, 0.0F));
}

/// Rows that have been prefetched and not yet copied. With one row for each register tile, which
/// takes hundreds of cycles, a row has arrived by the time it is copied, from memory too.
inline constexpr std::int32_t kRowsInFlight = 2;

/// Loads the `count` rows from row `first` on: prefetches them into L2 in `slices` steps, and
/// copies each after it has arrived, where a place for a copy is given.
template <class Arch>
class TileLoader {
 public:
  TileLoader() = default;
  HEED_INLINE TileLoader(const Storage& from, std::int32_t first, std::int32_t count,
                         std::int32_t slices, float* copy)
      : from_(from), first_(first), count_(count), slices_(slices), copy_(copy) {}

  /// Prefetches the rows of the next slice.
  HEED_INLINE void prefetch_step() {
    if (fetched_ == count_) return;
    for (due_ += count_; due_ >= slices_; due_ -= slices_) {
      if (fetched_ == count_) return;
      prefetch_row<Cache::l2>(from_.row(first_ + fetched_), from_.rows.dims);
      ++fetched_;
      copy_until(fetched_ - kRowsInFlight);
    }
  }

  /// The rows, all of them copied where they are copied. There must be at least one.
  Rows finish() {
    const std::int32_t dims = from_.rows.dims;
    if (copy_ == nullptr) return {from_.row(first_), from_.rows.stride, dims};
    copy_until(count_);
    return {copy_, tile_copy_stride(dims), dims};
  }

 private:
  HEED_INLINE void copy_until(std::int32_t end) {
    if (copy_ == nullptr) return;
    const std::int32_t dims = from_.rows.dims;
    for (; copied_ < end; ++copied_) {
      copy_row<Arch>(from_.row(first_ + copied_), dims, copy_ + copied_ * tile_copy_stride(dims));
    }
  }

  Storage from_{};
  std::int32_t first_ = 0, count_ = 0, slices_ = 0;
  float* copy_ = nullptr;
  std::int32_t due_ = 0;  ///< what is to be prefetched, in fractions 1 / slices_ of a row
  std::int32_t fetched_ = 0, copied_ = 0;
};

}  // namespace
}  // namespace heed::kernels
