// Softmax and its relatives over rows of logits, floats that lie in memory as they are.
//
//   z = factor · x,  w_i = exp(z_i − max z),  softmax_i = w_i / Σ w,  log-softmax_i = z_i − lse,
//   lse = max z + log Σ w
//
// There are three passes: the maximum, the weights and their sum, the result. A row stays in cache
// between them and keeps its weights there. A row that is too long for that comes from memory each
// time, and then computing the weights twice is cheaper than writing them twice (Dukhan &
// Ablavatski 2020).
//
// Memory: x is read once and y written once; for long rows x is read three times. A large y is
// written by non-temporal stores, which spares reading its lines first, and the passes of its rows
// overlap (softmax_pipeline.inl.h).
//
// Error: z − max z as computed is off by its size times 2⁻²³ (two roundings), and by the error of
// factor; w by 2 ULP more; the sum as sum_over_row() says (lanes.inl.h); the division by 1 ULP.
#pragma once

#include "kernels/softmax/softmax_pipeline.inl.h"
#include "kernels/softmax/softmax_row.inl.h"
#include "kernels/softmax/softmax_rules.inl.h"
#include "kernels/vector/log.inl.h"

namespace heed::kernels {
namespace {

/// Floats of the longest row whose weights are kept in y: x and y are then 512 KiB, half of a usual
/// L2 cache.
inline constexpr std::int64_t kCachedRow = std::int64_t{1} << 16;

// An output says what is computed from a row's logits and the sum of its weights. A sum of 0 means
// that all entries are masked (or that there are none); otherwise the sum is 1 or more, or NaN.
//
//   kWritesRows    whether the result is a row, from unnormalised(), normaliser() and normalised();
//                  else it is one number, from of()
//   kFromWeights   whether unnormalised() needs no more than the weight

struct SoftmaxOutput {
  static constexpr bool kWritesRows = true;
  static constexpr bool kFromWeights = true;
  template <class Rule, class V>
  static HEED_INLINE V unnormalised(const Rule&, V, V weight) {
    return weight;
  }
  static HEED_INLINE float normaliser(double sum) {
    return sum == 0.0 ? 0.0F : static_cast<float>(1.0 / sum);
  }
  template <class V>
  static HEED_INLINE V normalised(V weight, V share) {
    return weight * share;
  }
};

struct LogSoftmaxOutput {
  static constexpr bool kWritesRows = true;
  static constexpr bool kFromWeights = false;
  template <class Rule, class V>
  static HEED_INLINE V unnormalised(const Rule& rule, V logit, V) {
    return rule.log_weight(logit);
  }
  static HEED_INLINE float normaliser(double sum) { return static_cast<float>(log_of_sum(sum)); }
  template <class V>
  static HEED_INLINE V normalised(V log_weight, V log_sum) {
    return log_weight - log_sum;
  }
};

struct LogSumExpOutput {
  static constexpr bool kWritesRows = false;
  static constexpr bool kFromWeights = false;
  template <class Rule>
  static HEED_INLINE float of(const Rule& rule, double sum) {
    const double lse = sum == 0.0 ? -__builtin_inf() : rule.reference() + log_of_sum(sum);
    return static_cast<float>(lse);
  }
};

/// Computes one row, a RowInMemory or RowInRegisters.
template <class Output, class Rule, class Row>
HEED_INLINE void write_row(Rule rule, Row& row, float* y) {
  if constexpr (Rule::kRelates) rule.relate_to(reference_of(row.largest()));
  const double sum = row.template sum_weights<Output>(rule);
  if constexpr (Output::kWritesRows) {
    row.template write<Output>(rule, Output::normaliser(sum));
  } else {
    *y = Output::of(rule, sum);
  }
}

/// Computes rows of at most `Count` vectors.
template <class Output, class Rule, int Count>
HEED_INLINE void write_short_rows(const FloatRows& rows) {
  using Arch = typename Rule::Arch;
  constexpr std::int64_t lanes = kLanes<Arch>;
  if constexpr (Count > 1) {
    if (rows.length <= (Count - 1) * lanes) return write_short_rows<Output, Rule, Count - 1>(rows);
  }
  const MaskedVector<Arch> last(rows.length - (Count - 1) * lanes);
  for (std::int64_t r = 0; r < rows.rows; ++r) {
    float* const y = rows.y + r * rows.y_stride;
    RowInRegisters<Rule, Count> row(rows.x + r * rows.x_stride, y, last);
    write_row<Output>(Rule(factor_of(rows.temperatures, r)), row, y);
  }
}

/// Computes rows of any length.
template <class Output, class Rule>
HEED_INLINE void write_long_rows(const FloatRows& rows) {
  const bool keep = rows.length <= kCachedRow;
  for (std::int64_t r = 0; r < rows.rows; ++r) {
    float* const y = rows.y + r * rows.y_stride;
    const bool last = r + 1 == rows.rows;
    RowInMemory<Rule> row({rows.x + r * rows.x_stride, y, rows.length, keep,
                           last ? 0 : rows.x_stride, last ? 0 : rows.y_stride});
    write_row<Output>(Rule(factor_of(rows.temperatures, r)), row, y);
  }
}

/// Whether non-temporal stores make rows of this length faster. For rows longer than its scratch
/// the pipeline computes weights twice. Where a vector is a whole line that takes less time than
/// keeping them in y, whose lines are then read before they are written; with shorter vectors it
/// takes more. It costs nothing where the output needs no weights, or they could not be kept in y
/// either.
template <class Output, class Arch>
HEED_INLINE bool nontemporal_pays(std::int64_t length) {
  constexpr bool twice = !Output::kFromWeights || kLanes<Arch> * sizeof(float) == kAlignment;
  return twice || length <= kScratchRow || length > kCachedRow;
}

template <class Output, class Rule>
void write_rows(const FloatRows& rows) {
  using Arch = typename Rule::Arch;
  if (rows.length > 0 && rows.length <= kShortRow * kLanes<Arch>) {
    return write_short_rows<Output, Rule, kShortRow>(rows);
  }
  if constexpr (Output::kWritesRows) {
    if (rows.nontemporal && nontemporal_pays<Output, Arch>(rows.length)) {
      return write_rows_nontemporal<Output, Rule>(rows);
    }
  }
  write_long_rows<Output, Rule>(rows);
}

/// Computes rows whose factors all lead to `rule`.
template <class Output, class Arch>
void write_float_rows(const FloatRows& rows, SoftmaxRule rule) {
  const SoftmaxTemperatures& t = rows.temperatures;
  if (rule == SoftmaxRule::argmax) {
    write_long_rows<Output, ArgmaxRule<Arch>>(rows);
  } else if (rule == SoftmaxRule::uniform) {
    write_long_rows<Output, UniformRule<Arch>>(rows);
  } else if (t.each == nullptr && t.factor.factor == 1.0F) {
    write_rows<Output, ExponentialRule<Arch, false>>(rows);
  } else {
    write_rows<Output, ExponentialRule<Arch, true>>(rows);
  }
}

}  // namespace
}  // namespace heed::kernels
