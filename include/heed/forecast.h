// What a plan will cost on its workers, by the estimates that it was cut by.
#pragma once

#include <cstdint>

#include "heed/attention.h"
#include "heed/export.h"
#include "heed/status.h"

namespace heed {

/// Costs are in multiply-adds of one lane, or what takes as long; only their ratios mean anything.
struct Forecast {
  std::int64_t items = 0;   ///< pieces of work that a worker takes as a whole
  std::int64_t splits = 0;  ///< ranges of keys whose parts are merged
  double work = 0;          ///< of all rows, if none were split
  double longest = 0;       ///< the most that one item costs
  /// When the last worker is done: each takes the next item when it is free, and whoever finishes
  /// the last part of a split merges it.
  double makespan = 0;
};

/// Simulates the workers of `plan`, which need not be there: plan_attention cuts work for any
/// number of them (PlanOptions::workers). Caches and memory that workers share are not part of the
/// estimate. Fails with invalid_argument where the plan is empty.
HEED_API Status forecast(const Plan& plan, Forecast& forecast) noexcept;

}  // namespace heed
