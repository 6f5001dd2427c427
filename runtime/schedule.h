// Scheduling: from the lengths of a batch to items, longest first, for a number of workers. A pure
// function: of lengths, masks, workers and the cost model, not of tensors or of the machine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "runtime/cost.h"
#include "runtime/simulation.h"
#include "runtime/visibility.h"

namespace heed::detail {

/// What there is to schedule.
struct Work {
  std::span<const Visibility> sequences;
  std::int64_t kv_heads = 1;  ///< each does the same
  CostModel cost;
  std::int32_t block_rows = 0;  ///< of the widest block
  std::int32_t item_rows = 0;   ///< of an item at most
  int workers = 1;
};

struct Schedule {
  std::vector<PlannedItem> items;  ///< in the order in which workers take them
  std::vector<PlannedSplit> splits;
  std::size_t state_floats = 0;  ///< that the splits need
  std::int32_t item_rows = 0;    ///< of the largest item
  double total_cost = 0;         ///< of all rows, before any split
  /// That the masks leave, over all heads; at most the largest int64.
  std::int64_t visible_scores = 0;
  /// More workers than the calling one could not pay for their waking.
  bool small = false;

  /// The time that workers would need who never wait.
  double fair_share(int workers) const { return total_cost / workers; }
};

/// Makes schedules, in memory that is used again.
class Scheduler {
 public:
  void schedule(const Work& work, Schedule& schedule);

 private:
  /// What items may cost.
  struct Limits {
    double rows;  ///< above it rows are spread over more items, down to the fewest
    double keys;  ///< above it the keys of an item are split
    std::int64_t fewest_rows;
  };
  /// Items that differ in nothing but their KV heads.
  struct Piece {
    PlannedItem item;  ///< the split is that of the first head
    double urgency;    ///< from its start to the end of what must follow it
    std::int32_t first_head, last_head;
  };

  void find_totals();
  void count_scores(std::int64_t scores);
  void search();
  double estimate(double share);
  void build(const Limits& limits);
  void sort();
  void cut(std::int32_t sequence, const Limits& limits);
  std::int64_t rows_per_item(const Visibility& sequence, const Limits& limits) const;
  bool prefers_splits(const Visibility& sequence, double parts) const;
  void split_above(double limit);
  std::int32_t heads_with_room(std::size_t state) const;
  void split_piece(std::size_t piece, PlannedSplit& split, double largest);
  PlannedItem part_of(const PlannedItem& whole, const Range& partitions) const;
  void emit();

  const Work* work_ = nullptr;
  Schedule* to_ = nullptr;
  double most_states_ = 0;  ///< floats
  std::vector<Piece> pieces_;
  double longest_ = 0;  ///< cost of the longest item built
  Simulation simulation_;
};

}  // namespace heed::detail
