#include "bench/timing.h"

#include <algorithm>
#include <chrono>
#include <vector>

namespace heed::bench {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double median_of(std::vector<double>& sorted) {
  const std::size_t middle = sorted.size() / 2;
  return sorted.size() % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

}  // namespace

Status repeat(double seconds, const std::function<Status(std::int64_t run)>& once, Timing& timing) {
  std::int64_t run = 0;
  double last = 0;
  const auto timed = [&]() -> Status {
    const Clock::time_point start = Clock::now();
    Status status = once(run++);
    last = seconds_since(start);
    return status;
  };
  const Clock::time_point warm_up = Clock::now();
  do {
    if (Status status = timed(); !status) return status;
  } while (seconds_since(warm_up) < seconds / 8);

  const std::size_t at_least = 5 * last > 4 * seconds ? 3 : 5;
  std::vector<double> times;
  const Clock::time_point start = Clock::now();
  do {
    if (Status status = timed(); !status) return status;
    times.push_back(last);
  } while (times.size() < at_least || seconds_since(start) < seconds);

  std::sort(times.begin(), times.end());
  timing = {1e3 * times.front(), 1e3 * median_of(times), static_cast<std::int64_t>(times.size())};
  return {};
}

}  // namespace heed::bench
