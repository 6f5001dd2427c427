// Rows of keys and values on their way to the kernel that will read them.
//
// The hardware prefetchers follow the many short streams of a tile badly, and drop software
// prefetches where too many are under way. So rows are asked for well ahead, in slices that spread
// over the work on the rows before them. Memory: each line is read once, and written once more
// where rows are copied.
#pragma once

#include "kernels/attention/tile.inl.h"
#include "kernels/interface.h"
#include "kernels/vector/lanes.inl.h"

namespace heed::kernels {
namespace {

/// Where a prefetched line goes, in __builtin_prefetch's terms.
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

/// Rows between the one that is being fetched and the one that is being copied: with a row for each
/// register tile (hundreds of cycles) it has come by then, from memory too.
inline constexpr std::int32_t kRowsUnderWay = 2;

/// `count` rows from row `first` on that will be needed, fetched into L2 in `slices` slices, and,
/// when they are there, copied, where a place for a copy is given.
template <class Arch>
class TileLoader {
 public:
  TileLoader() = default;
  HEED_INLINE TileLoader(const Storage& from, std::int32_t first, std::int32_t count,
                         std::int32_t slices, float* copy)
      : from_(from), first_(first), count_(count), slices_(slices), copy_(copy) {}

  /// Goes on by a slice.
  HEED_INLINE void prefetch_step() {
    if (fetched_ == count_) return;
    for (due_ += count_; due_ >= slices_; due_ -= slices_) {
      if (fetched_ == count_) return;
      prefetch_row<Cache::l2>(from_.row(first_ + fetched_), from_.rows.dims);
      ++fetched_;
      copy_until(fetched_ - kRowsUnderWay);
    }
  }

  /// The rows, now that they are needed. There is at least one.
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
  std::int32_t due_ = 0;  ///< in 1 / slices_ of a row
  std::int32_t fetched_ = 0, copied_ = 0;
};

}  // namespace
}  // namespace heed::kernels
