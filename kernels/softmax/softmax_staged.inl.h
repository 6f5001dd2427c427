// Softmax of rows that are no logits in memory: rows of 16 bits, rows with hidden entries, and
// those of a negative factor. They become logits, −∞ where they are hidden, and are computed as
// such: in y, if all that they need is the other sign, or else in scratch, from which they are
// rounded. A result has the bits of the row of floats, rounded.
//
// Memory: x is read once and y written once, but for those of y that do not stay in cache. Rows
// longer than the scratch are read three times, and their weights are computed twice.
#pragma once

#include "kernels/interface.h"
#include "kernels/softmax/softmax_floats.inl.h"
#include "kernels/softmax/stage.inl.h"

namespace heed::kernels {
namespace {

/// Floats of rows that are staged together, where they are short: 8 KiB, a small part of an L1
/// cache, and enough rows for the choice of their rules to take no time.
inline constexpr std::int64_t kStagedFloats = 2048;

/// Calls body(some of the rows) for all rows, `together` of them at a time.
template <class Body>
HEED_INLINE void for_rows_together(const SoftmaxRows& rows, std::int64_t together, Body body) {
  for (std::int64_t first = 0; first < rows.rows; first += together) {
    const std::int64_t left = rows.rows - first;
    body(rows_from(rows, first, left < together ? left : together));
  }
}

/// Makes the logits of a row with a negative factor. x and `logits` may be the same.
template <class Arch>
void negate_row(const float* x, std::int64_t length, float* logits) {
  for_each_vector<Arch, kAccumulators>(
      length, [&](auto access, int, std::int64_t i) __attribute__((always_inline)) {
        access.store(logits + i, negated<Arch>(access.load(x + i, kMasked)));
      });
}

/// Stages `count` logits of row r, from `begin` on.
template <class Arch>
void stage_logits(const SoftmaxRows& rows, std::int64_t r, std::int64_t begin, std::int64_t count,
                  float* to) {
  const std::byte* const visible =
      rows.visible == nullptr ? nullptr : rows.visible + r * rows.visible_stride;
  stage<Arch>(rows.x_type, rows.x + r * rows.x_stride, visible, begin, count, kMasked, to);
  if (factor_of(rows.temperatures, r).factor < 0.0F) negate_row<Arch>(to, count, to);
}

// Passes over a chunk: compiled once for all outputs, as a call costs little beside them.
template <class Arch>
float largest_of_chunk(const float* logits, std::int64_t count) {
  return largest_of_row<Arch>(logits, count);
}
template <class Rule>
double weights_of_chunk(const Rule& rule, const float* logits, std::int64_t count) {
  return sum_of_weights(rule, logits, count, 0);
}

/// A row that is staged one chunk after the other, again for each pass.
template <class Rule>
class StagedRow {
 public:
  using Arch = typename Rule::Arch;
  using V = Vec<Arch>;

  HEED_INLINE StagedRow(const SoftmaxRows& rows, std::int64_t r, float* scratch)
      : rows_(rows), row_(r), chunk_(scratch) {}

  HEED_INLINE float largest() {
    float top = kMasked;
    for_each_chunk([&](std::int64_t, std::int64_t count) __attribute__((always_inline)) {
      const float largest = largest_of_chunk<Arch>(chunk_, count);
      top = largest > top ? largest : top;
    });
    return top;
  }

  /// Adds in the order of sum_over_row().
  template <class Output>
  HEED_INLINE double sum_weights(const Rule& rule) {
    double total = 0;
    for_each_chunk([&](std::int64_t, std::int64_t count) __attribute__((always_inline)) {
      total += weights_of_chunk(rule, chunk_, count);
    });
    return total;
  }

  template <class Output>
  HEED_INLINE void write(const Rule& rule, float normaliser) {
    const V n = splat<Arch>(normaliser);
    for_each_chunk([&](std::int64_t begin, std::int64_t count) __attribute__((always_inline)) {
      for_each_vector<Arch, kAccumulators>(
          count, [&](auto access, int, std::int64_t i) __attribute__((always_inline)) {
            const V logit = access.load(chunk_ + i, kMasked);
            const V y = Output::unnormalised(rule, logit, rule.weight(logit));
            access.store(chunk_ + i, Output::normalised(y, n));
          });
      narrow_row<Arch>(rows_.y_type, chunk_, static_cast<std::int32_t>(count),
                       rows_.y + row_ * rows_.y_stride + place_of(rows_.y_type, begin));
    });
  }

 private:
  template <class Body>
  HEED_INLINE void for_each_chunk(Body body) {
    for (std::int64_t begin = 0; begin < rows_.length; begin += kSumChunk) {
      const std::int64_t left = rows_.length - begin;
      const std::int64_t count = left < kSumChunk ? left : kSumChunk;
      stage_logits<Arch>(rows_, row_, begin, count, chunk_);
      body(begin, count);
    }
  }

  const SoftmaxRows& rows_;
  std::int64_t row_;
  float* chunk_;
};

/// Computes rows one by one, a chunk of each at a time.
template <class Output, class Rule>
void write_rows_by_chunks(const SoftmaxRows& rows) {
  alignas(kAlignment) float scratch[kSumChunk];
  for (std::int64_t r = 0; r < rows.rows; ++r) {
    StagedRow<Rule> row(rows, r, scratch);
    write_row<Output>(Rule(factor_of(rows.temperatures, r)), row,
                      reinterpret_cast<float*>(rows.y + r * rows.y_stride));
  }
}

/// Computes rows that fit the scratch with such a stride.
template <class Output, class Arch>
void write_rows_together(const SoftmaxRows& rows, SoftmaxRule rule, std::int64_t stride,
                         float* scratch) {
  for (std::int64_t r = 0; r < rows.rows; ++r) {
    stage_logits<Arch>(rows, r, 0, rows.length, scratch + r * stride);
  }
  FloatRows floats{scratch,     scratch,           stride, stride, rows.rows,
                   rows.length, rows.temperatures, false};
  if constexpr (!Output::kWritesRows) {
    floats.y = reinterpret_cast<float*>(rows.y);
    floats.y_stride = rows.y_stride / static_cast<std::ptrdiff_t>(sizeof(float));
  }
  write_float_rows<Output, Arch>(floats, rule);
  for (std::int64_t r = 0; Output::kWritesRows && r < rows.rows; ++r) {
    narrow_row<Arch>(rows.y_type, scratch + r * stride, static_cast<std::int32_t>(rows.length),
                     rows.y + r * rows.y_stride);
  }
}

/// Computes rows of any kind, whose factors all lead to `rule`.
template <class Output, class Arch>
void write_staged_rows(const SoftmaxRows& rows, SoftmaxRule rule) {
  if (rows.length > kScratchRow) {
    if (rule == SoftmaxRule::argmax) return write_rows_by_chunks<Output, ArgmaxRule<Arch>>(rows);
    if (rule == SoftmaxRule::uniform) return write_rows_by_chunks<Output, UniformRule<Arch>>(rows);
    return write_rows_by_chunks<Output, ExponentialRule<Arch, true>>(rows);
  }
  constexpr std::int64_t lanes = kLanes<Arch>;
  const std::int64_t stride = rows.length == 0 ? lanes : (rows.length + lanes - 1) / lanes * lanes;
  const std::int64_t together = stride < kStagedFloats ? kStagedFloats / stride : 1;
  alignas(kAlignment) float scratch[kScratchRow];
  for_rows_together(rows, together, [&](const SoftmaxRows& part) {
    write_rows_together<Output, Arch>(part, rule, stride, scratch);
  });
}

/// Computes rows of floats with a negative factor, of which none is hidden: in y.
template <class Output, class Arch>
void write_negated_rows(const SoftmaxRows& rows, SoftmaxRule rule) {
  const std::int64_t together = rows.length < kStagedFloats ? kStagedFloats / (rows.length + 1) : 1;
  for_rows_together(rows, together, [&](const SoftmaxRows& part) {
    FloatRows floats = float_rows(part);
    for (std::int64_t r = 0; r < part.rows; ++r) {
      negate_row<Arch>(floats.x + r * floats.x_stride, part.length, floats.y + r * floats.y_stride);
    }
    floats.x = floats.y;
    floats.x_stride = floats.y_stride;
    floats.nontemporal = false;
    write_float_rows<Output, Arch>(floats, rule);
  });
}

}  // namespace
}  // namespace heed::kernels
