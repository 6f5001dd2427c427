// Softmax with non-temporal stores of the results: the passes of consecutive rows overlap.
//
// While the weights of one row are computed and added, the largest logit of the next row is found,
// the results of the previous row are written, and the row after the next is prefetched into L2. So
// reads, arithmetic and writes go on all the time. If the passes alternated, memory would rest
// while weights are computed, and the core while results are written.
//
// Memory: x is read and y written once. x is read three times where rows are so long that three of
// them do not stay in L2.
#pragma once

#include "kernels/softmax/softmax_row.inl.h"
#include "kernels/softmax/softmax_rules.inl.h"
#include "kernels/vector/lanes.inl.h"

namespace heed::kernels {
namespace {

/// Floats of the longest row that is kept in scratch until it is normalised: 32 KiB of stack, which
/// any thread has.
inline constexpr std::int64_t kScratchRow = 8192;

/// Elements between the one that is prefetched and the one that is used, where a row is longer than
/// that: 16 KiB take some 500 ns to process, longer than a line takes to arrive, and are a small
/// part of any L2.
inline constexpr std::int64_t kPrefetchDistance = 4096;

/// A row whose unnormalised results are kept in scratch, until those of the next row replace them.
template <class Output, class Rule>
struct KeptRow {
  using Arch = typename Rule::Arch;
  float* scratch;

  HEED_INLINE KeptRow(const Rule&, const float*, float* s) : scratch(s) {}
  template <class Access>
  HEED_INLINE void keep(Access access, std::int64_t i, Vec<Arch> y) const {
    access.store(scratch + i, y);
  }
  template <class Access>
  HEED_INLINE Vec<Arch> unnormalised(Access access, std::int64_t i) const {
    return access.load(scratch + i, 0.0F);
  }
};

/// A row that is too long for the scratch: its unnormalised results are computed again when they
/// are needed.
template <class Output, class Rule>
struct RecomputedRow {
  using Arch = typename Rule::Arch;
  Rule rule;
  const float* x;

  HEED_INLINE RecomputedRow(const Rule& r, const float* from, float*) : rule(r), x(from) {}
  template <class Access>
  HEED_INLINE void keep(Access, std::int64_t, Vec<Arch>) const {}
  template <class Access>
  HEED_INLINE Vec<Arch> unnormalised(Access access, std::int64_t i) const {
    const Vec<Arch> logit = access.load(x + i, kMasked);
    return Output::unnormalised(rule, logit, rule.weight(logit));
  }
};

/// A row whose sum of weights is known, with the place y for its results. Whole cache lines, the
/// middle, are written by non-temporal stores; the two ends, which may share their lines with other
/// rows, by usual ones.
template <class Output, class Row>
class WeighedRow {
 public:
  using Arch = typename Row::Arch;

  /// With `length` 0 nothing is written.
  HEED_INLINE WeighedRow(const Row& row, double sum, float* y, std::int64_t length)
      : row_(row), normaliser_(Output::normaliser(sum)), y_(y), length_(length) {
    constexpr std::int64_t line = kAlignment / sizeof(float);
    const auto place = static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(y));
    const std::int64_t head = -(place / static_cast<std::int64_t>(sizeof(float))) & (line - 1);
    head_ = head < length ? head : length;
    middle_ = (length - head_) & -line;
  }

  HEED_INLINE void write() const {
    write_ends();
    for_each_vector<Arch, kAccumulators>(
        middle_, [&](auto, int, std::int64_t i)
                     __attribute__((always_inline)) { write_middle(i); });
  }

  HEED_INLINE void write_ends() const {
    write_end(0, head_);
    write_end(head_ + middle_, length_);
  }

  /// Writes the vector at element i of the middle, where there is one. It reads the row
  /// from element i on, and later calls read from the next vector on, so that a caller may
  /// overwrite the scratch at i in between.
  HEED_INLINE void write_middle(std::int64_t i) const {
    if (i < middle_) {
      Ops<Arch>::store_nontemporal(y_ + head_ + i, result(FullVector<Arch>(), head_ + i));
    }
  }

 private:
  void write_end(std::int64_t begin, std::int64_t end) const {
    for_each_vector<Arch, 1>(
        end - begin, [&](auto access, int, std::int64_t i) __attribute__((always_inline)) {
          access.store(y_ + begin + i, result(access, begin + i));
        });
  }

  template <class Access>
  HEED_INLINE Vec<Arch> result(Access access, std::int64_t i) const {
    return Output::normalised(row_.unnormalised(access, i), splat<Arch>(normaliser_));
  }

  Row row_;
  float normaliser_;
  float* y_;
  std::int64_t length_, head_, middle_;
};

/// Where a step reads.
struct StepInput {
  const float* x;           ///< the step's row
  const float* next;        ///< the row after it
  const float* prefetched;  ///< where prefetching begins
  std::int64_t length;
};

struct StepResult {
  double sum;          ///< of the weights of the step's row
  float next_largest;  ///< the largest logit of the next row
};

/// Computes the weights of a row, finds the largest logit of the next one, and writes the results
/// of the previous one.
template <class Output, class Rule, class Row>
HEED_INLINE StepResult step(const StepInput& in, const Rule& rule, const Row& row,
                            const WeighedRow<Output, Row>& previous) {
  using Arch = typename Rule::Arch;
  previous.write_ends();
  LargestLogit<Arch> largest;
  const double sum = sum_over_row<Arch>(
      in.length, [&](auto access, int u, std::int64_t i) __attribute__((always_inline)) {
        prefetch<Use::read>(in.prefetched + i);
        largest.add(access.load(in.next + i, kMasked), u);
        previous.write_middle(i);
        const Vec<Arch> logit = access.load(in.x + i, kMasked);
        const Vec<Arch> weight = rule.weight(logit);
        row.keep(access, i, Output::unnormalised(rule, logit, weight));
        return weight;
      });
  return {sum, largest.value()};
}

/// Writes all rows, one step for each. `Row` is KeptRow or RecomputedRow.
template <class Output, class Rule, class Row>
HEED_INLINE void pipeline_rows(const FloatRows& rows, float* scratch) {
  const auto x = [&](std::int64_t r) __attribute__((always_inline)) {
    return rows.x + (r < rows.rows ? r : rows.rows - 1) * rows.x_stride;
  };
  const bool longer = rows.length > kPrefetchDistance;
  float largest = largest_of_row<typename Rule::Arch>(rows.x, rows.length);
  WeighedRow<Output, Row> previous(Row(Rule(factor_of(rows.temperatures, 0)), rows.x, scratch), 0.0,
                                   rows.y, 0);
  for (std::int64_t r = 0; r < rows.rows; ++r) {
    Rule rule(factor_of(rows.temperatures, r));
    rule.relate_to(reference_of(largest));
    const Row row(rule, x(r), scratch);
    const float* const prefetched = longer ? x(r + 1) + kPrefetchDistance : x(r + 2);
    const StepResult result = step({x(r), x(r + 1), prefetched, rows.length}, rule, row, previous);
    previous = WeighedRow<Output, Row>(row, result.sum, rows.y + r * rows.y_stride, rows.length);
    largest = result.next_largest;
  }
  previous.write();
}

template <class Output, class Rule>
HEED_INLINE void write_rows_nontemporal(const FloatRows& rows) {
  if (rows.rows == 0) return;
  if (rows.length <= kScratchRow) {
    alignas(kAlignment) float scratch[kScratchRow];
    pipeline_rows<Output, Rule, KeptRow<Output, Rule>>(rows, scratch);
  } else {
    pipeline_rows<Output, Rule, RecomputedRow<Output, Rule>>(rows, nullptr);
  }
  Ops<typename Rule::Arch>::fence_nontemporal_stores();
}

}  // namespace
}  // namespace heed::kernels
