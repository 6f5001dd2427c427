// How schedules cut rows and keys, and in what order items come.
#include "runtime/schedule/schedule.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "tests/schedule/batches.h"

namespace heed::tests {
namespace {

using detail::PlannedItem;
using detail::Schedule;
using detail::Visibility;
using detail::Work;

// Together they are read once, and what is left is a tenth of the work.
TEST(Schedule, PrefixesAreReadOnce) {
  BatchShape batch =
      llama("", std::vector<std::int64_t>(16, 1), std::vector<std::int64_t>(16, 4096));
  const Schedule apart = schedule_of(batch, 4);
  batch.shared.assign(16, 15);
  batch.shared[0] = 0;
  const Schedule together = schedule_of(batch, 4);
  EXPECT_EQ(together.groups.size(), 1U);
  EXPECT_EQ(together.visible_scores, apart.visible_scores);
  EXPECT_LT(together.total_cost, apart.total_cost / 3);
  for (const PlannedItem& i : together.items) {
    EXPECT_EQ(i.sequences, i.key_begin < 3840 ? 16 : 1);
  }
  for (const PlannedItem& i : schedule_of(batch, 32).items) {  // many workers split them, too
    EXPECT_EQ(i.sequences > 1, i.key_begin < 3840);
    EXPECT_LT(i.key_end - i.key_begin, 3840);
  }
}

// As measured: a block's lanes that have no row cost as much as others, transposes do once.
TEST(Schedule, TheCheaperKernelIsTaken) {
  const auto few = [](std::int32_t lanes, std::int64_t rows) {
    const detail::CostModel cost{lanes, 128, 128};
    return cost.prefers_decode(rows);
  };
  for (const auto& [lanes, most] : {std::pair{16, 8}, std::pair{8, 5}, std::pair{4, 2}}) {
    EXPECT_TRUE(few(lanes, 1));
    EXPECT_TRUE(few(lanes, most));
    EXPECT_FALSE(few(lanes, most + 1));
  }
  const Schedule mixed = schedule_of(llama("", {1, 300}, {500, 500}), 1);
  for (const PlannedItem& i : mixed.items) EXPECT_EQ(i.decode, i.sequence == 0);
}

// Of 64 rows 48 would fit a block; but then all keys would be read twice.
TEST(Schedule, KeysOfFewRowsAreSplitBeforeTheirRows) {
  const Schedule few = schedule_of(llama("", {16}, {100000}), 32);
  EXPECT_GT(few.splits.size(), 0U);
  for (const PlannedItem& i : few.items) EXPECT_EQ(i.rows, 64);
}

TEST(Schedule, RowsAreSpreadOverManyItems) {
  const Schedule schedule = schedule_of({"", 1, 1, 64, false, {1024}, {1024}}, 2);
  EXPECT_GE(schedule.items.size(), 16U);
}

// A narrow block costs more for each of its rows: only the last item of a sequence may end in one.
TEST(Schedule, LongItemsEndWhereBlocksDo) {
  for (const std::int32_t lanes : {4, 8, 16}) {
    const BatchShape batch{"", 4, 4, 64, false, {2048, 1000}, {2048, 1000}};
    const std::vector<Visibility> masks = batch.masks();
    Work work = work_on(batch, masks, lanes);
    const Schedule schedule = schedule_of(work);
    for (const PlannedItem& item : schedule.items) {
      const std::int64_t end = item.row_begin + item.rows;
      EXPECT_LE(item.rows, work.item_rows);
      if (end < masks[static_cast<std::size_t>(item.sequence)].rows()) {
        EXPECT_EQ(end % work.block_rows, 0) << lanes << " lanes, " << item.rows << " rows";
      }
    }
    EXPECT_EQ(schedule.items.size(), 4U * (6 + 3));
  }
}

// Items of few blocks could differ by a block of three, if they ended where blocks do.
TEST(Schedule, ItemsOfFewBlocksDifferByAVector) {
  const BatchShape batch{"", 1, 1, 64, false, {200}, {200}};
  const std::vector<Visibility> masks = batch.masks();
  Work work = work_on(batch, masks, 8);
  work.item_rows = 4 * work.block_rows;
  const Schedule schedule = schedule_of(work);
  ASSERT_EQ(schedule.items.size(), 3U);
  for (const PlannedItem& item : schedule.items) {
    EXPECT_GE(item.rows, 64);
    EXPECT_LE(item.rows, 72);
  }
}

// As many items as the caller's limit, in whole vectors, makes necessary, whatever the blocks.
TEST(Schedule, LimitsOfRowsCountVectors) {
  for (const std::int32_t limit : {24, 48, 97, 100, 120}) {
    const BatchShape batch{"", 4, 4, 64, false, {2048, 50, 120}, {2048, 50, 120}};
    const std::vector<Visibility> masks = batch.masks();
    Work work = work_on(batch, masks, 8);
    work.item_rows = limit;
    const Schedule schedule = schedule_of(work);
    const std::int32_t most = (limit + 7) / 8 * 8;
    std::size_t items = 0;
    for (const std::int64_t rows : batch.queries) {
      items += 4 * static_cast<std::size_t>((rows + most - 1) / most);
    }
    EXPECT_EQ(schedule.items.size(), items) << limit;
    for (const PlannedItem& item : schedule.items) {
      EXPECT_GT(item.rows, 0);
      EXPECT_LE(item.rows, most);
    }
  }
}

// Merging counts as a part of every part.
TEST(Schedule, TheLongestComeFirst) {
  for (const BatchShape& batch :
       {prompts("", {700, 100, 300}), llama("", {1, 1}, {100000, 5000}), shared_prefixes(4, 16)}) {
    const Schedule schedule = schedule_of(batch, 16);
    const auto length = [&](const PlannedItem& i) {
      double cost = i.cost;
      i.for_each_split([&](std::int32_t split) {
        cost += schedule.splits.at(static_cast<std::size_t>(split)).merge_cost;
      });
      return cost;
    };
    EXPECT_TRUE(std::ranges::is_sorted(schedule.items, std::greater(), length));
  }
}

TEST(Schedule, LittleWorkStaysOnTheCallingThread) {
  for (const std::int64_t keys : {100, 4000}) {
    const Schedule schedule = schedule_of({"", 1, 1, 64, false, {1}, {keys}}, 4);
    EXPECT_EQ(schedule.small, keys == 100);
    EXPECT_EQ(schedule.splits.empty(), keys == 100);
  }
}

}  // namespace
}  // namespace heed::tests
