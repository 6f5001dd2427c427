// How long workers would need for a schedule.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/schedule/work.h"

namespace heed::detail {

/// Workers as runtime/run/run.cc has them: whoever is free takes the next item; the last to finish
/// a part of a split also merges. Everything takes as long as it costs.
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
  double merging_after(const PlannedItem& item, std::span<const PlannedSplit> splits);

  std::vector<Worker> workers_;           ///< a heap, the first to be free on top
  std::vector<std::int32_t> items_left_;  ///< of each split
};

}  // namespace heed::detail
