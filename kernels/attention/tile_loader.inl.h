// Loading a tile of keys and values while the tile before it is computed.
//
// Hardware prefetchers follow the many short streams of a tile badly, and software prefetches are
// dropped where too many are in flight. So the rows of a tile are prefetched well ahead, in slices
// that are spread over the work on the previous tile. Memory traffic: each line is read once, and
// written once more, as floats, where rows are copied.
#pragma once

#include "kernels/attention/tile.inl.h"
#include "kernels/elements/elements.inl.h"
#include "kernels/elements/rows.inl.h"
#include "kernels/interface.h"
#include "kernels/vector/lanes.inl.h"

namespace heed::kernels {
namespace {

/// The cache into which a line is prefetched, as __builtin_prefetch's locality.
enum class Cache { l2 = 2, l1 = 3 };

template <Cache Into>
HEED_INLINE void prefetch_row(const std::byte* row, std::ptrdiff_t bytes) {
  constexpr auto line = static_cast<std::ptrdiff_t>(kAlignment);
  for (std::ptrdiff_t x = 0; x < bytes; x += line) {
    __builtin_prefetch(row + x, 0, static_cast<int>(Into));
  }
}

/// Copies a row of floats, filled up with zeros to whole vectors.
template <class Arch>
HEED_INLINE void copy_floats(const std::byte* row, std::int32_t dims, float* copy) {
  using E = Element<DType::f32>;
  std::int32_t x = 0;
  for (; x + kLanes<Arch> <= dims; x += kLanes<Arch>) {
    store<Arch>(copy + x, E::template widen<Arch>(row, x));
  }
  if (x < dims) store<Arch>(copy + x, widen_first<Arch, E>(row, x, dims - x));
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
      : from_(from),
        first_(first),
        count_(count),
        slices_(slices),
        row_bytes_(row_bytes(from.type, from.dims)),
        copy_(copy) {}

  /// Prefetches the rows of the next slice.
  HEED_INLINE void prefetch_step() {
    if (fetched_ == count_) return;
    for (due_ += count_; due_ >= slices_; due_ -= slices_) {
      if (fetched_ == count_) return;
      prefetch_row<Cache::l2>(from_.row(first_ + fetched_), row_bytes_);
      ++fetched_;
      copy_until(fetched_ - kRowsInFlight);
    }
  }

  /// The rows, all of them copied where they are copied. There must be at least one.
  Rows finish() {
    if (copy_ == nullptr) return from_.rows_from(first_);
    copy_until(count_);
    return {copy_, tile_copy_stride(from_.dims), from_.dims};
  }

 private:
  HEED_INLINE void copy_until(std::int32_t end) {
    if (copy_ == nullptr) return;
    for (; copied_ < end; ++copied_) {
      const std::byte* const row = from_.row(first_ + copied_);
      float* const copy = copy_ + copied_ * tile_copy_stride(from_.dims);
      // A call that the compiler took for likely would keep the sums of register tiles in memory.
      if (__builtin_expect_with_probability(from_.type == DType::f32, 1, 0.999)) {
        copy_floats<Arch>(row, from_.dims, copy);
      } else {
        widen_row<Arch>(from_.type, row, from_.dims, copy, from_.scales_of(first_ + copied_));
      }
    }
  }

  Storage from_{};
  std::int32_t first_ = 0, count_ = 0, slices_ = 0;
  std::ptrdiff_t row_bytes_ = 0;
  float* copy_ = nullptr;
  std::int32_t due_ = 0;  ///< what is to be prefetched, in fractions 1 / slices_ of a row
  std::int32_t fetched_ = 0, copied_ = 0;
};

}  // namespace
}  // namespace heed::kernels
