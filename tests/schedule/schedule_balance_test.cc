// How evenly schedules spread work over workers that are simulated, on machines with 1 to 128 of
// them.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <vector>

#include "kernels/interface.h"
#include "runtime/schedule/schedule.h"
#include "tests/schedule/batches.h"
#include "tests/support/attention_run.h"

namespace heed::tests {
namespace {

using detail::Range;
using detail::Schedule;
using detail::Scheduler;
using detail::Simulation;
using detail::Visibility;
using detail::Work;
using kernels::kPartitionKeys;

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
      const bool together = work.short_pieces && work.cost.prefers_decode(s.rows());
      const std::int64_t heads = together ? work.item_heads : 1;
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
  for (const BatchShape& batch : real_batches()) {
    const std::vector<Visibility> masks = batch.masks();
    for (const std::int32_t lanes : {16, 8}) {
      for (const std::int32_t item_heads : {1, 4, 8}) {
        Work work = work_on(batch, masks, lanes);
        work.item_heads = item_heads;
        work.short_pieces = item_heads == 8;
        const std::vector<double> pieces = pieces_of(work);
        const std::size_t most = std::min(kMostWorkers, pieces.size() / kPiecesPerWorker);
        const std::size_t step = thorough() ? 1 : 5;
        for (std::size_t workers = 1; workers <= most; workers += step) {
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
  for (const BatchShape& batch : real_batches()) {
    const std::vector<Visibility> masks = batch.masks();
    for (const int workers : {2, 4, 6, 8}) {
      Work work = work_on(batch, masks, 16);
      work.workers = workers;
      work.item_heads = workers > 4 ? 8 : 4;
      work.short_pieces = workers > 4;
      scheduler.schedule(work, schedule);
      if (schedule.small || pieces_of(work).size() < 20U * static_cast<unsigned>(workers)) continue;
      const double taken = Simulation().makespan(schedule.items, schedule.splits, workers);
      EXPECT_GE(schedule.fair_share(workers) / taken, 0.9) << batch.name << ", workers " << workers;
    }
  }
}

}  // namespace
}  // namespace heed::tests
