// Repeating a piece of work, and what its times say.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <vector>

#include "heed/status.h"

namespace heed::bench {

/// What runs and samples are timed by.
using Clock = std::chrono::steady_clock;

inline double seconds_between(Clock::time_point start, Clock::time_point end) {
  return std::chrono::duration<double>(end - start).count();
}

struct Timing {
  double min_ms = 0, median_ms = 0;
  std::int64_t runs = 0;
};

/// Runs of a piece of work, timed one by one.
class Repetition {
 public:
  /// Calls once(run), run = 0, 1, ….
  Repetition(double seconds, const std::function<Status(std::int64_t run)>& once)
      : seconds_(seconds), once_(once) {}

  /// Untimed runs, for an eighth of the time and at least once.
  Status warm_up();
  /// One more run, the time of which is kept.
  Status run();
  /// Whether runs have taken `seconds`, and are at least 5, or 3 where 5 would take more than 4
  /// times as long as was asked for.
  bool enough() const;
  /// Runs so far, untimed ones included.
  std::int64_t runs() const { return run_; }

  /// Of each timed run, in order, in seconds.
  const std::vector<double>& times() const { return times_; }
  Timing timing() const;

 private:
  double seconds_;
  const std::function<Status(std::int64_t run)>& once_;
  std::int64_t run_ = 0;
  double last_ = 0, spent_ = 0;
  std::size_t at_least_ = 5;
  std::vector<double> times_;
};

/// The middle of the numbers, of which there is one; where two are in the middle, halfway between.
double median(std::vector<double> numbers);

/// Warms up, then repeats until it is enough. Ends with the first Status that is not ok.
Status repeat(double seconds, const std::function<Status(std::int64_t run)>& once, Timing& timing);

}  // namespace heed::bench
