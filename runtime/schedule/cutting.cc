#include "runtime/schedule/cutting.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>

namespace heed::detail {
namespace {

using kernels::kPartitionKeys;

/// The largest part of a split is so many times the smallest.
constexpr double kLargestPerSmallest = 8;

constexpr std::int64_t kNoEnd = std::numeric_limits<std::int32_t>::max();  ///< of a window

std::size_t index(std::int32_t i) { return static_cast<std::size_t>(i); }

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

void Cutter::cut(const Work& work, const SharedPrefixes& prefixes, const Limits& limits,
                 Schedule& to) {
  work_ = &work;
  prefixes_ = &prefixes;
  limits_ = limits;
  to_ = &to;
  pieces_.clear();
  open_members();
  const auto sequences = static_cast<std::int32_t>(work.sequences.size());
  for (std::int32_t b = 0; b < sequences; ++b) {
    if (prefixes.member(b) < 0) cut_rows(b);
  }
  cut_members();
  sort();
  split_above(limits.keys);
  close_members();
  if (!to.splits.empty()) sort();
  emit();
}

void Cutter::sort() {
  const auto order = [](const Piece& p) {
    return std::make_tuple(-p.urgency, p.item.sequence, p.first_head, p.last_head, p.item.row_begin,
                           p.item.key_begin);
  };
  std::sort(pieces_.begin(), pieces_.end(),
            [&](const Piece& a, const Piece& b) { return order(a) < order(b); });
}

/// Cuts a sequence's rows into items of equal numbers of vectors.
void Cutter::cut_rows(std::int32_t sequence) {
  const Visibility& s = work_->sequence(sequence);
  const std::int64_t lanes = work_->cost.lanes, rows = s.rows();
  if (rows == 0) return;
  const std::int64_t vectors = (rows + lanes - 1) / lanes;
  const std::int64_t most = (rows_per_item(s) + lanes - 1) / lanes;
  const std::int64_t count = (vectors + most - 1) / most;
  for (std::int64_t i = 0; i < count; ++i) {
    const Range range{vectors * i / count * lanes,
                      std::min(rows, vectors * (i + 1) / count * lanes)};
    PlannedItem item = make_item(sequence, range, s.of_rows(range));
    item.cost = cost_of(item);
    pieces_.push_back({item, item.cost, 0, static_cast<std::int32_t>(work_->kv_heads)});
  }
}

/// As many as the caches hold, or as cost no more than the limit.
std::int64_t Cutter::rows_per_item(const Visibility& s) const {
  const CostModel& cost = work_->cost;
  const std::int64_t most = work_->item_rows;
  const double parts = cost.attend(s.rows(), s.scores({0, s.rows()}, {0, s.keys})) / limits_.rows;
  if (parts <= 1 || prefers_splits(s, parts)) return most;
  const std::int64_t keys = std::min(s.keys, s.window_left + s.window_right + 1);
  const double vectors = std::floor(limits_.rows / cost.attend(cost.lanes, cost.lanes * keys));
  const double rows = std::max(cost.lanes * vectors, static_cast<double>(limits_.fewest_rows));
  return rows < static_cast<double>(most) ? static_cast<std::int64_t>(rows) : most;
}

/// Whether all rows of a sequence better stay together and its keys are split into so many parts:
/// each key and value is then read once. Their states must be few, the keys many.
bool Cutter::prefers_splits(const Visibility& s, double parts) const {
  return s.rows() <= work_->item_rows && parts * kPartitionKeys <= static_cast<double>(s.keys) &&
         work_->has_few_states(s.rows());
}

/// Empties the schedule, and makes the splits of members, in the order of their heads: those of a
/// group are neighbours. Their states may be a little more than their share, for partitions that
/// are not full.
void Cutter::open_members() {
  const std::int32_t members = prefixes_->members();
  members_states_ = 0;
  to_->states.clear();
  to_->state_floats = 0;
  to_->item_rows = 0;
  to_->splits.assign(static_cast<std::size_t>(members * work_->kv_heads), {});
  to_->sources.assign(static_cast<std::size_t>(members) * kMostSources, {});
  double keys = 0, states = 0;
  for (std::int32_t b = 0; b < static_cast<std::int32_t>(work_->sequences.size()); ++b) {
    const Visibility& s = work_->sequence(b);
    if (s.rows() > 0) keys += static_cast<double>(s.keys);
    if (prefixes_->member(b) < 0) continue;
    PlannedSplit& split = split_of_member(b);
    split.sequence = b;
    split.rows = static_cast<std::int32_t>(s.rows());
    split.first_source = prefixes_->member(b) * kMostSources;
    states += static_cast<double>((s.keys / kPartitionKeys + 1)) *
              static_cast<double>(work_->state_floats(s.rows()));
  }
  const double dims = work_->cost.head_dim + work_->cost.value_head_dim;
  room_ = static_cast<double>(work_->kv_heads) * (kStateShare * keys * dims - states);
}

/// Cuts the keys of members: from the first ones to the last, for so are their sources ordered.
void Cutter::cut_members() {
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
  for (const PrefixGroup& group : to_->groups) cut_group(group);
  for_each_member([&](std::int32_t b, const Range& seen, const Range& shared) {
    add_member(b, {shared.last, seen.last}, true);
  });
  members_states_ = to_->states.size();
}

/// Cuts a group into items of whole sequences.
void Cutter::cut_group(const PrefixGroup& group) {
  Visibility all{.queries = 0,
                 .keys = group.keys().last - group.keys().first,
                 .group = work_->sequence(group.first).group,
                 .window_left = kNoEnd,
                 .window_right = kNoEnd};
  for (std::int32_t b = group.first; b < group.last; ++b) {
    all.queries += work_->sequence(b).queries;
  }
  const std::int64_t most = rows_per_item(all);
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

/// What a member reads by itself.
void Cutter::add_member(std::int32_t sequence, const Range& keys, bool last) {
  PlannedItem item = make_item(sequence, {0, work_->sequence(sequence).rows()}, keys);
  item.cost = cost_of(item);
  add(item, last);
}

/// What sequences [first, last) read together.
void Cutter::add_shared(std::int32_t first, std::int32_t last, std::int64_t rows,
                        const Range& keys) {
  PlannedItem item = make_item(first, {0, rows}, keys);
  item.sequences = last - first;
  item.cost = cost_of(item);
  add(item, false);
}

/// An item of all rows of members. Only the sum of a row's first states, as far as its first
/// section goes, is a state on the way to that of all: sums are made from the first key to the
/// last.
void Cutter::add(const PlannedItem& item, bool last) {
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
  pieces_.push_back({item, item.cost, 0, static_cast<std::int32_t>(work_->kv_heads)});
  pieces_.back().item.states = number;
  pieces_.back().item.split = prefixes_->member(item.sequence);
}

/// That of the first head.
PlannedSplit& Cutter::split_of_member(std::int32_t sequence) {
  return to_->splits[index(prefixes_->member(sequence))];
}

bool Cutter::is_of_members(const PlannedItem& item) const {
  return item.states >= 0 && index(item.states) < members_states_;
}

/// Counts the parts of members, and fills in what depends on them.
void Cutter::close_members() {
  const std::int32_t members = prefixes_->members();
  if (members == 0) return;
  for (const Piece& piece : pieces_) {
    if (!is_of_members(piece.item)) continue;
    for (std::int32_t i = 0; i < piece.item.sequences; ++i) {
      ++to_->splits[index(piece.item.split + i)].parts;
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
  for (Piece& piece : pieces_) {
    if (!is_of_members(piece.item)) continue;
    piece.urgency = piece.item.cost;
    for (std::int32_t i = 0; i < piece.item.sequences; ++i) {
      piece.urgency += to_->splits[index(piece.item.split + i)].merge_cost;
    }
  }
  place_states();
}

/// Those of members.
void Cutter::place_states() {
  for (std::size_t i = 0; i < members_states_; ++i) {
    PlannedStates& states = to_->states[i];
    states.begin = to_->state_floats;
    states.head_floats =
        work_->state_floats(states.rows) * index(states.summed ? 1 : states.partitions);
    to_->state_floats += states.head_floats * static_cast<std::size_t>(work_->kv_heads);
  }
}

double Cutter::merge_cost(const PlannedSplit& split) const {
  std::int64_t states = 0;
  for (std::int32_t i = 0; i < split.sources; ++i) {
    const StateSource& source = to_->sources[index(split.first_source + i)];
    const PlannedStates& from = to_->states[index(source.states)];
    states += from.summed ? 1 : from.partitions;
  }
  return work_->cost.merge(split.rows, states);
}

/// Splits the keys of items above the limit, the longest first, while there is memory for states.
void Cutter::split_above(double limit) {
  const std::size_t whole = pieces_.size();
  for (std::size_t i = 0; i < whole && pieces_[i].item.cost > limit; ++i) {
    const PlannedItem& item = pieces_[i].item;
    const Range partitions = partitions_of(item);
    if (partitions.last - partitions.first < 2) continue;
    const double largest = limit / item.cost;
    if (is_of_members(item)) {
      to_->states[index(item.states)].summed = false;
      split_piece(i, partitions, largest);
    } else if (open_split(i, partitions)) {
      const auto first = static_cast<std::size_t>(pieces_[i].item.split);
      const std::int32_t parts = split_piece(i, partitions, largest);
      for (std::size_t s = first; s < to_->splits.size(); ++s) to_->splits[s].parts = parts;
    }
  }
}

/// Makes the splits of a piece's heads, or perhaps of some of them, whose states there is room for:
/// the others become a piece of their own.
bool Cutter::open_split(std::size_t piece, const Range& partitions) {
  const PlannedItem item = pieces_[piece].item;
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
    pieces_.push_back({item, item.cost, heads, pieces_[piece].last_head});
  }
  pieces_[piece].last_head = heads;
  pieces_[piece].item.states = static_cast<std::int32_t>(to_->states.size());
  pieces_[piece].item.split = static_cast<std::int32_t>(to_->splits.size());
  PlannedSplit split;
  split.sequence = item.sequence;
  split.row_begin = item.row_begin;
  split.rows = item.rows;
  split.first_source = static_cast<std::int32_t>(to_->sources.size());
  split.sources = 1;
  split.merge_cost = work_->cost.merge(item.rows, states.partitions);
  to_->sources.push_back({pieces_[piece].item.states, 0});
  to_->states.push_back(states);
  to_->state_floats += states.head_floats * index(heads);
  room_ -= static_cast<double>(states.head_floats) * heads;
  for (split.kv_head = 0; split.kv_head < heads; ++split.kv_head) to_->splits.push_back(split);
  return true;
}

/// For how many heads there is room for states of so many floats each.
std::int32_t Cutter::heads_with_room(std::size_t state) const {
  const double room = std::floor(room_ / static_cast<double>(state));
  return static_cast<std::int32_t>(std::clamp(room, 0.0, static_cast<double>(work_->kv_heads)));
}

/// Replaces a piece by its parts, the first of which is `largest` of it. Each of the others is as
/// large a part of what is left (Polychronopoulos & Kuck 1987): the large ones need few turns, the
/// small ones even out their ends. Returns how many there are.
std::int32_t Cutter::split_piece(std::size_t piece, const Range& partitions, double largest) {
  const Piece whole = pieces_[piece];
  const double merging =
      is_of_members(whole.item) ? 0 : to_->splits[index(whole.item.split)].merge_cost;
  const auto count = static_cast<double>(partitions.last - partitions.first);
  const double smallest = std::max(1.0, largest * count / kLargestPerSmallest);
  std::int32_t parts = 0;
  for (std::int64_t at = partitions.first; at < partitions.last; ++parts) {
    const double size = std::max(smallest, largest * static_cast<double>(partitions.last - at));
    const std::int64_t next = std::min(partitions.last, at + static_cast<std::int64_t>(size));
    Piece part = whole;
    part.item = part_of(whole.item, {at, next});
    part.urgency = part.item.cost + merging;
    if (parts == 0) {
      pieces_[piece] = part;
    } else {
      pieces_.push_back(part);
    }
    at = next;
  }
  return parts;
}

/// The item against keys of these partitions only.
PlannedItem Cutter::part_of(const PlannedItem& whole, const Range& partitions) const {
  PlannedItem part = whole;
  part.key_begin = static_cast<std::int32_t>(
      std::max<std::int64_t>(partitions.first * kPartitionKeys, whole.key_begin));
  part.key_end = static_cast<std::int32_t>(
      std::min<std::int64_t>(partitions.last * kPartitionKeys, whole.key_end));
  part.cost = cost_of(part);
  return part;
}

double Cutter::cost_of(const PlannedItem& item) const {
  const Range keys{item.key_begin, item.key_end};
  if (item.sequences > 1) {
    return work_->cost.attend(item.rows, item.rows * (keys.last - keys.first));
  }
  const Range rows{item.row_begin, std::int64_t{item.row_begin} + item.rows};
  return work_->cost.attend(item.rows, work_->sequence(item.sequence).scores(rows, keys));
}

/// Items of all heads. Where several of a sequence are as urgent, those of one head come together:
/// they share its keys and values in the caches.
void Cutter::emit() {
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
      to_->item_rows = std::max(to_->item_rows, pieces_[end].item.rows);
    }
    for (std::int32_t head = pieces_[begin].first_head; head < pieces_[begin].last_head; ++head) {
      for (std::size_t i = begin; i < end; ++i) {
        PlannedItem& item = to_->items.emplace_back(pieces_[i].item);
        item.kv_head = head;
        item.decode = work_->cost.prefers_decode(item.rows);
        const bool members = is_of_members(item);
        if (item.split >= 0) item.split += head * (members ? prefixes_->members() : 1);
      }
    }
  }
}

}  // namespace heed::detail
