// That schedules leave nothing out and do nothing twice, and depend on their arguments alone.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "kernels/interface.h"
#include "runtime/schedule/schedule.h"
#include "tests/schedule/batches.h"

namespace heed::tests {
namespace {

using detail::PlannedItem;
using detail::PlannedSplit;
using detail::Range;
using detail::Schedule;
using detail::Scheduler;
using detail::Visibility;
using detail::Work;
using kernels::kPartitionKeys;

struct Coverage {
  Range rows;
  std::vector<Range> keys;
};

/// The items of each (sequence, KV head), by their first rows.
using Covered = std::map<std::tuple<std::int32_t, std::int32_t, std::int32_t>, Coverage>;

Covered covered_by(const Work& work, const Schedule& schedule) {
  Covered covered;
  for (const PlannedItem& i : schedule.items) {
    std::int64_t rows = 0;
    for (std::int32_t b = i.sequence; b < i.sequence + i.sequences; ++b) {
      for (std::int32_t head = i.kv_head; head < i.kv_head + i.heads; ++head) {
        Coverage& coverage = covered[{b, head, i.row_begin}];
        coverage.rows = {i.row_begin, i.row_begin + i.rows};
        if (i.sequences > 1) coverage.rows = {0, work.sequence(b).rows()};
        coverage.keys.push_back({i.key_begin, i.key_end});
        rows += coverage.rows.last - coverage.rows.first;
      }
    }
    EXPECT_EQ(rows, i.rows * i.heads);
  }
  return covered;
}

/// Fails unless the items of each head of each sequence are all of its rows, once, each against all
/// keys that it sees, with whole partitions for each part.
void expect_complete(const Work& work, const Schedule& schedule) {
  Covered covered = covered_by(work, schedule);
  for (std::size_t b = 0; b < work.sequences.size(); ++b) {
    const Visibility& s = work.sequences[b];
    for (std::int64_t head = 0; head < work.kv_heads; ++head) {
      for (std::int64_t row = 0; row < s.rows();) {
        const auto found =
            covered.extract({static_cast<std::int32_t>(b), static_cast<std::int32_t>(head),
                             static_cast<std::int32_t>(row)});
        ASSERT_FALSE(found.empty()) << "no item has row " << row << " of sequence " << b;
        Coverage& coverage = found.mapped();
        std::ranges::sort(coverage.keys, {},
                          [](const Range& r) { return std::pair(r.first, r.last); });
        ASSERT_EQ(coverage.keys.front().first, s.of_rows(coverage.rows).first);
        ASSERT_EQ(coverage.keys.back().last, s.of_rows(coverage.rows).last);
        for (std::size_t i = 1; i < coverage.keys.size(); ++i) {
          ASSERT_EQ(coverage.keys[i].first, coverage.keys[i - 1].last);
          ASSERT_EQ(coverage.keys[i].first % kPartitionKeys, 0);
        }
        row = coverage.rows.last;
      }
    }
  }
  EXPECT_TRUE(covered.empty());
}

/// Fails unless the splits count their parts.
void expect_parts_counted(const Schedule& schedule) {
  std::vector<std::int32_t> parts(schedule.splits.size());
  for (const PlannedItem& i : schedule.items) {
    EXPECT_EQ(i.split < 0, i.states < 0);
    std::int32_t n = 0;
    i.for_each_split([&](std::int32_t index) {
      const PlannedSplit& split = schedule.splits.at(static_cast<std::size_t>(index));
      ++parts[static_cast<std::size_t>(index)];
      EXPECT_EQ(split.sequence, i.sequence + n % i.sequences);
      EXPECT_EQ(split.kv_head, i.kv_head + n / i.sequences);
      EXPECT_EQ(split.row_begin, i.row_begin);
      ++n;
    });
  }
  for (std::size_t i = 0; i < parts.size(); ++i) EXPECT_EQ(parts[i], schedule.splits[i].items);
}

/// Fails unless a split finds the states of its rows in the order of their keys, none left out, and
/// sums come first.
void expect_sources_in_order(const Schedule& schedule) {
  for (const PlannedSplit& split : schedule.splits) {
    ASSERT_LE(split.sources, detail::kMaxSources);
    std::int32_t next = -1;
    for (std::int32_t i = 0; i < split.sources; ++i) {
      const detail::StateSource& source = schedule.sources.at(
          static_cast<std::size_t>(split.first_source) + static_cast<std::size_t>(i));
      const detail::PlannedStates& states =
          schedule.states.at(static_cast<std::size_t>(source.states));
      EXPECT_LE(source.row + split.rows, states.rows);
      EXPECT_EQ(states.first, i == 0);
      EXPECT_EQ(states.last, i == split.sources - 1);
      EXPECT_TRUE(i == 0 || states.first_partition == next);
      EXPECT_TRUE(i == 0 || !states.summed);
      next = states.first_partition + states.partitions;
    }
  }
}

/// Fails unless states lie by themselves, as many as their partitions are, within the memory that
/// they are allowed: of rows that share prefixes a partition more, which may not be full.
void expect_states_fit(const Work& work, const Schedule& schedule) {
  std::map<std::size_t, std::size_t> places;
  for (const PlannedItem& i : schedule.items) {
    if (i.states < 0) continue;
    const detail::PlannedStates& states = schedule.states.at(static_cast<std::size_t>(i.states));
    const auto count = static_cast<std::size_t>(states.summed ? 1 : states.partitions);
    for (std::int32_t head = i.kv_head; head < i.kv_head + i.heads; ++head) {
      const std::size_t begin = states.begin + static_cast<std::size_t>(head) * states.head_floats;
      places[begin] = std::max(
          places[begin], begin + count * kernels::state_floats(work.cost.value_head_dim, i.rows));
    }
    EXPECT_EQ(i.rows, states.rows);
    EXPECT_GE(i.key_begin, states.first_partition * kPartitionKeys);
    EXPECT_LE(i.key_end, (states.first_partition + states.partitions) * kPartitionKeys);
  }
  std::size_t end = 0;
  for (const auto& [begin, after] : places) {
    EXPECT_GE(begin, end);
    end = after;
  }
  EXPECT_LE(end, schedule.state_floats);
  double keys = 0;
  for (const Visibility& s : work.sequences) keys += static_cast<double>(s.keys);
  if (!work.shared.empty()) keys += static_cast<double>(work.sequences.size()) * kPartitionKeys;
  EXPECT_LE(static_cast<double>(end), 0.25 * keys * static_cast<double>(work.kv_heads) *
                                          (work.cost.head_dim + work.cost.value_head_dim));
}

TEST(Schedule, EveryRowMeetsItsKeysOnce) {
  Scheduler scheduler;  // used again for all, as plans do
  Schedule schedule;
  std::size_t splits = 0;
  for (const BatchShape& batch : real_batches()) {
    const std::vector<Visibility> masks = batch.masks();
    for (const std::int32_t lanes : {16, 8, 4}) {
      Work work = work_on(batch, masks, lanes);
      for (const int workers : {1, 2, 3, 16, 61, 128}) {
        for (const std::int32_t item_heads : {1, 4, 5, 8}) {
          SCOPED_TRACE(batch.name + ", lanes " + std::to_string(lanes) + ", workers " +
                       std::to_string(workers) + ", heads " + std::to_string(item_heads));
          work.workers = workers;
          work.item_heads = item_heads;
          work.short_pieces = item_heads > 4;
          scheduler.schedule(work, schedule);
          expect_complete(work, schedule);
          expect_parts_counted(schedule);
          expect_sources_in_order(schedule);
          expect_states_fit(work, schedule);
          splits += schedule.splits.size();
          if (HasFailure()) return;
        }
      }
    }
  }
  EXPECT_GT(splits, 0U);
}

TEST(Schedule, DependsOnNothingButItsArguments) {
  Scheduler used;
  Schedule a;
  for (const BatchShape& batch : real_batches()) {
    const std::vector<Visibility> masks = batch.masks();
    Work work = work_on(batch, masks, 16);
    work.workers = 24;
    work.item_heads = 4;
    used.schedule(work, a);
    const Schedule b = schedule_of(work);
    ASSERT_EQ(a.items.size(), b.items.size()) << batch.name;
    for (std::size_t i = 0; i < a.items.size(); ++i) {
      const auto all = [](const PlannedItem& item) {
        return std::tuple(item.kv_head, item.heads, item.row_begin, item.rows, item.key_begin,
                          item.key_end, item.split, item.cost);
      };
      EXPECT_EQ(all(a.items[i]), all(b.items[i]));
    }
  }
}

}  // namespace
}  // namespace heed::tests
