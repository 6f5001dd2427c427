#include "runtime/schedule/work_splitter.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>

#include "runtime/base/ceil_div.h"

namespace heed::detail {
namespace {

using kernels::kPartitionKeys;

/// The largest item of a split is this many times as large as the smallest.
constexpr double kLargestPerSmallest = 8;

/// What a quotient of costs that is a whole number may be short of it.
constexpr double kRounding = 1e-6;

/// Blocks of an item at least, for items to end where blocks do: a narrow block costs more for each
/// of its vectors (a sixth, AVX2), and items then differ by a quarter of their average at most.
constexpr std::int64_t kBlocksToKeepWhole = 4;

constexpr std::int64_t kNoEnd = std::numeric_limits<std::int32_t>::max();  ///< of a window

std::size_t index(std::int32_t i) { return static_cast<std::size_t>(i); }

/// How many heads the largest of the fewest items has that `heads` heads fill evenly, at most
/// `most` each.
std::int32_t even(std::int32_t heads, std::int32_t most) {
  const std::int32_t items = (heads + most - 1) / most;
  return (heads + items - 1) / items;
}

/// An item of rows against keys, which all heads have.
PlannedItem make_item(std::int32_t sequence, const Range& rows, const Range& keys) {
  PlannedItem item;
  item.sequence = sequence;
  item.row_begin = static_cast<std::int32_t>(rows.first);
  item.rows = static_cast<std::int32_t>(rows.last - rows.first);
  item.key_begin = static_cast<std::int32_t>(keys.first);
  item.key_end = static_cast<std::int32_t>(keys.last);
  return item;
}

}  // namespace

void WorkSplitter::split(const Work& work, std::span<const std::int64_t> scores,
                         const SharedPrefixes& prefixes, const Limits& limits, Schedule& to) {
  work_ = &work;
  scores_ = scores;
  prefixes_ = &prefixes;
  limits_ = limits;
  to_ = &to;
  head_items_.clear();
  open_members();
  const auto sequences = static_cast<std::int32_t>(work.sequences.size());
  for (std::int32_t b = 0; b < sequences; ++b) {
    if (prefixes.member(b) < 0) split_rows(b);
  }
  split_members();
  sort();
  split_above(limits.keys);
  const bool limited = limit_heads(limits.heads);
  close_members();
  if (limited || !to.splits.empty()) sort();
  emit();
}

void WorkSplitter::sort() {
  const auto order = [](const HeadItems& p) {
    return std::make_tuple(-p.urgency, p.item.sequence, p.first_head, p.last_head, p.heads,
                           p.item.row_begin, p.item.key_begin);
  };
  std::sort(head_items_.begin(), head_items_.end(),
            [&](const HeadItems& a, const HeadItems& b) { return order(a) < order(b); });
}

/// Adds the items of all heads.
void WorkSplitter::add_items(const PlannedItem& item) {
  const bool together = work_->item_heads > 1 && work_->cost.prefers_decode(item.rows);
  const auto all = static_cast<std::int32_t>(work_->kv_heads);
  const double most =
      std::min<double>(work_->item_heads, limits_.joined_heads / item.cost + kRounding);
  const std::int32_t heads = together && most >= 2 ? even(all, static_cast<std::int32_t>(most)) : 1;
  head_items_.push_back({item, heads, item.cost * heads, 0, all});
}

/// Gives items that cost more than the limit fewer heads. Returns whether there were any.
bool WorkSplitter::limit_heads(double limit) {
  bool limited = false;
  for (HeadItems& entry : head_items_) {
    if (entry.heads == 1 || entry.cost() <= limit) continue;
    const double part = entry.urgency / entry.heads;
    const auto most = static_cast<std::int32_t>(limit / entry.item.cost + kRounding);
    entry.heads = even(entry.last_head - entry.first_head, std::max(1, most));
    entry.urgency = part * entry.heads;
    limited = true;
  }
  return limited;
}

/// Divides a sequence's rows into items of equal numbers of vectors, or of blocks where there are
/// enough.
void WorkSplitter::split_rows(std::int32_t sequence) {
  const Visibility& s = work_->sequence(sequence);
  const std::int64_t lanes = work_->cost.lanes, rows = s.rows();
  if (rows == 0) return;
  const std::int64_t block = work_->block_rows;
  const std::int64_t most_rows = rows_per_item(s, scores_[index(sequence)]);
  std::int64_t unit = lanes, units = ceil_div(rows, lanes);
  std::int64_t count = ceil_div(units, ceil_div(most_rows, lanes));
  if (block > 0 && work_->item_rows % block == 0 && most_rows >= kBlocksToKeepWhole * block) {
    const std::int64_t blocks = ceil_div(rows, block), items = ceil_div(blocks, most_rows / block);
    if (blocks >= kBlocksToKeepWhole * items) unit = block, units = blocks, count = items;
  }
  for (std::int64_t i = 0; i < count; ++i) {
    const Range range{units * i / count * unit, std::min(rows, units * (i + 1) / count * unit)};
    PlannedItem item = make_item(sequence, range, s.of_rows(range));
    item.cost = cost_of(item);
    add_items(item);
  }
}

/// Rows of an item: as many as the caches hold, or as cost no more than the limit.
std::int64_t WorkSplitter::rows_per_item(const Visibility& s, std::int64_t scores) const {
  const CostModel& cost = work_->cost;
  const std::int64_t most = work_->item_rows;
  const double items = cost.attend(s.rows(), scores) / limits_.rows;
  const std::int64_t keys = s.uneven() ? scores / std::max<std::int64_t>(s.rows(), 1) + 1
                                       : std::min(s.keys, s.window_left + s.window_right + 1);
  if (items <= 1 || prefers_splits(s, items)) return most;
  const double vectors = std::floor(limits_.rows / cost.attend(cost.lanes, cost.lanes * keys));
  const double rows = std::max(cost.lanes * vectors, static_cast<double>(limits_.fewest_rows));
  return rows < static_cast<double>(most) ? static_cast<std::int64_t>(rows) : most;
}

/// Whether all rows of a sequence better stay together and its keys are split into `items` items,
/// so that each key and value is read once. The rows' states must be few and the keys many.
bool WorkSplitter::prefers_splits(const Visibility& s, double items) const {
  return s.rows() <= work_->item_rows && items * kPartitionKeys <= static_cast<double>(s.keys) &&
         work_->has_few_states(s.rows());
}

/// Empties the schedule, and makes the splits of members, in the order of their heads: those of a
/// group are neighbours. Their states may be a little more than their share, for partitions that
/// are not full.
void WorkSplitter::open_members() {
  const std::int32_t members = prefixes_->members();
  members_states_ = 0;
  to_->states.clear();
  to_->state_floats = 0;
  to_->item_rows = 0;
  to_->item_heads = 1;
  to_->splits.assign(static_cast<std::size_t>(members * work_->kv_heads), {});
  to_->sources.assign(static_cast<std::size_t>(members) * kMaxSources, {});
  double keys = 0, states = 0;
  for (std::int32_t b = 0; b < static_cast<std::int32_t>(work_->sequences.size()); ++b) {
    const Visibility& s = work_->sequence(b);
    if (s.rows() > 0) keys += static_cast<double>(s.keys);
    if (prefixes_->member(b) < 0) continue;
    PlannedSplit& split = split_of_member(b);
    split.sequence = b;
    split.rows = static_cast<std::int32_t>(s.rows());
    split.first_source = prefixes_->member(b) * kMaxSources;
    const std::int64_t partitions = s.keys / kPartitionKeys + 1;
    states += static_cast<double>(partitions) * static_cast<double>(work_->state_floats(s.rows()));
  }
  const double dims = work_->cost.head_dim + work_->cost.value_head_dim;
  room_ = static_cast<double>(work_->kv_heads) * (kStateShare * keys * dims - states);
}

/// Divides the keys of members from the first to the last, which is the order of their sources.
void WorkSplitter::split_members() {
  if (prefixes_->members() == 0) return;
  const auto for_each_member = [&](const auto& visit) {
    for (std::int32_t b = 0; b < static_cast<std::int32_t>(work_->sequences.size()); ++b) {
      const Visibility& s = work_->sequence(b);
      if (prefixes_->member(b) >= 0) visit(b, s.of_rows({0, s.rows()}), prefixes_->keys(b));
    }
  };
  for_each_member([&](std::int32_t b, const Range& seen, const Range& shared) {
    if (shared.first > 0) add_member(b, {seen.first, shared.first}, false);
  });
  for (const PrefixGroup& group : to_->groups) split_group(group);
  for_each_member([&](std::int32_t b, const Range& seen, const Range& shared) {
    add_member(b, {shared.last, seen.last}, true);
  });
  members_states_ = to_->states.size();
}

/// Divides a group into items of whole sequences.
void WorkSplitter::split_group(const PrefixGroup& group) {
  Visibility all{.queries = 0,
                 .keys = group.keys().last - group.keys().first,
                 .group = work_->sequence(group.first).group,
                 .window_left = kNoEnd,
                 .window_right = kNoEnd};
  for (std::int32_t b = group.first; b < group.last; ++b) {
    all.queries += work_->sequence(b).queries;
  }
  const std::int64_t most = rows_per_item(all, all.rows() * all.keys);
  std::int64_t rows = 0;
  std::int32_t first = group.first;
  for (std::int32_t b = group.first; b < group.last; ++b) {
    const std::int64_t more = work_->sequence(b).rows();
    if (rows > 0 && rows + more > most) {
      add_shared(first, b, rows, group.keys());
      first = b;
      rows = 0;
    }
    rows += more;
  }
  add_shared(first, group.last, rows, group.keys());
}

/// Adds an item for keys that a member reads by itself.
void WorkSplitter::add_member(std::int32_t sequence, const Range& keys, bool last) {
  PlannedItem item = make_item(sequence, {0, work_->sequence(sequence).rows()}, keys);
  item.cost = cost_of(item);
  add(item, last);
}

/// Adds an item for keys that sequences [first, last) read together.
void WorkSplitter::add_shared(std::int32_t first, std::int32_t last, std::int64_t rows,
                              const Range& keys) {
  PlannedItem item = make_item(first, {0, rows}, keys);
  item.sequences = last - first;
  item.cost = cost_of(item);
  add(item, false);
}

/// Adds an item of all rows of members. Only the sum of a row's first states, as far as its first
/// section goes, is a state on the way to that of all: sums are made from the first key to the
/// last.
void WorkSplitter::add(const PlannedItem& item, bool last) {
  const auto number = static_cast<std::int32_t>(to_->states.size());
  const Range partitions = partitions_of(item);
  PlannedStates states;
  states.rows = item.rows;
  states.first_partition = static_cast<std::int32_t>(partitions.first);
  states.partitions = static_cast<std::int32_t>(partitions.last - partitions.first);
  states.first = split_of_member(item.sequence).sources == 0;
  states.last = last;
  states.summed =
      states.first && item.sequences > 1 && states.partitions <= kernels::kSectionPartitions;
  to_->states.push_back(states);
  std::int32_t row = 0;
  for (std::int32_t b = item.sequence; b < item.sequence + item.sequences; ++b) {
    PlannedSplit& split = split_of_member(b);
    to_->sources[index(split.first_source + split.sources++)] = {number, row};
    row += split.rows;
  }
  add_items(item);
  head_items_.back().item.states = number;
  head_items_.back().item.split = prefixes_->member(item.sequence);
}

/// The split of the sequence's first KV head.
PlannedSplit& WorkSplitter::split_of_member(std::int32_t sequence) {
  return to_->splits[index(prefixes_->member(sequence))];
}

bool WorkSplitter::is_of_members(const PlannedItem& item) const {
  return item.states >= 0 && index(item.states) < members_states_;
}

/// Counts the items of members' splits, and fills in what depends on these numbers.
void WorkSplitter::close_members() {
  const std::int32_t members = prefixes_->members();
  if (members == 0) return;
  for (const HeadItems& entry : head_items_) {
    if (!is_of_members(entry.item)) continue;
    for (std::int32_t i = 0; i < entry.item.sequences; ++i) {
      ++to_->splits[index(entry.item.split + i)].items;
    }
  }
  for (std::int32_t m = 0; m < members; ++m) {
    PlannedSplit& split = to_->splits[index(m)];
    split.merge_cost = merge_cost(split);
    for (std::int32_t head = 1; head < work_->kv_heads; ++head) {
      PlannedSplit& other = to_->splits[index(head * members + m)];
      other = split;
      other.kv_head = head;
    }
  }
  for (HeadItems& entry : head_items_) {
    if (!is_of_members(entry.item)) continue;
    entry.urgency = entry.cost();
    for (std::int32_t i = 0; i < entry.item.sequences; ++i) {
      entry.urgency += entry.heads * to_->splits[index(entry.item.split + i)].merge_cost;
    }
  }
  place_states();
}

/// Places the states of members in memory.
void WorkSplitter::place_states() {
  for (std::size_t i = 0; i < members_states_; ++i) {
    PlannedStates& states = to_->states[i];
    states.begin = to_->state_floats;
    states.head_floats =
        work_->state_floats(states.rows) * index(states.summed ? 1 : states.partitions);
    to_->state_floats += states.head_floats * static_cast<std::size_t>(work_->kv_heads);
  }
}

double WorkSplitter::merge_cost(const PlannedSplit& split) const {
  std::int64_t states = 0;
  for (std::int32_t i = 0; i < split.sources; ++i) {
    const StateSource& source = to_->sources[index(split.first_source + i)];
    const PlannedStates& from = to_->states[index(source.states)];
    states += from.summed ? 1 : from.partitions;
  }
  return work_->cost.merge(split.rows, states);
}

/// Splits the keys of items above the limit, the longest first, while there is memory for states.
void WorkSplitter::split_above(double limit) {
  const std::size_t whole = head_items_.size();
  for (std::size_t i = 0; i < whole && head_items_[i].cost() > limit; ++i) {
    const PlannedItem& item = head_items_[i].item;
    const Range partitions = partitions_of(item);
    if (partitions.last - partitions.first < 2) continue;
    const double largest = limit / head_items_[i].cost();
    if (is_of_members(item)) {
      to_->states[index(item.states)].summed = false;
      split_item(i, partitions, largest);
    } else if (open_split(i, partitions)) {
      const auto first = static_cast<std::size_t>(head_items_[i].item.split);
      const std::int32_t items = split_item(i, partitions, largest);
      for (std::size_t s = first; s < to_->splits.size(); ++s) to_->splits[s].items = items;
    }
  }
}

/// Makes the splits of an item's heads, or of as many of them as there is room for states of: the
/// others become an entry of their own.
bool WorkSplitter::open_split(std::size_t position, const Range& partitions) {
  const PlannedItem item = head_items_[position].item;
  PlannedStates states;
  states.rows = item.rows;
  states.first_partition = static_cast<std::int32_t>(partitions.first);
  states.partitions =  // none reach 2³¹ keys
      static_cast<std::int32_t>(partitions.last - partitions.first);
  states.begin = to_->state_floats;
  states.head_floats = work_->state_floats(item.rows) * index(states.partitions);
  const std::int32_t heads = heads_with_room(states.head_floats);
  if (heads == 0) return false;
  if (heads < work_->kv_heads) {
    const HeadItems& all = head_items_[position];
    const std::int32_t others = even(all.last_head - heads, all.heads);
    head_items_.push_back({item, others, item.cost * others, heads, all.last_head});
  }
  head_items_[position].last_head = heads;
  head_items_[position].heads = even(heads, head_items_[position].heads);
  head_items_[position].item.states = static_cast<std::int32_t>(to_->states.size());
  head_items_[position].item.split = static_cast<std::int32_t>(to_->splits.size());
  PlannedSplit split;
  split.sequence = item.sequence;
  split.row_begin = item.row_begin;
  split.rows = item.rows;
  split.first_source = static_cast<std::int32_t>(to_->sources.size());
  split.sources = 1;
  split.merge_cost = work_->cost.merge(item.rows, states.partitions);
  to_->sources.push_back({head_items_[position].item.states, 0});
  to_->states.push_back(states);
  to_->state_floats += states.head_floats * index(heads);
  room_ -= static_cast<double>(states.head_floats) * heads;
  for (split.kv_head = 0; split.kv_head < heads; ++split.kv_head) to_->splits.push_back(split);
  return true;
}

/// The number of heads that there is room for, each with states of `state` floats.
std::int32_t WorkSplitter::heads_with_room(std::size_t state) const {
  const double room = std::floor(room_ / static_cast<double>(state));
  return static_cast<std::int32_t>(std::clamp(room, 0.0, static_cast<double>(work_->kv_heads)));
}

/// Splits the keys of an item over several, the first of which has the fraction `largest` of them
/// and each other one the same fraction of what is left (Polychronopoulos & Kuck 1987): the large
/// ones need few turns, the small ones even out their ends. Returns how many there are.
std::int32_t WorkSplitter::split_item(std::size_t position, const Range& partitions,
                                      double largest) {
  const HeadItems whole = head_items_[position];
  const double merging =
      is_of_members(whole.item) ? 0 : to_->splits[index(whole.item.split)].merge_cost;
  const auto count = static_cast<double>(partitions.last - partitions.first);
  const double smallest = std::max(1.0, largest * count / kLargestPerSmallest);
  weigh_partitions(whole.item, partitions);
  double left = count;
  std::int32_t items = 0;
  for (std::int64_t at = partitions.first; at < partitions.last; ++items) {
    const double size = std::floor(std::max(smallest, largest * left));
    const std::int64_t next = end_of_part(partitions, at, size);
    left -= weight_of(partitions, at, next);
    HeadItems split = whole;
    split.item = item_of_partitions(whole.item, {at, next});
    split.urgency = split.cost() + split.heads * merging;
    if (items == 0) {
      head_items_[position] = split;
    } else {
      head_items_.push_back(split);
    }
    at = next;
  }
  return items;
}

/// Finds what each partition of an item costs, the mean being 1, where they may differ much.
void WorkSplitter::weigh_partitions(const PlannedItem& item, const Range& partitions) {
  weights_.clear();
  if (item.sequences > 1 || !work_->sequence(item.sequence).uneven()) return;
  double sum = 0;
  for (std::int64_t p = partitions.first; p < partitions.last; ++p) {
    weights_.push_back(item_of_partitions(item, {p, p + 1}).cost);
    sum += weights_.back();
  }
  const double mean = sum / static_cast<double>(weights_.size());
  for (double& weight : weights_) weight /= mean;
}

/// The weights of partitions [first, last) of those that have been weighed.
double WorkSplitter::weight_of(const Range& all, std::int64_t first, std::int64_t last) const {
  if (weights_.empty()) return static_cast<double>(last - first);
  double sum = 0;
  for (std::int64_t p = first; p < last; ++p) {
    sum += weights_[static_cast<std::size_t>(p - all.first)];
  }
  return sum;
}

/// The end of a part of this weight, or of one partition more than fits.
std::int64_t WorkSplitter::end_of_part(const Range& all, std::int64_t begin, double weight) const {
  if (weights_.empty()) return std::min(all.last, begin + static_cast<std::int64_t>(weight));
  double sum = 0;
  std::int64_t end = begin;
  while (end < all.last && sum < weight - kRounding) {
    sum += weights_[static_cast<std::size_t>(end++ - all.first)];
  }
  return end;
}

/// The item against keys of these partitions only.
PlannedItem WorkSplitter::item_of_partitions(const PlannedItem& whole,
                                             const Range& partitions) const {
  PlannedItem item = whole;
  item.key_begin = static_cast<std::int32_t>(
      std::max<std::int64_t>(partitions.first * kPartitionKeys, whole.key_begin));
  item.key_end = static_cast<std::int32_t>(
      std::min<std::int64_t>(partitions.last * kPartitionKeys, whole.key_end));
  item.cost = cost_of(item);
  return item;
}

double WorkSplitter::cost_of(const PlannedItem& item) const {
  const Range keys{item.key_begin, item.key_end};
  if (item.sequences > 1) {
    return work_->cost.attend(item.rows, item.rows * (keys.last - keys.first));
  }
  const Range rows{item.row_begin, std::int64_t{item.row_begin} + item.rows};
  return work_->cost.attend(item.rows, work_->sequence(item.sequence).scores(rows, keys));
}

/// Writes the items of all heads. Where several of a sequence are as urgent, those of the same
/// heads come together: they share keys and values in the caches.
void WorkSplitter::emit() {
  to_->items.clear();
  longest_ = 0;
  for (std::size_t begin = 0, end = 0; begin < head_items_.size(); begin = end) {
    const HeadItems& first = head_items_[begin];
    const auto same = [&](const HeadItems& p) {
      return p.urgency == first.urgency && p.item.sequence == first.item.sequence &&
             p.first_head == first.first_head && p.last_head == first.last_head &&
             p.heads == first.heads;
    };
    for (; end < head_items_.size() && same(head_items_[end]); ++end) {
      to_->item_rows = std::max(to_->item_rows, head_items_[end].item.rows);
    }
    for (std::int32_t head = first.first_head; head < first.last_head;) {
      const std::int32_t heads = std::min(first.heads, first.last_head - head);
      for (std::size_t i = begin; i < end; ++i) emit(head_items_[i].item, head, heads);
      head += heads;
    }
  }
}

/// Writes an item of `heads` heads from `head` on.
void WorkSplitter::emit(const PlannedItem& of_head, std::int32_t head, std::int32_t heads) {
  PlannedItem& item = to_->items.emplace_back(of_head);
  item.kv_head = head;
  item.heads = heads;
  item.cost *= heads;
  item.decode = work_->cost.prefers_decode(item.rows);
  item.head_splits = is_of_members(item) ? prefixes_->members() : 1;
  if (item.split >= 0) item.split += head * item.head_splits;
  to_->item_heads = std::max(to_->item_heads, heads);
  longest_ = std::max(longest_, item.cost);
}

}  // namespace heed::detail
