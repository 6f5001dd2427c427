#include "runtime/schedule/schedule.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace heed::detail {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// Multiply-adds (of one lane) that take about as long as waking a sleeping worker does, 20 µs at
/// 50 of them per ns: less work than that runs on the calling thread alone.
constexpr double kSmallCost = 1e6;

/// Rows are spread over more items where one would be more than this part of a worker's fair share:
/// with the longest first, the last to finish then overruns by at most a few percent.
constexpr double kRowShare = 0.125;

/// Several KV heads that need not be read together make an item where it is no more than this part
/// of a worker's fair share: a worker that is held up then leaves items to others.
constexpr double kHeadShare = 0.25;

/// A schedule is good enough when nobody waits for more than a twentieth of the time.
constexpr double kGood = 0.95;

/// A finer schedule must save this much: splits also write states.
constexpr double kWorthSplitting = 0.99;

/// The finest schedule that is tried has no item above 2⁻⁵ of a fair share. With parts of that size
/// the overrun of the last one is 3%; what is then missing are merges, which finer parts do not
/// make shorter.
constexpr int kFinest = 5;

}  // namespace

void Scheduler::schedule(const Work& work, Schedule& schedule) {
  work_ = &work;
  to_ = &schedule;
  prefixes_.find(work, schedule.groups);
  find_totals();
  to_->small = to_->total_cost < kSmallCost;
  if (work.workers == 1 || to_->small) {
    split({.rows = kInfinity,
           .keys = kInfinity,
           .heads = kInfinity,
           .joined_heads = kInfinity,
           .fewest_rows = work.block_rows});
  } else {
    search();
  }
}

void Scheduler::find_totals() {
  double rows = 0;
  to_->visible_scores = 0;
  scores_.clear();
  for (std::int32_t b = 0; b < static_cast<std::int32_t>(work_->sequences.size()); ++b) {
    const Visibility& s = work_->sequence(b);
    scores_.push_back(s.rows() == 0 ? 0 : s.scores({0, s.rows()}, {0, s.keys}));
    if (s.rows() == 0) continue;
    count_scores(scores_.back());
    rows += cost_of(b, scores_.back());
  }
  for (const PrefixGroup& group : to_->groups) {
    std::int64_t together = 0;
    for (std::int32_t b = group.first; b < group.last; ++b) together += work_->sequence(b).rows();
    rows += work_->cost.attend(together, together * (group.keys().last - group.keys().first));
  }
  to_->total_cost = rows * static_cast<double>(work_->kv_heads);
}

/// Of the keys that it does not read in a group.
double Scheduler::cost_of(std::int32_t sequence, std::int64_t scores) const {
  const Visibility& s = work_->sequence(sequence);
  if (prefixes_.member(sequence) >= 0) {
    const Range shared = prefixes_.keys(sequence);
    scores -= s.rows() * (shared.last - shared.first);
  }
  return work_->cost.attend(s.rows(), scores);
}

/// Counts scores for every KV head, up to the largest number that there is.
void Scheduler::count_scores(std::int64_t scores) {
  std::int64_t all = 0;
  if (__builtin_mul_overflow(scores, work_->kv_heads, &all) ||
      __builtin_add_overflow(to_->visible_scores, all, &to_->visible_scores)) {
    to_->visible_scores = std::numeric_limits<std::int64_t>::max();
  }
}

/// With heads joined that need not be, where that is good. Else from coarse to fine: the first
/// schedule that is good, or else the best. Items have rows for a whole block at least, and at the
/// end of it for two vectors.
void Scheduler::search() {
  const double share = to_->fair_share(work_->workers);
  double joined = work_->short_pieces ? kInfinity : kHeadShare * share;
  const auto limits = [&](int fineness) -> Limits {
    const double largest = std::ldexp(share, -fineness);
    const bool fine = largest < kRowShare * share;
    return {.rows = std::min(largest, kRowShare * share),
            .keys = fineness == 0 ? kInfinity : largest,
            .heads = largest,
            .joined_heads = joined,
            .fewest_rows = fine ? 2 * work_->cost.lanes : work_->block_rows};
  };
  if (work_->item_heads > 1 && !work_->short_pieces) {
    split(limits(0));
    if (kGood * estimate(share) <= share) return;
    joined = 0;
  }
  double shortest = kInfinity;
  int best = 0, built = 0;
  for (int fineness = 0; fineness <= kFinest && kGood * shortest > share; ++fineness) {
    const Limits finer = limits(fineness);
    if (fineness > 0 && finer.keys >= splitter_.longest()) continue;  // nothing to refine
    split(finer);
    built = fineness;
    const double makespan = estimate(share);
    if (makespan >= kWorthSplitting * shortest) continue;
    shortest = makespan;
    best = fineness;
  }
  if (best != built) split(limits(best));
}

/// How long it takes, or an upper bound that is good enough: without splits the longest item bounds
/// the overrun (Graham 1966).
double Scheduler::estimate(double share) {
  const double bound = share + splitter_.longest();
  if (to_->splits.empty() && kGood * bound <= share) return bound;
  return simulation_.makespan(to_->items, to_->splits, work_->workers);
}

void Scheduler::split(const Limits& limits) {
  splitter_.split(*work_, scores_, prefixes_, limits, *to_);
}

}  // namespace heed::detail
