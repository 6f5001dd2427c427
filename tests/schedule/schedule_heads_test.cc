// Which KV heads the items of schedules have.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "runtime/schedule/schedule.h"
#include "tests/schedule/batches.h"

namespace heed::tests {
namespace {

using detail::PlannedItem;
using detail::Schedule;
using detail::Visibility;
using detail::Work;

TEST(Schedule, ItemsOfOneHeadComeTogether) {
  const Schedule schedule = schedule_of({"", 12, 12, 64, false, {768}, {768}}, 2);
  ASSERT_EQ(schedule.items.size(), 24U);
  for (std::size_t i = 0; i < schedule.items.size(); ++i) {
    EXPECT_EQ(schedule.items[i].kv_head, static_cast<int>(i / 2));
  }
}

/// The schedule of a batch whose heads had better be read together, on AVX-512: eight where they
/// lie in short pieces, else four.
Schedule together(const BatchShape& batch, int workers, bool short_pieces = true) {
  const std::vector<Visibility> masks = batch.masks();
  Work work = work_on(batch, masks, 16);
  work.workers = workers;
  work.item_heads = short_pieces ? 8 : 4;
  work.short_pieces = short_pieces;
  return schedule_of(work);
}

TEST(Schedule, DecodeItemsHaveSeveralHeads) {
  const Schedule decode = together(decodes(8), 1);
  double cost = 0;
  for (const PlannedItem& i : decode.items) {
    EXPECT_EQ(i.heads, 8);
    cost += i.cost;
  }
  EXPECT_NEAR(cost, decode.total_cost, 1e-9 * cost);
  const Schedule mixed = together(llama("", {300, 1}, {500, 500}), 1);
  for (const PlannedItem& i : mixed.items) EXPECT_EQ(i.heads, i.decode ? 8 : 1);
  EXPECT_EQ(mixed.item_heads, 8);
}

// Four of eight heads in long pieces are an item where that is a quarter of a worker's share.
TEST(Schedule, HeadsInLongPiecesAreJoinedWhereThereAreManyItems) {
  const auto heads = [](std::size_t sequences, int workers) {
    const std::vector<std::int64_t> queries(sequences, 1), keys(sequences, 4096);
    const Schedule schedule = together(llama("", queries, keys), workers, false);
    EXPECT_TRUE(schedule.splits.empty());
    for (const PlannedItem& i : schedule.items) EXPECT_EQ(i.heads, schedule.items[0].heads);
    return schedule.items[0].heads;
  };
  EXPECT_EQ(heads(1, 1), 4);
  EXPECT_EQ(heads(1, 2), 1);
  EXPECT_EQ(heads(2, 2), 2);
  EXPECT_EQ(heads(8, 2), 4);
  EXPECT_EQ(heads(8, 4), 4);
  EXPECT_EQ(heads(8, 8), 2);
  EXPECT_EQ(heads(8, 16), 1);
  EXPECT_EQ(heads(3, 2), 1);  // of 3, 3 and 2 heads one worker would have 13
  EXPECT_EQ(heads(9, 8), 1);  // and of 2 heads 10, where 9 are its share
}

// More heads than 32 bits can square.
TEST(Schedule, ManyHeads) {
  for (const std::int64_t heads : {std::int64_t{65536}, std::int64_t{1} << 18}) {
    const Schedule schedule = together({"", heads, heads, 1, false, {1}, {3}}, 3);
    std::int64_t next = 0;
    std::vector<PlannedItem> items = schedule.items;
    std::ranges::sort(items, {}, &PlannedItem::kv_head);
    for (const PlannedItem& i : items) {
      ASSERT_EQ(i.kv_head, next);
      next += i.heads;
    }
    EXPECT_EQ(next, heads);
  }
}

// Two workers have half of the heads each; sixteen split the keys, and still read heads together.
TEST(Schedule, KeysAreSplitBeforeHeadsAreSingle) {
  const Schedule two = together(llama("", {1}, {4096}), 2);
  ASSERT_EQ(two.items.size(), 2U);
  for (const PlannedItem& i : two.items) EXPECT_EQ(i.heads, 4);
  EXPECT_TRUE(two.splits.empty());
  const Schedule sixteen = together(llama("", {1}, {4096}), 16);
  for (const PlannedItem& i : sixteen.items) EXPECT_GE(i.heads, 2);
  EXPECT_EQ(sixteen.splits.size(), 8U);
}

}  // namespace
}  // namespace heed::tests
