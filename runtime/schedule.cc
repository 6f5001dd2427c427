#include "runtime/schedule.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>

#include "kernels/abi.h"
#include "runtime/run_control.h"

namespace heed::detail {
namespace {

using kernels::kPartitionKeys;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// Multiply-adds (of one lane) that take about as long as waking a sleeping worker does, 20 µs at
/// 50 of them per ns: less work than that runs on the calling thread alone.
constexpr double kSmallCost = 1e6;

/// Rows are spread over more items where one would be more than this part of a worker's fair share:
/// with the longest first, the last to finish then overruns by at most a few percent.
constexpr double kRowShare = 0.125;

/// A schedule is good enough when nobody waits for more than a twentieth of the time.
constexpr double kGood = 0.95;

/// A finer schedule must save this much: splits also write states.
constexpr double kWorthwhile = 0.99;

/// The finest schedule that is tried has no item above 2⁻⁵ of a fair share. With parts of that size
/// the overrun of the last one is 3%; what is then missing are merges, which finer parts do not
/// make shorter.
constexpr int kFinest = 5;

/// The largest part of a split is so many times the smallest.
constexpr double kLargestPerSmallest = 8;

/// The states of split items take at most this part of the memory of all keys and values: those of
/// a few rows take a hundredth of it, those of many rows could take more than all of it.
constexpr double kStateShare = 0.25;

double whole_cost(const CostModel& cost, const Visibility& s) {
  return cost.attend(s.rows(), s.scores({0, s.rows()}, {0, s.keys}));
}

}  // namespace

void Scheduler::schedule(const Work& work, Schedule& schedule) {
  work_ = &work;
  to_ = &schedule;
  find_totals();
  to_->small = to_->total_cost < kSmallCost;
  if (work.workers == 1 || to_->small) {
    build({kInfinity, kInfinity, work.block_rows});
  } else {
    search();
  }
}

void Scheduler::find_totals() {
  const CostModel& cost = work_->cost;
  double rows = 0, keys = 0;
  to_->visible_scores = 0;
  for (const Visibility& s : work_->sequences) {
    if (s.rows() == 0) continue;
    const std::int64_t scores = s.scores({0, s.rows()}, {0, s.keys});
    count_scores(scores);
    rows += cost.attend(s.rows(), scores);
    keys += static_cast<double>(s.keys);
  }
  const auto heads = static_cast<double>(work_->kv_heads);
  to_->total_cost = rows * heads;
  most_states_ = kStateShare * keys * heads * (cost.head_dim + cost.value_head_dim);
}

/// Counts scores for every KV head, up to the largest number that there is.
void Scheduler::count_scores(std::int64_t scores) {
  std::int64_t all = 0;
  if (__builtin_mul_overflow(scores, work_->kv_heads, &all) ||
      __builtin_add_overflow(to_->visible_scores, all, &to_->visible_scores)) {
    to_->visible_scores = std::numeric_limits<std::int64_t>::max();
  }
}

/// From coarse to fine: the first schedule that is good, or else the best. Items have whole blocks
/// of rows, and at the end of it two vectors, nearly as fast.
void Scheduler::search() {
  const double share = to_->fair_share(work_->workers);
  const auto limits = [&](int fineness) -> Limits {
    const double largest = std::ldexp(share, -fineness);
    return {std::min(largest, kRowShare * share), fineness == 0 ? kInfinity : largest,
            largest < kRowShare * share ? 2 * work_->cost.lanes : work_->block_rows};
  };
  double shortest = kInfinity;
  int best = 0, built = 0;
  for (int fineness = 0; fineness <= kFinest && kGood * shortest > share; ++fineness) {
    const Limits finer = limits(fineness);
    if (fineness > 0 && finer.keys >= longest_) continue;  // nothing to refine
    build(finer);
    built = fineness;
    const double makespan = estimate(share);
    if (makespan >= kWorthwhile * shortest) continue;
    shortest = makespan;
    best = fineness;
  }
  if (best != built) build(limits(best));
}

/// How long it takes, or an upper bound that is good enough: without splits the longest item bounds
/// the overrun (Graham 1966).
double Scheduler::estimate(double share) {
  const double bound = share + longest_;
  if (to_->splits.empty() && kGood * bound <= share) return bound;
  return simulation_.makespan(to_->items, to_->splits, work_->workers);
}

void Scheduler::build(const Limits& limits) {
  to_->splits.clear();
  to_->state_floats = 0;
  to_->item_rows = 0;
  pieces_.clear();
  const auto sequences = static_cast<std::int32_t>(work_->sequences.size());
  for (std::int32_t b = 0; b < sequences; ++b) cut(b, limits);
  sort();
  split_above(limits.keys);
  if (!to_->splits.empty()) sort();
  emit();
}

void Scheduler::sort() {
  const auto order = [](const Piece& p) {
    return std::make_tuple(-p.urgency, p.item.sequence, p.first_head, p.last_head, p.item.row_begin,
                           p.item.key_begin);
  };
  std::sort(pieces_.begin(), pieces_.end(),
            [&](const Piece& a, const Piece& b) { return order(a) < order(b); });
}

/// Cuts a sequence's rows into items of equal numbers of vectors.
void Scheduler::cut(std::int32_t sequence, const Limits& limits) {
  const Visibility& s = work_->sequences[static_cast<std::size_t>(sequence)];
  const std::int64_t lanes = work_->cost.lanes, rows = s.rows();
  if (rows == 0) return;
  const std::int64_t vectors = (rows + lanes - 1) / lanes;
  const std::int64_t most = (rows_per_item(s, limits) + lanes - 1) / lanes;
  const std::int64_t count = (vectors + most - 1) / most;
  for (std::int64_t i = 0; i < count; ++i) {
    const Range range{vectors * i / count * lanes,
                      std::min(rows, vectors * (i + 1) / count * lanes)};
    const Range keys = s.of_rows(range);
    PlannedItem item;
    item.sequence = sequence;
    item.row_begin = static_cast<std::int32_t>(range.first);
    item.rows = static_cast<std::int32_t>(range.last - range.first);
    item.key_begin = static_cast<std::int32_t>(keys.first);
    item.key_end = static_cast<std::int32_t>(keys.last);
    item.cost = work_->cost.attend(item.rows, s.scores(range, keys));
    to_->item_rows = std::max(to_->item_rows, item.rows);
    pieces_.push_back({item, item.cost, 0, static_cast<std::int32_t>(work_->kv_heads)});
  }
}

/// As many as the caches hold, or as cost no more than the limit.
std::int64_t Scheduler::rows_per_item(const Visibility& s, const Limits& limits) const {
  const CostModel& cost = work_->cost;
  const std::int64_t most = work_->item_rows;
  const double parts = whole_cost(cost, s) / limits.rows;
  if (parts <= 1 || prefers_splits(s, parts)) return most;
  const std::int64_t keys = std::min(s.keys, s.window_left + s.window_right + 1);
  const double vectors = std::floor(limits.rows / cost.attend(cost.lanes, cost.lanes * keys));
  const double rows = std::max(cost.lanes * vectors, static_cast<double>(limits.fewest_rows));
  return rows < static_cast<double>(most) ? static_cast<std::int64_t>(rows) : most;
}

/// Whether all rows of a sequence better stay together and its keys are split into so many parts:
/// each key and value is then read once. Their states must be few, the keys many.
bool Scheduler::prefers_splits(const Visibility& s, double parts) const {
  const CostModel& cost = work_->cost;
  if (s.rows() > work_->item_rows || parts * kPartitionKeys > static_cast<double>(s.keys)) {
    return false;
  }
  const std::size_t state =
      kernels::state_floats(cost.value_head_dim, static_cast<std::int32_t>(s.rows()));
  return static_cast<double>(state) <=
         kStateShare * kPartitionKeys * (cost.head_dim + cost.value_head_dim);
}

/// Splits the keys of items above the limit, the longest first, while there is memory for states;
/// of the last one perhaps for some heads only.
void Scheduler::split_above(double limit) {
  const std::size_t whole = pieces_.size();
  for (std::size_t i = 0; i < whole && pieces_[i].item.cost > limit; ++i) {
    const PlannedItem item = pieces_[i].item;
    PlannedSplit split;
    split.first_partition = item.key_begin / kPartitionKeys;
    split.partitions =  // none reach 2³¹ keys
        (item.key_end - 1) / kPartitionKeys + 1 - split.first_partition;
    if (split.partitions < 2) continue;
    const std::size_t state = static_cast<std::size_t>(split.partitions) *
                              kernels::state_floats(work_->cost.value_head_dim, item.rows);
    const std::int32_t heads = heads_with_room(state);
    if (heads == 0) continue;
    if (heads < work_->kv_heads) pieces_.push_back({item, item.cost, heads, pieces_[i].last_head});
    pieces_[i].last_head = heads;
    split.merge_cost = work_->cost.merge(item.rows, split.partitions);
    split_piece(i, split, limit / item.cost);
    for (std::int32_t head = 0; head < heads; ++head, to_->state_floats += state) {
      split.states = to_->state_floats;
      to_->splits.push_back(split);
    }
  }
}

/// For how many heads there is room for states of so many floats each.
std::int32_t Scheduler::heads_with_room(std::size_t state) const {
  const double floats = most_states_ - static_cast<double>(to_->state_floats);
  const double room = std::min(std::floor(floats / static_cast<double>(state)),
                               static_cast<double>(kMaxSplits - to_->splits.size()));
  return static_cast<std::int32_t>(std::clamp(room, 0.0, static_cast<double>(work_->kv_heads)));
}

/// Replaces a piece by its parts, the first of which is `largest` of it. Each of the others is as
/// large a part of what is left (Polychronopoulos & Kuck 1987): the large ones need few turns, the
/// small ones even out their ends.
void Scheduler::split_piece(std::size_t piece, PlannedSplit& split, double largest) {
  const Piece whole = pieces_[piece];
  const double smallest = std::max(1.0, largest * split.partitions / kLargestPerSmallest);
  const std::int32_t end = split.first_partition + split.partitions;
  for (std::int32_t at = split.first_partition; at < end; ++split.parts) {
    const double size = std::max(smallest, largest * (end - at));
    const std::int32_t next = std::min(end, at + static_cast<std::int32_t>(size));
    Piece part = whole;
    part.item = part_of(whole.item, {at, next});
    part.urgency = part.item.cost + split.merge_cost;
    if (split.parts == 0) {
      pieces_[piece] = part;
    } else {
      pieces_.push_back(part);
    }
    at = next;
  }
}

/// The item against keys of these partitions only, a part of the next split.
PlannedItem Scheduler::part_of(const PlannedItem& whole, const Range& partitions) const {
  const Visibility& s = work_->sequences[static_cast<std::size_t>(whole.sequence)];
  const Range keys{std::max<std::int64_t>(partitions.first * kPartitionKeys, whole.key_begin),
                   std::min<std::int64_t>(partitions.last * kPartitionKeys, whole.key_end)};
  const Range rows{whole.row_begin, std::int64_t{whole.row_begin} + whole.rows};
  PlannedItem part = whole;
  part.split = static_cast<std::int32_t>(to_->splits.size());
  part.key_begin = static_cast<std::int32_t>(keys.first);
  part.key_end = static_cast<std::int32_t>(keys.last);
  part.cost = work_->cost.attend(whole.rows, s.scores(rows, keys));
  return part;
}

/// Items of all heads. Where several of a sequence are as urgent, those of one head come together:
/// they share its keys and values in the caches.
void Scheduler::emit() {
  to_->items.clear();
  longest_ = 0;
  for (std::size_t begin = 0, end = 0; begin < pieces_.size(); begin = end) {
    const auto same = [&](const Piece& p) {
      return p.urgency == pieces_[begin].urgency &&
             p.item.sequence == pieces_[begin].item.sequence &&
             p.first_head == pieces_[begin].first_head && p.last_head == pieces_[begin].last_head;
    };
    for (; end < pieces_.size() && same(pieces_[end]); ++end) {
      longest_ = std::max(longest_, pieces_[end].item.cost);
    }
    for (std::int32_t head = pieces_[begin].first_head; head < pieces_[begin].last_head; ++head) {
      for (std::size_t i = begin; i < end; ++i) {
        PlannedItem& item = to_->items.emplace_back(pieces_[i].item);
        item.kv_head = head;
        if (item.split >= 0) item.split += head;
      }
    }
  }
}

}  // namespace heed::detail
