// A workload and the limits of the machine, measured in turn, so that both see the same minutes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bench/limits.h"
#include "bench/timing.h"
#include "heed/status.h"

namespace heed::bench {

/// Which limits a workload is compared with.
struct LimitsWanted {
  std::string_view isa = {};  ///< resolved
  int threads = 1;
  bool pairs = false;                  ///< arithmetic is that of products of bf16
  std::span<const float> memory = {};  ///< to be read
  std::span<float> copied = {};        ///< to be copied from half to half; empty: no copies
  Residence residence = Residence::memory;
};

/// The limits at one moment.
struct LimitSample {
  LimitRate peak = {}, tile = {};  ///< 10⁹ operations per second
  LimitRate read = {}, copy = {};  ///< 10⁹ bytes per second; copy: 0 where nothing is copied
  double cores = 0;  ///< what all threads reached of the peak, by the clock, by that of one
};

/// Some runs between two samples of the limits.
struct Slice {
  std::int64_t runs = 0;
  double seconds = 0;  ///< of the runs, by the clock
  double lost = 0;     ///< the part of the threads' time in which others had their CPUs
};

/// A figure without what others took, and the part that they took.
struct Disturbed {
  double value, lost;
};

/// The median of the figures of which others took at most 2%; where these are fewer than 3, or than
/// an eighth of all, of the quietest so many.
double quiet_median(std::vector<Disturbed> figures);

/// What was measured: slices[i] between limits[i] and limits[i + 1].
struct Measurement {
  Timing timing;
  std::vector<double> samples_ms;  ///< of each run, by the clock
  std::vector<LimitSample> limits;
  std::vector<Slice> slices;
  double run_ms = 0;     ///< of a run that others do not disturb
  bool counted = false;  ///< whether the system counts lost time

  /// What a run does, in 10⁹ operations or bytes, by run_ms, as a percentage of a limit.
  double percent_of(double work, LimitRate LimitSample::*limit) const;
  /// A limit where others do not disturb.
  double limit_of(LimitRate LimitSample::*limit) const;
  /// How far apart samples of a limit lie, without what others took: 1 − smallest / largest.
  double spread_of(LimitRate LimitSample::*limit) const;
  /// The median of all samples.
  double cores() const;
  /// The part of the time of all runs in which others had the threads' CPUs.
  double lost() const;
  /// What disturbed it, in words; empty where nothing did.
  std::string disturbance(int threads) const;
};

/// Warms up, then alternates samples of limits with runs, for `seconds` of runs. `place` says where
/// in wanted.memory run number n works, in floats: bandwidths are sampled as far from there as
/// possible.
Status measure_beside(double seconds, const LimitsWanted& wanted,
                      const std::function<Status(std::int64_t run)>& once,
                      const std::function<std::size_t(std::int64_t run)>& place,
                      Measurement& measurement);

}  // namespace heed::bench
