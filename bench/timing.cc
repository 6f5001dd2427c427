#include "bench/timing.h"

#include <algorithm>
#include <chrono>

namespace heed::bench {
namespace {

double seconds_since(Clock::time_point start) { return seconds_between(start, Clock::now()); }

}  // namespace

double median(std::vector<double> numbers) {
  std::ranges::sort(numbers);
  const std::size_t middle = numbers.size() / 2;
  return numbers.size() % 2 == 1 ? numbers[middle] : (numbers[middle - 1] + numbers[middle]) / 2;
}

Status Repetition::warm_up() {
  const Clock::time_point start = Clock::now();
  do {
    const Clock::time_point begin = Clock::now();
    if (Status status = once_(run_++); !status) return status;
    last_ = seconds_since(begin);
  } while (seconds_since(start) < seconds_ / 8);
  at_least_ = 5 * last_ > 4 * seconds_ ? 3 : 5;
  return {};
}

Status Repetition::run() {
  const Clock::time_point start = Clock::now();
  Status status = once_(run_++);
  times_.push_back(seconds_since(start));
  spent_ += times_.back();
  return status;
}

bool Repetition::enough() const { return times_.size() >= at_least_ && spent_ >= seconds_; }

Timing Repetition::timing() const {
  return {1e3 * std::ranges::min(times_), 1e3 * median(times_), std::ssize(times_)};
}

Status repeat(double seconds, const std::function<Status(std::int64_t run)>& once, Timing& timing) {
  Repetition repetition(seconds, once);
  if (Status status = repetition.warm_up(); !status) return status;
  do {
    if (Status status = repetition.run(); !status) return status;
  } while (!repetition.enough());
  timing = repetition.timing();
  return {};
}

}  // namespace heed::bench
