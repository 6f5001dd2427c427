// States that callers hand over.
#pragma once

#include <array>
#include <cstdint>

#include "heed/partial_states.h"
#include "runtime/base/regions.h"
#include "runtime/plan/plan_data.h"

namespace heed::detail {

/// The caller's name for states: "total", or with an index "shards[3]".
struct StatesName {
  const char* name;
  std::int64_t index = -1;
};

/// Whether states can hold the rows of a plan. Allocates only on failure.
Status check_states(const StatesName& name, const ConstPartialStates& states, const PlanData& plan);

/// Where m, l and o lie, of states that have passed check_states.
std::array<Region, 3> regions_of(const StatesName& name, const ConstPartialStates& states,
                                 const PlanData& plan);

}  // namespace heed::detail
