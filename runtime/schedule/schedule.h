// Scheduling: from the lengths of a batch to items, longest first, for a number of workers. A pure
// function: of lengths, masks, workers and the cost model, not of tensors or of the machine.
#pragma once

#include <cstdint>

#include "runtime/schedule/prefixes.h"
#include "runtime/schedule/simulation.h"
#include "runtime/schedule/work.h"
#include "runtime/schedule/work_splitter.h"

namespace heed::detail {

/// Makes schedules, in memory that is used again.
class Scheduler {
 public:
  void schedule(const Work& work, Schedule& schedule);

 private:
  void find_totals();
  double cost_of(std::int32_t sequence, std::int64_t scores) const;
  void count_scores(std::int64_t scores);
  void search();
  double estimate(double share);
  void split(const Limits& limits);

  const Work* work_ = nullptr;
  Schedule* to_ = nullptr;
  std::vector<std::int64_t> scores_;  ///< of each sequence, for one KV head
  SharedPrefixes prefixes_;
  WorkSplitter splitter_;
  Simulation simulation_;
};

}  // namespace heed::detail
