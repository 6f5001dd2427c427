#include "runtime/simulation.h"

#include <algorithm>
#include <tuple>

namespace heed::detail {

bool Simulation::completes_split(std::span<const PlannedItem> items, std::int64_t item) {
  if (item < 0) return false;
  const std::int32_t split = items[static_cast<std::size_t>(item)].split;
  return split >= 0 && --parts_left_[static_cast<std::size_t>(split)] == 0;
}

double Simulation::makespan(std::span<const PlannedItem> items,
                            std::span<const PlannedSplit> splits, int workers) {
  const auto later = [](const Worker& a, const Worker& b) {
    return std::tie(a.free_at, a.item) > std::tie(b.free_at, b.item);
  };
  parts_left_.clear();
  for (const PlannedSplit& split : splits) parts_left_.push_back(split.parts);
  workers_.assign(static_cast<std::size_t>(workers), {0, -1});  // equal ones are a heap
  std::size_t next = 0;
  double now = 0;
  while (!workers_.empty()) {
    std::pop_heap(workers_.begin(), workers_.end(), later);
    Worker& worker = workers_.back();
    now = worker.free_at;
    if (completes_split(items, worker.item)) {
      const std::int32_t split = items[static_cast<std::size_t>(worker.item)].split;
      worker = {now + splits[static_cast<std::size_t>(split)].merge_cost, -1};
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
