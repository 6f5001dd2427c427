// Items as they are planned, and how long workers would need for them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace heed::detail {

/// A work item: rows of one KV head of one sequence against a range of keys.
struct PlannedItem {
  std::int32_t sequence = 0, kv_head = 0;
  std::int32_t row_begin = 0, rows = 0;
  std::int32_t key_begin = 0, key_end = 0;
  std::int32_t split = -1;  ///< index into splits, or −1: sees all its keys
  double cost = 0;          ///< by CostModel
};

/// Rows whose keys were split over several items; the last of these to finish merges.
struct PlannedSplit {
  std::size_t states = 0;  ///< offset in the workspace's states, in floats
  std::int32_t parts = 0;
  std::int32_t first_partition = 0, partitions = 0;
  double merge_cost = 0;
};

/// Workers as runtime/run.cc has them: whoever is free takes the next item; the last to finish a
/// part of a split also merges. Everything takes as long as it costs.
class Simulation {
 public:
  /// When the last worker is done.
  double makespan(std::span<const PlannedItem> items, std::span<const PlannedSplit> splits,
                  int workers);

 private:
  struct Worker {
    double free_at;
    std::int64_t item;  ///< what it will then have done, or −1
  };
  bool completes_split(std::span<const PlannedItem> items, std::int64_t item);

  std::vector<Worker> workers_;           ///< a heap, the first to be free on top
  std::vector<std::int32_t> parts_left_;  ///< of each split
};

}  // namespace heed::detail
