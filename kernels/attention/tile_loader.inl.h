// Loading a tile of keys and values while the tile before it is computed.
//
// Hardware prefetchers follow the many short streams of a tile badly, and software prefetches are
// dropped where too many are in flight. So the rows of a tile are prefetched well ahead, in slices
// that are spread over the work on the previous tile; and beside the last tile of an item, what the
// core probably needs after it. Memory traffic: each line is read once, and written once more, as
// floats, where rows are copied; what is prefetched for an item that another core takes is read in
// vain.
#pragma once

#include "kernels/attention/rows.inl.h"
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

/// Rows so many bytes apart or more share a page of 4 KiB with one other at most. A core waits for
/// what page tables say of a page even where it only prefetches from it, and looks four pages up
/// side by side (Golden Cove; Zen 3 six): the first lines of four rows are prefetched together.
inline constexpr std::ptrdiff_t kOwnPageStride = 2048;
inline constexpr int kPagesAtOnce = 4;

/// Swaps the floats 2 · i and 2 · i + 1 of a row, an even number of them.
HEED_INLINE void swap_neighbours(float* row, std::int32_t dims) {
  for (std::int32_t x = 0; x < dims; x += 2) {
    const float first = row[x];
    row[x] = row[x + 1];
    row[x + 1] = first;
  }
}

/// Query or output rows of an item, which are prefetched after rows of a tile.
struct RowsAfter {
  const std::byte* data = nullptr;  ///< at (token 0, first query head of the group)
  RowMap map{1, {}};
  std::int32_t first = 0, count = 0;
  std::ptrdiff_t bytes = 0;  ///< of a row

  HEED_INLINE const std::byte* row(std::int32_t i) const { return data + map.offset(first + i); }
};

HEED_INLINE RowsAfter queries_of(const AttentionShape& shape, const AttentionItem& item) {
  return {item.q,
          {shape.group, item.q_stride},
          item.row_begin,
          item.rows,
          row_bytes(shape.q_type, shape.head_dim)};
}

HEED_INLINE RowsAfter outputs_of(const AttentionShape& shape, const AttentionItem& item) {
  return {item.out,
          {shape.group, item.out_stride},
          item.row_begin,
          item.rows,
          row_bytes(shape.out_type, shape.value_head_dim)};
}

/// Loads the `count` rows from row `first` on: prefetches them into L2 in `slices` steps, and
/// copies each after it has arrived, where a place for a copy is given. In other forms than floats
/// the copy begins with `lead` rows that are not there, and has an even number of rows. A `Packed`
/// one knows the forms `packed` and `interleaved` alone.
template <class Arch, bool Packed = false>
class TileLoader {
 public:
  TileLoader() = default;
  HEED_INLINE TileLoader(const Storage& from, std::int32_t first, std::int32_t count,
                         std::int32_t slices, float* copy, TileForm form = TileForm::floats,
                         std::int32_t lead = 0)
      : from_(from),
        first_(first),
        count_(count),
        slices_(slices),
        row_bytes_(row_bytes(from.type, from.dims)),
        copy_(copy),
        form_(form),
        lead_(lead),
        reached_(from.stride >= kOwnPageStride ? 0 : count) {}

  /// Only prefetches: `count` rows, and then those after them. Where there are both, each takes
  /// half of the steps.
  TileLoader(const Storage& from, std::int32_t first, std::int32_t count, const RowsAfter& after,
             std::int32_t slices)
      : TileLoader(from, first, count,
                   count > 0 && after.count > 0 && slices > 1 ? slices / 2 : slices, nullptr) {
    after_ = after;
  }

  /// Prefetches the rows of the next slice.
  HEED_INLINE void prefetch_step() {
    if (fetched_ == count_) {
      // As below, the compiler must not take the call for likely.
      const bool more = fetched_after_ < after_.count;
      if (__builtin_expect_with_probability(more, 0, 0.999)) prefetch_after();
      return;
    }
    for (due_ += count_; due_ >= slices_; due_ -= slices_) {
      if (fetched_ == count_) return;
      if (fetched_ == reached_) reach_pages();
      prefetch_row<Cache::l2>(from_.row(first_ + fetched_), row_bytes_);
      ++fetched_;
      copy_until(fetched_ - kRowsInFlight);
    }
  }

  /// The rows, all of them copied where they are copied. There must be at least one.
  Rows finish() {
    if (copy_ == nullptr) return from_.rows_from(first_);
    copy_until(count_);
    if (form_ != TileForm::floats) fill_missing();
    return {copy_, tile_copy_stride(from_.dims), from_.dims};
  }

 private:
  /// Prefetches the next slice of the rows after those of the tile.
  __attribute__((noinline)) void prefetch_after() {
    for (due_ += after_.count; due_ >= slices_; due_ -= slices_) {
      if (fetched_after_ == after_.count) return;
      prefetch_row<Cache::l2>(after_.row(fetched_after_), after_.bytes);
      ++fetched_after_;
    }
  }

  /// Prefetches the first lines of the next rows, whose pages the core then looks up side by side.
  HEED_INLINE void reach_pages() {
    for (int i = 0; i < kPagesAtOnce && reached_ < count_; ++i, ++reached_) {
      __builtin_prefetch(from_.row(first_ + reached_), 0, static_cast<int>(Cache::l2));
    }
  }

  HEED_INLINE void copy_until(std::int32_t end) {
    if (copy_ == nullptr) return;
    for (; copied_ < end; ++copied_) {
      const std::byte* const row = from_.row(first_ + copied_);
      if constexpr (Packed) {
        copy_packed(row, lead_ + copied_);
        continue;
      }
      if (__builtin_expect_with_probability(form_ != TileForm::floats, 0, 0.999)) {
        copy_swapped(row, lead_ + copied_);
        continue;
      }
      float* const copy = copy_ + copied_ * tile_copy_stride(from_.dims);
      // A call that the compiler took for likely would keep the sums of register tiles in memory.
      if (__builtin_expect_with_probability(from_.type == DType::f32, 1, 0.999)) {
        copy_floats<Arch>(row, from_.dims, copy);
      } else {
        widen_row<Arch>(from_.type, row, from_.dims, copy, from_.scales_of(first_ + copied_));
      }
    }
  }

  float* row_of_copy(std::int32_t j) const {
    return copy_ + std::ptrdiff_t{j} * tile_copy_stride(from_.dims);
  }

  /// Copies a row to place j.
  __attribute__((noinline)) void copy_packed(const std::byte* row, std::int32_t j) const {
    if (form_ == TileForm::packed) return copy_floats<Arch>(row, from_.dims / 2, row_of_copy(j));
    const PairHalf half = j % 2 == 0   ? PairHalf::lower
                          : j == lead_ ? PairHalf::lone_upper
                                       : PairHalf::upper;
    interleave(row, row_of_copy(j / 2), half);
  }
  __attribute__((noinline)) void copy_swapped(const std::byte* row, std::int32_t j) const {
    float* const copy = row_of_copy(j ^ 1);
    widen_row<Arch>(from_.type, row, from_.dims, copy);
    if (form_ == TileForm::swapped_all) swap_neighbours(copy, from_.dims);
  }

  /// Which of a pair a row is: the lower one clears the upper halves, a lone upper one the lower.
  enum class PairHalf { lower, upper, lone_upper };

  /// Writes bf16 to halves of a row.
  void interleave(const std::byte* row, float* copy, PairHalf half) const {
    using E = Element<DType::bf16>;
    constexpr int lanes = kLanes<Arch>;
    for (std::int32_t x = 0; x < from_.dims; x += lanes) {
      const std::int32_t left = from_.dims - x;
      auto both = Ops<Arch>::as_integers(widen_first<Arch, E>(row, x, left < lanes ? left : lanes));
      if (half == PairHalf::lower) both = Ops<Arch>::shift_right(both, 16);
      if (half == PairHalf::upper) both = both | Ops<Arch>::as_integers(load<Arch>(copy + x));
      store<Arch>(copy + x, Ops<Arch>::as_floats(both));
    }
  }

  /// Fills places of rows that are not there with zeros.
  __attribute__((noinline)) void fill_missing() const {
    const std::int32_t rows = lead_ + count_;
    const auto clear = [&](std::int32_t place) {
      for (std::int32_t x = 0; x < tile_copy_stride(from_.dims); ++x) row_of_copy(place)[x] = 0.0F;
    };
    if (form_ == TileForm::interleaved) return;  // upper halves are written with lower ones
    const bool swapped = form_ != TileForm::packed;
    if (lead_ > 0) clear(swapped ? 1 : 0);
    if (rows % 2 == 1) clear(swapped ? rows - 1 : rows);
  }

  Storage from_{};
  std::int32_t first_ = 0, count_ = 0, slices_ = 0;
  std::ptrdiff_t row_bytes_ = 0;
  float* copy_ = nullptr;
  TileForm form_ = TileForm::floats;
  std::int32_t lead_ = 0;
  RowsAfter after_;
  std::int32_t due_ = 0;  ///< what is to be prefetched, in fractions 1 / slices_ of a row
  std::int32_t reached_ = 0, fetched_ = 0, fetched_after_ = 0, copied_ = 0;
};

}  // namespace
}  // namespace heed::kernels
