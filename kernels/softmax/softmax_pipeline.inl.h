// Results that are written around the caches: rows follow each other through the passes of softmax.
//
// While the weights of one row are computed and added, the largest logit of the next one is found,
// the results of the former one are written, and the row after the next is fetched into L2. So
// reads, arithmetic and writes go on all the time. In one pass after another memory would rest
// while weights are computed, and the core while results are written.
//
// Memory: x is read and y written once. x is read three times where rows are so long that three of
// them do not stay in L2.
#pragma once

#include "kernels/interface.h"
#include "kernels/softmax/softmax_rules.inl.h"
#include "kernels/vector/lanes.inl.h"

namespace heed::kernels {
namespace {

/// Rows of up to so many floats are kept in scratch until they are normalised: 32 KiB of stack,
/// which any thread has.
inline constexpr std::int64_t kScratchRow = 8192;

/// x is fetched so many elements ahead of its first use, or a row where that is shorter: 16 KiB
/// take some 500 ns to pass, longer than a line takes to arrive, and are a small part of any L2.
inline constexpr std::int64_t kFetchAhead = 4096;

/// A row whose results, but for the sum, the scratch holds until the next row takes their places.
template <class Output, class Rule>
struct KeptRow {
  using Arch = typename Rule::Arch;
  float* scratch;

  HEED_INLINE KeptRow(const Rule&, const float*, float* s) : scratch(s) {}
  template <class Lanes>
  HEED_INLINE void keep(Lanes access, std::int64_t i, Vec<Arch> y) const {
    access.store(scratch + i, y);
  }
  template <class Lanes>
  HEED_INLINE Vec<Arch> unnormalised(Lanes access, std::int64_t i) const {
    return access.load(scratch + i, 0.0F);
  }
};

/// A row that is too long for the scratch: its weights are computed twice.
template <class Output, class Rule>
struct RecomputedRow {
  using Arch = typename Rule::Arch;
  Rule rule;
  const float* x;

  HEED_INLINE RecomputedRow(const Rule& r, const float* from, float*) : rule(r), x(from) {}
  template <class Lanes>
  HEED_INLINE void keep(Lanes, std::int64_t, Vec<Arch>) const {}
  template <class Lanes>
  HEED_INLINE Vec<Arch> unnormalised(Lanes access, std::int64_t i) const {
    const Vec<Arch> logit = rule.logit(access.load(x + i, kMasked));
    return Output::unnormalised(rule, logit, rule.weight(logit));
  }
};

/// A row whose sum is known. Its whole lines are written around the caches, its two ends, which may
/// share their lines with other rows, through them.
template <class Output, class Row>
class WeighedRow {
 public:
  using Arch = typename Row::Arch;

  /// `length` 0 makes one of which nothing is written.
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

  /// The vector at element i of the middle, where there is one. It is not before element i of the
  /// row, whose place in the scratch may be taken then.
  HEED_INLINE void write_middle(std::int64_t i) const {
    if (i < middle_) stream(y_ + head_ + i, result(Whole<Arch>(), head_ + i));
  }

 private:
  HEED_INLINE void write_end(std::int64_t begin, std::int64_t end) const {
    for_each_vector<Arch, 1>(
        end - begin, [&](auto access, int, std::int64_t i) __attribute__((always_inline)) {
          access.store(y_ + begin + i, result(access, begin + i));
        });
  }

  template <class Lanes>
  HEED_INLINE Vec<Arch> result(Lanes access, std::int64_t i) const {
    return Output::normalised(row_.unnormalised(access, i), splat<Arch>(normaliser_));
  }

  Row row_;
  float normaliser_;
  float* y_;
  std::int64_t length_, head_, middle_;
};

/// Where a step reads: its row, the next one, and what is fetched.
struct StepInput {
  const float *x, *next, *fetched;
  std::int64_t length;
};

struct StepResult {
  double sum;          ///< of the weights of the step's row
  float next_largest;  ///< the largest logit of the next row
};

template <class Output, class Rule, class Row>
HEED_INLINE StepResult step(const StepInput& in, const Rule& rule, const Row& row,
                            const WeighedRow<Output, Row>& former) {
  using Arch = typename Rule::Arch;
  former.write_ends();
  LargestLogit<Rule> largest;
  const double sum = sum_over_row<Arch>(
      in.length, [&](auto access, int u, std::int64_t i) __attribute__((always_inline)) {
        fetch<Access::read>(in.fetched + i);
        largest.add(rule, access.load(in.next + i, kMasked), u);
        former.write_middle(i);
        const Vec<Arch> logit = rule.logit(access.load(in.x + i, kMasked));
        const Vec<Arch> weight = rule.weight(logit);
        row.keep(access, i, Output::unnormalised(rule, logit, weight));
        return weight;
      });
  return {sum, largest.value()};
}

/// Row says how rows get from one step to the next.
template <class Output, class Row, class Rule>
HEED_INLINE void pass_rows(const SoftmaxRows& rows, Rule rule, float* scratch) {
  const auto x = [&](std::int64_t r) __attribute__((always_inline)) {
    return rows.x + (r < rows.rows ? r : rows.rows - 1) * rows.x_stride;
  };
  const bool longer = rows.length > kFetchAhead;
  float largest = largest_logit(rule, rows.x, rows.length);
  WeighedRow<Output, Row> former(Row(rule, rows.x, scratch), 0.0, rows.y, 0);
  for (std::int64_t r = 0; r < rows.rows; ++r) {
    rule.relate_to(reference_of(largest));
    const Row row(rule, x(r), scratch);
    const float* const fetched = longer ? x(r + 1) + kFetchAhead : x(r + 2);
    const StepResult result = step({x(r), x(r + 1), fetched, rows.length}, rule, row, former);
    former = WeighedRow<Output, Row>(row, result.sum, rows.y + r * rows.y_stride, rows.length);
    largest = result.next_largest;
  }
  former.write();
}

template <class Output, class Rule>
HEED_INLINE void write_rows_around_cache(const SoftmaxRows& rows, const Rule& rule) {
  if (rows.rows == 0) return;
  if (rows.length <= kScratchRow) {
    alignas(kAlignment) float scratch[kScratchRow];
    pass_rows<Output, KeptRow<Output, Rule>>(rows, rule, scratch);
  } else {
    pass_rows<Output, RecomputedRow<Output, Rule>>(rows, rule, nullptr);
  }
  publish_stores();
}

}  // namespace
}  // namespace heed::kernels
