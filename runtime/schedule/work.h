// What there is to schedule, and what becomes of it: items, longest first, and what is merged after
// them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "runtime/schedule/cost.h"
#include "runtime/schedule/visibility.h"

namespace heed::detail {

/// The states of items whose keys are split take at most this part of the memory of all keys and
/// values: those of a few rows take a hundredth of it, those of many rows could take more than all
/// of it.
inline constexpr double kStateShare = 0.25;

/// What there is to schedule.
struct Work {
  std::span<const Visibility> sequences;
  /// Partitions, the first ones, whose keys each sequence has in common with the one before it, and
  /// whose items may have the rows of both; the first entry is 0. Or empty: none.
  std::span<const std::int32_t> shared;
  std::int64_t kv_heads = 1;  ///< each does the same
  CostModel cost;
  std::int32_t block_rows = 0;  ///< of the widest block
  std::int32_t item_rows = 0;   ///< of an item at most
  /// KV heads that decode items had better have.
  std::int32_t item_heads = 1;
  /// Whether their rows lie in short pieces: then keys are split rather than that heads are read
  /// alone. Else several workers have items of several heads only where each has many items, and
  /// nobody waits for the last.
  bool short_pieces = false;
  int workers = 1;

  const Visibility& sequence(std::int32_t b) const {
    return sequences[static_cast<std::size_t>(b)];
  }
  /// Floats of the states of so many rows of one partition.
  std::size_t state_floats(std::int64_t rows) const {
    return kernels::state_floats(cost.value_head_dim, static_cast<std::int32_t>(rows));
  }
  /// Whether the states of so many rows take no more than their share of memory.
  bool has_few_states(std::int64_t rows) const {
    return static_cast<double>(state_floats(rows)) <=
           kStateShare * kernels::kPartitionKeys * (cost.head_dim + cost.value_head_dim);
  }
};

/// A work item: rows of one KV head, or of each of several, against a range of keys.
struct PlannedItem {
  std::int32_t sequence = 0, kv_head = 0;
  std::int32_t heads = 1;  ///< KV heads, from kv_head on; several only by the decode kernel
  /// Above 1: it has all rows of so many sequences from this one on, which all see all of these
  /// keys of the first one.
  std::int32_t sequences = 1;
  std::int32_t row_begin = 0, rows = 0;
  bool decode = false;  ///< by the decode kernel
  std::int32_t key_begin = 0, key_end = 0;
  std::int32_t states = -1;  ///< index into states, or −1: sees all its keys and writes outputs
  /// The split of its first sequence and head, or −1. Those of the other sequences follow, and
  /// those of the next head are head_splits further on.
  std::int32_t split = -1;
  std::int32_t head_splits = 1;
  double cost = 0;  ///< by CostModel

  /// Calls visit(split) for each of its splits.
  template <class Visit>
  void for_each_split(const Visit& visit) const {
    if (split < 0) return;
    for (std::int32_t h = 0; h < heads; ++h) {
      for (std::int32_t s = 0; s < sequences; ++s) visit(split + h * head_splits + s);
    }
  }
};

/// The partitions that hold an item's keys, of which there are some, or which begin with a
/// partition.
inline Range partitions_of(const PlannedItem& item) {
  return {item.key_begin / kernels::kPartitionKeys,
          (std::int64_t{item.key_end} + kernels::kPartitionKeys - 1) / kernels::kPartitionKeys};
}

/// Memory for the states of an item, or of the items that its keys were split into, for each of its
/// KV heads.
struct PlannedStates {
  std::size_t begin = 0;        ///< of the first head in the workspace's states, in floats
  std::size_t head_floats = 0;  ///< from one head to the next
  std::int32_t rows = 0;
  std::int32_t kv_head = 0;  ///< the first head
  std::int32_t first_partition = 0, partitions = 0;
  bool first = true, last = true;  ///< the rows see no key before them, after them
  bool summed = false;             ///< one state for each row, the sum of all partitions
};

/// Where a split finds states of its rows.
struct StateSource {
  std::int32_t states = 0;  ///< index into states
  std::int32_t row = 0;     ///< the first row's number there
};

/// Rows whose keys were split over several items; the last of these to finish merges.
struct PlannedSplit {
  std::int32_t sequence = 0, kv_head = 0;
  std::int32_t row_begin = 0, rows = 0;
  std::int32_t items = 0;
  std::int32_t first_source = 0, sources = 0;  ///< in the order of their keys
  double merge_cost = 0;
};

/// The sources of a split at most: those of kMaxPrefixes prefixes, one before and one after.
inline constexpr std::int32_t kMaxPrefixes = 8;
inline constexpr std::int32_t kMaxSources = kMaxPrefixes + 2;

/// Sequences [first, last) have the keys of these partitions in common, and read them together.
struct PrefixGroup {
  std::int32_t first, last;
  Range partitions;

  Range keys() const {
    return {partitions.first * kernels::kPartitionKeys, partitions.last * kernels::kPartitionKeys};
  }
};

struct Schedule {
  std::vector<PlannedItem> items;  ///< in the order in which workers take them
  std::vector<PlannedStates> states;
  std::vector<StateSource> sources;
  std::vector<PlannedSplit> splits;
  std::vector<PrefixGroup> groups;
  std::size_t state_floats = 0;  ///< that the splits need
  std::int32_t item_rows = 0;    ///< of the largest item
  std::int32_t item_heads = 1;   ///< of an item at most
  double total_cost = 0;         ///< of all rows, before any split
  /// That the masks leave, over all heads; at most the largest int64.
  std::int64_t visible_scores = 0;
  /// More workers than the calling one could not pay for their waking.
  bool small = false;

  /// The time that workers would need who never wait.
  double fair_share(int workers) const { return total_cost / workers; }
};

}  // namespace heed::detail
