#include "runtime/schedule/simulation.h"

#include <algorithm>
#include <tuple>

namespace heed::detail {

/// The cost of merging the splits of which the item is the last to finish.
double Simulation::merging_after(const PlannedItem& item, std::span<const PlannedSplit> splits) {
  double cost = 0;
  item.for_each_split([&](std::int32_t i) {
    const auto split = static_cast<std::size_t>(i);
    if (--items_left_[split] == 0) cost += splits[split].merge_cost;
  });
  return cost;
}

double Simulation::makespan(std::span<const PlannedItem> items,
                            std::span<const PlannedSplit> splits, int workers) {
  const auto later = [](const Worker& a, const Worker& b) {
    return std::tie(a.free_at, a.item) > std::tie(b.free_at, b.item);
  };
  items_left_.clear();
  for (const PlannedSplit& split : splits) items_left_.push_back(split.items);
  workers_.assign(static_cast<std::size_t>(workers), {0, -1});  // equal ones are a heap
  std::size_t next = 0;
  double now = 0;
  while (!workers_.empty()) {
    std::pop_heap(workers_.begin(), workers_.end(), later);
    Worker& worker = workers_.back();
    now = worker.free_at;
    const double merging =
        worker.item < 0 ? 0 : merging_after(items[static_cast<std::size_t>(worker.item)], splits);
    if (merging > 0) {
      worker = {now + merging, -1};
    } else if (next < items.size()) {
      worker = {now + items[next].cost, static_cast<std::int64_t>(next)};
      ++next;
    } else {
      workers_.pop_back();
      continue;
    }
    std::push_heap(workers_.begin(), workers_.end(), later);
  }
  return now;
}

}  // namespace heed::detail
