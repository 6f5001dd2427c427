// Softmax of rows of 16 bits, and of rows with hidden entries: they become floats in scratch, −∞
// where they are hidden, are computed there, and rounded when they are written. A result has the
// bits of the row of floats, rounded.
//
// Memory: x is read once and y written once. Rows longer than the scratch are read three times, and
// their weights are computed twice.
#pragma once

#include "kernels/interface.h"
#include "kernels/softmax/softmax_floats.inl.h"
#include "kernels/softmax/stage.inl.h"

namespace heed::kernels {
namespace {

/// Floats of rows that are staged together, where they are short: 8 KiB, a small part of an L1
/// cache, and enough rows for the choice of their rules to take no time.
inline constexpr std::int64_t kStagedFloats = 2048;

/// A row that is too long for the scratch: each pass stages one chunk after the other.
template <class Rule>
class StagedRow {
 public:
  using Arch = typename Rule::Arch;
  using V = Vec<Arch>;

  HEED_INLINE StagedRow(const SoftmaxRows& rows, std::int64_t r, float* scratch)
      : rows_(rows),
        x_(rows.x + r * rows.x_stride),
        y_(rows.y + r * rows.y_stride),
        visible_(rows.visible == nullptr ? nullptr : rows.visible + r * rows.visible_stride),
        chunk_(scratch) {}

  HEED_INLINE float largest(const Rule& rule) {
    float top = kMasked;
    for_each_chunk([&](std::int64_t, std::int64_t count) __attribute__((always_inline)) {
      const float largest = largest_logit(rule, chunk_, count);
      top = largest > top ? largest : top;
    });
    return top;
  }

  /// Adds in the order of sum_over_row().
  template <class Output>
  HEED_INLINE double sum_weights(const Rule& rule) {
    double total = 0;
    for_each_chunk([&](std::int64_t, std::int64_t count) __attribute__((always_inline)) {
      total += sum_over_row<Arch>(
          count, [&](auto access, int, std::int64_t i) __attribute__((always_inline)) {
            return rule.weight(rule.logit(access.load(chunk_ + i, kMasked)));
          });
    });
    return total;
  }

  template <class Output>
  HEED_INLINE void write(const Rule& rule, float normaliser) {
    const V n = splat<Arch>(normaliser);
    for_each_chunk([&](std::int64_t begin, std::int64_t count) __attribute__((always_inline)) {
      for_each_vector<Arch, kAccumulators>(
          count, [&](auto access, int, std::int64_t i) __attribute__((always_inline)) {
            const V logit = rule.logit(access.load(chunk_ + i, kMasked));
            const V y = Output::unnormalised(rule, logit, rule.weight(logit));
            access.store(chunk_ + i, Output::normalised(y, n));
          });
      narrow_row<Arch>(rows_.y_type, chunk_, static_cast<std::int32_t>(count),
                       y_ + place_of(rows_.y_type, begin));
    });
  }

 private:
  template <class Body>
  HEED_INLINE void for_each_chunk(Body body) {
    for (std::int64_t begin = 0; begin < rows_.length; begin += kSumChunk) {
      const std::int64_t left = rows_.length - begin;
      const std::int64_t count = left < kSumChunk ? left : kSumChunk;
      stage<Arch>(rows_.x_type, x_, visible_, begin, count, kMasked, chunk_);
      body(begin, count);
    }
  }

  const SoftmaxRows& rows_;
  const std::byte* x_;
  std::byte* y_;
  const std::byte* visible_;
  float* chunk_;
};

/// Computes rows that do not fit the scratch.
template <class Output, class Arch>
HEED_INLINE void write_rows_by_chunks(const SoftmaxRows& rows) {
  alignas(kAlignment) float scratch[kSumChunk];
  const SoftmaxTemperatures& t = rows.temperatures;
  for (std::int64_t r = 0; r < rows.rows; ++r) {
    const SoftmaxFactor kind = t.each == nullptr ? t.factor : softmax_factor(t.scale, t.each[r]);
    with_rules<Arch>(t, kind, [&](const auto& rules) {
      auto rule = rules.of(r);
      StagedRow<decltype(rule)> row(rows, r, scratch);
      write_row<Output>(rule, row, reinterpret_cast<float*>(rows.y + r * rows.y_stride));
    });
  }
}

/// Computes the rows from `first` on, `count` of them, which fit the scratch with such a stride.
template <class Output, class Arch>
HEED_INLINE void write_rows_together(const SoftmaxRows& rows, std::int64_t first,
                                     std::int64_t count, std::int64_t stride, float* scratch) {
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t r = first + i;
    const std::byte* const visible =
        rows.visible == nullptr ? nullptr : rows.visible + r * rows.visible_stride;
    stage<Arch>(rows.x_type, rows.x + r * rows.x_stride, visible, 0, rows.length, kMasked,
                scratch + i * stride);
  }
  FloatRows floats{scratch, scratch, stride, stride, count, rows.length, rows.temperatures, false};
  if (floats.temperatures.each != nullptr) floats.temperatures.each += first;
  if constexpr (!Output::kWritesRows) {
    floats.y = reinterpret_cast<float*>(rows.y + first * rows.y_stride);
    floats.y_stride = 1;
  }
  write_float_rows<Output, Arch>(floats);
  for (std::int64_t i = 0; Output::kWritesRows && i < count; ++i) {
    narrow_row<Arch>(rows.y_type, scratch + i * stride, static_cast<std::int32_t>(rows.length),
                     rows.y + (first + i) * rows.y_stride);
  }
}

template <class Output, class Arch>
void write_staged_rows(const SoftmaxRows& rows) {
  if (rows.length > kScratchRow) return write_rows_by_chunks<Output, Arch>(rows);
  constexpr std::int64_t lanes = kLanes<Arch>;
  const std::int64_t stride = rows.length == 0 ? lanes : (rows.length + lanes - 1) / lanes * lanes;
  const std::int64_t together = stride < kStagedFloats ? kStagedFloats / stride : 1;
  alignas(kAlignment) float scratch[kScratchRow];
  for (std::int64_t first = 0; first < rows.rows; first += together) {
    const std::int64_t left = rows.rows - first;
    write_rows_together<Output, Arch>(rows, first, left < together ? left : together, stride,
                                      scratch);
  }
}

}  // namespace
}  // namespace heed::kernels
