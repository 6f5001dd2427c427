// Splitting: from sequences to items of limited cost, in the order in which workers take them.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/schedule/prefixes.h"
#include "runtime/schedule/work.h"

namespace heed::detail {

/// What items may cost.
struct Limits {
  double rows;          ///< above it rows are spread over more items, down to the fewest
  double keys;          ///< above it the keys of an item are split
  double heads;         ///< above it items get fewer KV heads
  double joined_heads;  ///< above it heads that lie in long pieces are not joined to an item
  std::int64_t fewest_rows;
};

/// Fills a schedule's items, and what belongs to them.
///
/// The rows of a sequence are divided into items, and where need be the keys of an item are split.
/// A member of a group of sequences with a prefix in common is divided by its keys first: what it
/// reads in groups, before them and after them. All of its states come together in one split.
class WorkSplitter {
 public:
  /// `scores` are those of each sequence, for one KV head.
  void split(const Work& work, std::span<const std::int64_t> scores, const SharedPrefixes& prefixes,
             const Limits& limits, Schedule& to);

  /// The cost of the longest item.
  double longest() const { return longest_; }

 private:
  /// Items that differ in nothing but their KV heads.
  struct HeadItems {
    PlannedItem item;    ///< of one head; the split is that of the first one
    std::int32_t heads;  ///< that items have at most
    double urgency;      ///< the cost of an item and of the merges which must follow it
    std::int32_t first_head, last_head;

    double cost() const { return item.cost * heads; }
  };

  void sort();
  void add_items(const PlannedItem& item);
  bool limit_heads(double limit);
  void split_rows(std::int32_t sequence);
  std::int64_t rows_per_item(const Visibility& sequence, std::int64_t scores) const;
  bool prefers_splits(const Visibility& sequence, double items) const;

  void open_members();
  void split_members();
  void split_group(const PrefixGroup& group);
  void add_member(std::int32_t sequence, const Range& keys, bool last);
  void add_shared(std::int32_t first, std::int32_t last, std::int64_t rows, const Range& keys);
  void add(const PlannedItem& item, bool last);
  PlannedSplit& split_of_member(std::int32_t sequence);
  bool is_of_members(const PlannedItem& item) const;
  void close_members();
  void place_states();
  double merge_cost(const PlannedSplit& split) const;

  void split_above(double limit);
  bool open_split(std::size_t position, const Range& partitions);
  std::int32_t heads_with_room(std::size_t state) const;
  std::int32_t split_item(std::size_t position, const Range& partitions, double largest);
  void weigh_partitions(const PlannedItem& item, const Range& partitions);
  double weight_of(const Range& all, std::int64_t first, std::int64_t last) const;
  std::int64_t end_of_part(const Range& all, std::int64_t begin, double weight) const;
  PlannedItem item_of_partitions(const PlannedItem& whole, const Range& partitions) const;
  double cost_of(const PlannedItem& item) const;
  void emit();
  void emit(const PlannedItem& of_head, std::int32_t head, std::int32_t heads);

  const Work* work_ = nullptr;
  std::span<const std::int64_t> scores_;
  const SharedPrefixes* prefixes_ = nullptr;
  Limits limits_{};
  Schedule* to_ = nullptr;
  double room_ = 0;  ///< for states of rows that are not of members, in floats
  std::vector<HeadItems> head_items_;
  std::vector<double> weights_;     ///< of the partitions of the item that is being split
  std::size_t members_states_ = 0;  ///< of to_->states, the first ones
  double longest_ = 0;
};

}  // namespace heed::detail
