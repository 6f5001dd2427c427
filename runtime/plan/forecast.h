// What a plan costs: for those who ask, and for its description.
#pragma once

#include "heed/forecast.h"
#include "runtime/plan/plan_data.h"

namespace heed::detail {

Forecast forecast_of(const PlanData& plan);

}  // namespace heed::detail
