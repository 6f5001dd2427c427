// Softmax and its relatives over the rows of a matrix.
//
//   z = factor · x,  w_i = exp(z_i − max z),  softmax_i = w_i / Σ w,  log-softmax_i = z_i − lse,
//   lse = max z + log Σ w
//
// Three passes: the maximum, the weights and their sum, the result. A row stays in cache between
// them and keeps its weights there; one that is too long for that comes from memory each time, and
// then computing the weights twice is cheaper than writing them twice (Dukhan & Ablavatski 2020).
// Memory: x is read and y written once; for long rows x is read three times. A large y is written
// around the caches, which spares reading it first.
//
// Error: with z' = z − max z as computed, off by |z'| · 2⁻²³ (two roundings) plus that of factor; w
// by 2 ULP more; the sum as in lanes.inl.h; the division by 1 ULP.
#pragma once

#include "kernels/abi.h"
#include "kernels/log.inl.h"
#include "kernels/softmax_row.inl.h"
#include "kernels/softmax_rules.inl.h"

namespace heed::kernels {
namespace {

/// Rows of up to so many floats keep their weights in y: x and y are then 512 KiB, half of a usual
/// L2 cache.
inline constexpr std::int64_t kCachedRow = std::int64_t{1} << 16;

/// Rows of up to so many floats keep their weights in scratch where y is written around the caches:
/// 32 KiB of stack, which any thread has.
inline constexpr std::int64_t kScratchRow = 8192;

/// Where every entry is masked or NaN differences are taken from 0, so that none is −∞ − −∞.
HEED_INLINE float reference_of(float largest) { return largest == kMasked ? 0.0F : largest; }

// What is done with a row. A sum of weights of 0 means that all entries are masked (or that there
// are none); otherwise the sum is 1 or more, or NaN.

struct SoftmaxOutput {
  static constexpr bool kWritesRows = true;
  template <class Rule, class Row>
  static HEED_INLINE void write(Rule rule, Row& row, float*) {
    rule.relate_to(reference_of(row.largest(rule)));
    const double sum = row.sum_and_keep_weights(rule);
    row.write_shares(rule, sum == 0.0 ? 0.0F : static_cast<float>(1.0 / sum));
  }
};

struct LogSoftmaxOutput {
  static constexpr bool kWritesRows = true;
  template <class Rule, class Row>
  static HEED_INLINE void write(Rule rule, Row& row, float*) {
    rule.relate_to(reference_of(row.largest(rule)));
    const double sum = row.sum_weights(rule);
    row.write_log_weights(rule, static_cast<float>(log_of_sum(sum)));
  }
};

struct LogSumExpOutput {
  static constexpr bool kWritesRows = false;
  template <class Rule, class Row>
  static HEED_INLINE void write(Rule rule, Row& row, float* y) {
    rule.relate_to(reference_of(row.largest(rule)));
    const double sum = row.sum_weights(rule);
    const double lse = sum == 0.0 ? -__builtin_inf() : rule.reference() + log_of_sum(sum);
    *y = Rule::kHasLse || sum == 0.0 ? static_cast<float>(lse) : __builtin_nanf("");
  }
};

template <class Output, class Rule, int Count>
HEED_INLINE void write_short_rows(const SoftmaxRows& rows, Rule rule) {
  constexpr std::int64_t lanes = kLanes<typename Rule::Arch>;
  if constexpr (Count > 1) {
    if (rows.length <= (Count - 1) * lanes) {
      return write_short_rows<Output, Rule, Count - 1>(rows, rule);
    }
  }
  const Part<typename Rule::Arch> last(rows.length - (Count - 1) * lanes);
  for (std::int64_t r = 0; r < rows.rows; ++r) {
    float* const y = rows.y + r * rows.y_stride;
    RowInRegisters<Rule, Count> row(rule, rows.x + r * rows.x_stride, y, last);
    Output::write(rule, row, y);
  }
}

template <class Output, class Rule, bool AroundCache>
HEED_INLINE void write_long_rows(const SoftmaxRows& rows, Rule rule, float* scratch) {
  const bool keep = rows.length <= (AroundCache ? kScratchRow : kCachedRow);
  for (std::int64_t r = 0; r < rows.rows; ++r) {
    float* const y = rows.y + r * rows.y_stride;
    const bool last = r + 1 == rows.rows;
    float* const weights = AroundCache ? scratch : y;
    RowInMemory<Rule, AroundCache> row({rows.x + r * rows.x_stride, y, keep ? weights : nullptr,
                                        rows.length, last ? 0 : rows.x_stride,
                                        last ? 0 : rows.y_stride});
    Output::write(rule, row, y);
  }
}

/// Stores that go around the caches need aligned places.
HEED_INLINE bool rows_are_aligned(const SoftmaxRows& rows) {
  const auto start = reinterpret_cast<std::uintptr_t>(rows.y);
  const auto stride = static_cast<std::uintptr_t>(rows.y_stride) * sizeof(float);
  return (start | stride) % kAlignment == 0;
}

template <class Output, class Rule>
void write_rows(const SoftmaxRows& rows, Rule rule) {
  if constexpr (Rule::kFast) {
    if (rows.length > 0 && rows.length <= kShortRow * kLanes<typename Rule::Arch>) {
      return write_short_rows<Output, Rule, kShortRow>(rows, rule);
    }
  }
  if constexpr (Rule::kFast && Output::kWritesRows) {
    if (rows.around_cache && rows_are_aligned(rows)) {
      alignas(kAlignment) float scratch[kScratchRow];
      write_long_rows<Output, Rule, true>(rows, rule, scratch);
      return publish_stores();
    }
  }
  write_long_rows<Output, Rule, false>(rows, rule, nullptr);
}

template <class Output, class Arch>
void write_rows_by_rule(const SoftmaxRows& rows) {
  const bool negated = rows.factor < 0.0F;
  if (rows.rule == SoftmaxRule::uniform || rows.factor == 0.0F) {
    write_rows<Output>(rows, UniformRule<Arch>());
  } else if (rows.rule == SoftmaxRule::argmax) {
    if (negated) return write_rows<Output>(rows, ArgmaxRule<Arch, true>());
    write_rows<Output>(rows, ArgmaxRule<Arch, false>());
  } else {
    if (negated) return write_rows<Output>(rows, ExponentialRule<Arch, true>(rows.factor));
    write_rows<Output>(rows, ExponentialRule<Arch, false>(rows.factor));
  }
}

template <class Arch>
void softmax_rows(const SoftmaxRows& rows) {
  write_rows_by_rule<SoftmaxOutput, Arch>(rows);
}

template <class Arch>
void log_softmax_rows(const SoftmaxRows& rows) {
  write_rows_by_rule<LogSoftmaxOutput, Arch>(rows);
}

template <class Arch>
void log_sum_exp_rows(const SoftmaxRows& rows) {
  write_rows_by_rule<LogSumExpOutput, Arch>(rows);
}

}  // namespace
}  // namespace heed::kernels
