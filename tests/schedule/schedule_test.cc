// Schedules: that they leave nothing out, and how evenly they spread work over workers that are
// simulated, on machines with 1 to 128 of them.
#include "runtime/schedule/schedule.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "kernels/interface.h"
#include "tests/proof/inputs.h"

namespace heed::tests {
namespace {

using detail::PlannedItem;
using detail::PlannedSplit;
using detail::Range;
using detail::Schedule;
using detail::Scheduler;
using detail::Simulation;
using detail::Visibility;
using detail::Work;
using kernels::kPartitionKeys;
using proof::Random;

constexpr std::int64_t kAll = 0x7FFFFFFF;  ///< a window side without an end

/// What a batch asks for, on whatever kernels.
struct Batch {
  std::string name;
  std::int64_t query_heads, kv_heads;
  std::int32_t head_dim;
  bool causal;
  std::vector<std::int64_t> queries, keys;
  std::vector<std::int32_t> shared = {};  ///< partitions, as Work has them

  std::vector<Visibility> masks() const {
    std::vector<Visibility> masks;
    for (std::size_t b = 0; b < queries.size(); ++b) {
      masks.push_back({.queries = queries[b],
                       .keys = keys[b],
                       .group = query_heads / kv_heads,
                       .window_left = kAll,
                       .window_right = causal ? 0 : kAll});
    }
    return masks;
  }
};

/// The batch on kernels with so many lanes, for one worker; refers to both.
Work work_on(const Batch& batch, const std::vector<Visibility>& masks, std::int32_t lanes) {
  return {.sequences = masks,
          .shared = batch.shared,
          .kv_heads = batch.kv_heads,
          .cost = {lanes, batch.head_dim, batch.head_dim},
          .block_rows = 3 * lanes,
          .item_rows = 384};
}

Batch llama(std::string name, std::vector<std::int64_t> queries, std::vector<std::int64_t> keys) {
  return {std::move(name), 32, 8, 128, true, std::move(queries), std::move(keys)};
}

Batch prompts(std::string name, const std::vector<std::int64_t>& lengths) {
  return llama(std::move(name), lengths, lengths);
}

/// Tokens of so many sequences, with contexts of chance.
Batch decodes(std::size_t sequences) {
  Random random(sequences);
  std::vector<std::int64_t> keys(sequences);
  for (std::int64_t& length : keys) length = 1 + random.below(8192);
  return llama("decode of " + std::to_string(sequences), std::vector<std::int64_t>(sequences, 1),
               keys);
}

/// Answers to so many questions about some long texts, after a common introduction.
Batch shared_prefixes(std::int32_t texts, std::int32_t questions) {
  Random random(7);
  Batch batch =
      llama(std::to_string(texts) + " texts, " + std::to_string(questions) + " questions", {}, {});
  for (std::int32_t text = 0; text < texts; ++text) {
    const std::int64_t length = 512 + 256 * (1 + random.below(12));
    for (std::int32_t question = 0; question < questions; ++question) {
      batch.queries.push_back(1 + random.below(3));
      batch.keys.push_back(length + 20 + random.below(900));
      batch.shared.push_back(static_cast<std::int32_t>(question > 0 ? length / 256 : 2));
    }
  }
  batch.shared[0] = 0;
  return batch;
}

std::vector<Batch> real_batches() {
  const std::vector<std::int64_t> documents = {47, 64,  96,  640, 256, 1024, 128, 180,
                                               32, 900, 333, 777, 512, 111,  384, 200};
  std::vector<Batch> batches = {
      {"documents", 12, 12, 64, false, documents, documents},
      prompts("ragged prompts", documents),
      llama("one long decode", {1}, {131072}),
      llama("decode", {1}, {4096}),
      llama("speculation", {8}, {4096}),
      llama("step", {256, 256, 1, 1, 1, 1, 1, 1}, {1024, 1792, 512, 4096, 700, 900, 3000, 640}),
      llama("chunk beside a long decode", {512, 1, 1, 1}, {8192, 100000, 300, 5000}),
      {"encoder of 512", 12, 12, 64, false, {512}, {512}},
      {"encoder of 1024", 12, 12, 64, false, {1024}, {1024}},
      {"encoder of 2048", 16, 16, 64, false, {2048}, {2048}},
  };
  for (const std::int64_t length : {512, 1024, 2048, 4096, 32768}) {
    batches.push_back(prompts("prompt of " + std::to_string(length), {length}));
  }
  for (const std::size_t n : {1, 2, 3, 5, 8, 13, 16, 32, 64, 100, 128, 256}) {
    batches.push_back(decodes(n));
  }
  batches.push_back(shared_prefixes(1, 64));
  batches.push_back(shared_prefixes(4, 16));
  batches.push_back(shared_prefixes(20, 3));
  return batches;
}

// Simulation, by hand.

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

// Completeness.

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
  for (const Batch& batch : real_batches()) {
    const std::vector<Visibility> masks = batch.masks();
    for (const std::int32_t lanes : {16, 8, 4}) {
      Work work = work_on(batch, masks, lanes);
      for (const int workers : {1, 2, 3, 16, 61, 128}) {
        for (const std::int32_t item_heads : {1, 5, 8}) {
          SCOPED_TRACE(batch.name + ", lanes " + std::to_string(lanes) + ", workers " +
                       std::to_string(workers) + ", heads " + std::to_string(item_heads));
          work.workers = workers;
          work.item_heads = item_heads;
          work.short_pieces = item_heads == 8;
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
  Schedule a, b;
  for (const Batch& batch : real_batches()) {
    const std::vector<Visibility> masks = batch.masks();
    Work work = work_on(batch, masks, 16);
    work.workers = 24;
    used.schedule(work, a);
    Scheduler().schedule(work, b);
    ASSERT_EQ(a.items.size(), b.items.size()) << batch.name;
    for (std::size_t i = 0; i < a.items.size(); ++i) {
      EXPECT_EQ(a.items[i].kv_head, b.items[i].kv_head);
      EXPECT_EQ(a.items[i].row_begin, b.items[i].row_begin);
      EXPECT_EQ(a.items[i].key_begin, b.items[i].key_begin);
      EXPECT_EQ(a.items[i].cost, b.items[i].cost);
    }
  }
}

/// The schedule of a batch on AVX-512 for so many workers.
Schedule schedule_of(const Batch& batch, int workers) {
  const std::vector<Visibility> masks = batch.masks();
  Work work = work_on(batch, masks, 16);
  work.workers = workers;
  Schedule schedule;
  Scheduler().schedule(work, schedule);
  return schedule;
}

// Together they are read once, and what is left is a tenth of the work.
TEST(Schedule, PrefixesAreReadOnce) {
  Batch batch = llama("", std::vector<std::int64_t>(16, 1), std::vector<std::int64_t>(16, 4096));
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
    const Batch batch{"", 4, 4, 64, false, {2048, 1000}, {2048, 1000}};
    const std::vector<Visibility> masks = batch.masks();
    Work work = work_on(batch, masks, lanes);
    work.workers = 1;
    Schedule schedule;
    Scheduler().schedule(work, schedule);
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

// As many items as the caller's limit, in whole vectors, makes necessary, whatever the blocks.
TEST(Schedule, LimitsOfRowsCountVectors) {
  for (const std::int32_t limit : {24, 48, 97, 100, 120}) {
    const Batch batch{"", 4, 4, 64, false, {2048, 50, 120}, {2048, 50, 120}};
    const std::vector<Visibility> masks = batch.masks();
    Work work = work_on(batch, masks, 8);
    work.workers = 1;
    work.item_rows = limit;
    Schedule schedule;
    Scheduler().schedule(work, schedule);
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

TEST(Schedule, ItemsOfOneHeadComeTogether) {
  const Schedule schedule = schedule_of({"", 12, 12, 64, false, {768}, {768}}, 2);
  ASSERT_EQ(schedule.items.size(), 24U);
  for (std::size_t i = 0; i < schedule.items.size(); ++i) {
    EXPECT_EQ(schedule.items[i].kv_head, static_cast<int>(i / 2));
  }
}

/// The schedule of a batch whose heads had better be read together, on AVX-512: eight where they
/// lie in short pieces, else four.
Schedule together(const Batch& batch, int workers, bool short_pieces = true) {
  const std::vector<Visibility> masks = batch.masks();
  Work work = work_on(batch, masks, 16);
  work.workers = workers;
  work.item_heads = short_pieces ? 8 : 4;
  work.short_pieces = short_pieces;
  Schedule schedule;
  Scheduler().schedule(work, schedule);
  return schedule;
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

// Merging counts as a part of every part.
TEST(Schedule, TheLongestComeFirst) {
  for (const Batch& batch :
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

// Balance. Work comes in pieces that no schedule cuts: two vectors of rows (fewer where there are
// no more) of a KV head, or of those that are read together, against one partition of keys, whole
// or not. Where each worker has four of them or more, a run takes no longer than the ideal by more
// than a ninth, merges included. The ideal is the fair share of a worker (all cost by the number of
// workers), or what some worker needs who must do as many whole pieces: 129 equal ones take 64
// workers three rounds.

/// The costs of a batch's pieces, the costliest first.
std::vector<double> pieces_of(const Work& work) {
  std::vector<double> pieces;
  const std::int64_t height = 2 * std::int64_t{work.cost.lanes};
  for (const Visibility& s : work.sequences) {
    for (std::int64_t row = 0; row < s.rows(); row += height) {
      const Range rows{row, std::min(row + height, s.rows())}, keys = s.of_rows(rows);
      const std::int64_t count = rows.last - rows.first;
      const std::int64_t partitions =
          (keys.last + kPartitionKeys - 1) / kPartitionKeys - keys.first / kPartitionKeys;
      const double cost = work.cost.attend(count, count * kPartitionKeys);
      const std::int64_t heads = work.cost.prefers_decode(s.rows()) ? work.item_heads : 1;
      for (std::int64_t head = 0; head < work.kv_heads; head += heads) {
        pieces.insert(pieces.end(), static_cast<std::size_t>(partitions),
                      cost * static_cast<double>(std::min(heads, work.kv_heads - head)));
      }
    }
  }
  std::ranges::sort(pieces, std::greater());
  return pieces;
}

/// Among the k · workers + 1 costliest pieces, some worker has k + 1.
double ideal(const Schedule& schedule, const std::vector<double>& pieces, std::size_t workers) {
  double longest = schedule.fair_share(static_cast<int>(workers));
  constexpr std::size_t kRounds = 20;  // beyond them one more hardly matters
  for (std::size_t k = 1; k <= kRounds && k * workers < pieces.size(); ++k) {
    double sum = 0;
    for (std::size_t i = 0; i <= k; ++i) sum += pieces[k * workers - i];
    longest = std::max(longest, sum);
  }
  return longest;
}

TEST(Schedule, NobodyWaitsLong) {
  constexpr std::size_t kPiecesPerWorker = 4, kMostWorkers = 128;
  Scheduler scheduler;
  Schedule schedule;
  for (const Batch& batch : real_batches()) {
    const std::vector<Visibility> masks = batch.masks();
    for (const std::int32_t lanes : {16, 8}) {
      for (const std::int32_t item_heads : {1, 8}) {
        Work work = work_on(batch, masks, lanes);
        work.item_heads = item_heads;
        work.short_pieces = true;
        const std::vector<double> pieces = pieces_of(work);
        const std::size_t most = std::min(kMostWorkers, pieces.size() / kPiecesPerWorker);
        for (std::size_t workers = 1; workers <= most; ++workers) {
          work.workers = static_cast<int>(workers);
          scheduler.schedule(work, schedule);
          if (schedule.small) continue;
          const double taken = Simulation().makespan(schedule.items, schedule.splits, work.workers);
          EXPECT_GE(ideal(schedule, pieces, workers) / taken, 0.9)
              << batch.name << ", lanes " << lanes << ", heads " << item_heads << ", workers "
              << workers;
        }
      }
    }
  }
}

// With many pieces per worker rounding does not matter, and the fair share itself is the ideal.
TEST(Schedule, NobodyWaitsLongOnTheMachinesThatThereAre) {
  Scheduler scheduler;
  Schedule schedule;
  for (const Batch& batch : real_batches()) {
    const std::vector<Visibility> masks = batch.masks();
    for (const int workers : {2, 4, 6, 8}) {
      Work work = work_on(batch, masks, 16);
      work.workers = workers;
      work.item_heads = workers > 4 ? 8 : 1;
      work.short_pieces = true;
      scheduler.schedule(work, schedule);
      if (schedule.small || pieces_of(work).size() < 20U * static_cast<unsigned>(workers)) continue;
      const double taken = Simulation().makespan(schedule.items, schedule.splits, workers);
      EXPECT_GE(schedule.fair_share(workers) / taken, 0.9) << batch.name << ", workers " << workers;
    }
  }
}

}  // namespace
}  // namespace heed::tests
