// What simulations of schedules say, against ones by hand.
#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "runtime/schedule/schedule.h"

namespace heed::tests {
namespace {

using detail::PlannedItem;
using detail::PlannedSplit;
using detail::Simulation;

PlannedItem item(double cost, std::int32_t split = -1) {
  PlannedItem item;
  item.cost = cost;
  item.split = split;
  return item;
}

PlannedSplit split(std::int32_t parts, double merge_cost) {
  PlannedSplit split;
  split.items = parts;
  split.merge_cost = merge_cost;
  return split;
}

double makespan(const std::vector<PlannedItem>& items, const std::vector<PlannedSplit>& splits,
                int workers) {
  return Simulation().makespan(items, splits, workers);
}

TEST(Simulation, WhoeverIsFreeTakesTheNextItem) {
  const std::vector<PlannedItem> items = {item(5), item(4), item(3), item(3), item(1)};
  EXPECT_EQ(makespan(items, {}, 1), 16);
  EXPECT_EQ(makespan(items, {}, 2), 8);  // 5, 3 and 4, 3, 1
  EXPECT_EQ(makespan(items, {}, 3), 6);  // 5 and 4, 1 and 3, 3
  EXPECT_EQ(makespan(items, {}, 9), 5);
  EXPECT_EQ(makespan({}, {}, 3), 0);
}

TEST(Simulation, TheLastToFinishAPartMerges) {
  const std::vector<PlannedItem> items = {item(4, 0), item(2, 0), item(1)};
  EXPECT_EQ(makespan(items, {split(2, 10)}, 1), 17);
  EXPECT_EQ(makespan(items, {split(2, 10)}, 2), 14);
  EXPECT_EQ(makespan(items, {split(2, 10)}, 3), 14);
}

// Worker 1 merges from 2 to 5, so that worker 0 takes all else.
TEST(Simulation, WhoeverMergesTakesNoItemMeanwhile) {
  const std::vector<PlannedItem> items = {item(1, 0), item(2, 0), item(1), item(1), item(1)};
  EXPECT_EQ(makespan(items, {split(2, 3)}, 2), 5);
  EXPECT_EQ(makespan(items, {split(2, 0)}, 2), 3);
}

TEST(Simulation, SplitsAreMergedOneByOne) {
  const std::vector<PlannedItem> items = {item(1, 0), item(1, 1), item(1, 0), item(1, 1)};
  EXPECT_EQ(makespan(items, {split(2, 2), split(2, 5)}, 2), 7);
  EXPECT_EQ(makespan(items, {split(2, 2), split(2, 5)}, 1), 11);
}

}  // namespace
}  // namespace heed::tests
