#include "runtime/plan/forecast.h"

#include <algorithm>
#include <iterator>

#include "runtime/base/float_environment.h"
#include "runtime/base/message.h"

namespace heed {

Forecast detail::forecast_of(const PlanData& plan) {
  const Schedule& schedule = plan.schedule;
  Forecast forecast;
  forecast.items = std::ssize(schedule.items);
  forecast.splits = std::ssize(schedule.splits);
  forecast.work = schedule.total_cost;
  for (const PlannedItem& item : schedule.items) {
    forecast.longest = std::max(forecast.longest, item.cost);
  }
  forecast.makespan = Simulation().makespan(schedule.items, schedule.splits, plan.shares);
  return forecast;
}

Status forecast(const Plan& plan, Forecast& forecast) noexcept {
  return detail::guarded([&]() -> Status {
    const detail::FloatEnvironment environment;  // a host's traps are not for figures
    if (plan.data() == nullptr) {
      return detail::invalid("the plan is empty: make it with plan_attention first");
    }
    forecast = detail::forecast_of(*plan.data());
    return {};
  });
}

}  // namespace heed
