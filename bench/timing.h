// Repeating a piece of work, and what its times say.
#pragma once

#include <cstdint>
#include <functional>

#include "heed/status.h"

namespace heed::bench {

struct Timing {
  double min_ms = 0, median_ms = 0;
  std::int64_t runs = 0;
};

/// Calls once(run), run = 0, 1, …: first untimed, for an eighth of `seconds` and at least once;
/// then timed one by one until `seconds` are over, at least 5 times, or 3 where 5 would take more
/// than 4 times as long as was asked for. Ends with the first Status that is not ok.
Status repeat(double seconds, const std::function<Status(std::int64_t run)>& once, Timing& timing);

}  // namespace heed::bench
