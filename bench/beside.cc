#include "bench/beside.h"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <utility>

#include "bench/lost_time.h"
#include "bench/pinning.h"
#include "bench/timing.h"

namespace heed::bench {
namespace {

/// Runs take turns with limits so often, but not in turns shorter than this: a sample of all limits
/// takes about as long.
constexpr int kSlices = 8;
constexpr double kShortestSlice = 0.025;

// A run or a sample is quiet where no larger part was lost.
constexpr double kQuiet = 0.02;

// What counts as a disturbance.
constexpr double kMuchLost = 0.05, kFewCores = 0.75, kWideSpread = 0.15;

/// Limits beside one workload.
class Sampler {
 public:
  explicit Sampler(const LimitsWanted& wanted) : wanted_(wanted) {}

  Status sample(std::size_t place, LimitSample& sample) const {
    const auto& [isa, threads, pairs, memory, copied, residence] = wanted_;
    LimitRate one, peak, tile, read, copy;
    Status status = sample_arithmetic(isa, threads, Arithmetic::registers, pairs, peak);
    if (status.ok()) status = sample_arithmetic(isa, threads, Arithmetic::tile, pairs, tile);
    one = peak;
    if (status.ok() && threads > 1) {
      status = sample_arithmetic(isa, 1, Arithmetic::registers, pairs, one);
    }
    const std::size_t far = (place + memory.size() / 2) % memory.size();
    if (status.ok()) status = sample_read(threads, memory, residence, far, read);
    if (status.ok() && !copied.empty()) {
      status = sample_copy(threads, copied, residence, far % (copied.size() / 2), copy);
    }
    sample = {peak, tile, read, copy, peak.wall / one.own};
    return status;
  }

 private:
  const LimitsWanted& wanted_;
};

/// The time that all threads of this process ran, in seconds.
double cpu_seconds() {
  timespec time{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

/// What a run takes without the part that was lost. Where much was, threads also waited for those
/// that had no CPU: then it is no more than a thread ran on average.
double own_seconds(double wall, double lost, double ran) {
  const double own = wall * (1 - lost);
  return lost > kQuiet ? std::clamp(ran, own / 100, own) : own;
}

class Alternation {
 public:
  Alternation(double seconds, const LimitsWanted& wanted,
              const std::function<Status(std::int64_t run)>& once)
      : threads_(wanted.threads),
        slice_seconds_(std::max(seconds / kSlices, kShortestSlice)),
        sampler_(wanted),
        repetition_(seconds, once) {}

  Status run(const std::function<std::size_t(std::int64_t run)>& place, Measurement& measurement) {
    const auto sample = [&] {
      return sampler_.sample(place(repetition_.runs()), measurement.limits.emplace_back());
    };
    if (Status status = repetition_.warm_up(); !status) return status;
    // All threads that runs need are there now.
    if (Status status = pin_all_threads(); !status) return status;
    do {
      if (Status status = sample(); !status) return status;
      if (Status status = run_slice(measurement); !status) return status;
    } while (!repetition_.enough());
    if (Status status = sample(); !status) return status;
    measurement.timing = repetition_.timing();
    measurement.run_ms = quiet_median(runs_);
    for (const double seconds : repetition_.times()) {
      measurement.samples_ms.push_back(1e3 * seconds);
    }
    return {};
  }

 private:
  Status run_slice(Measurement& measurement) {
    const LostTime lost;
    measurement.counted = lost.known();
    Slice slice;
    do {
      const Clock::time_point start = Clock::now();
      const double before = lost.seconds(), idle = cpu_seconds();
      if (Status status = repetition_.run(); !status) return status;
      const double ran = cpu_seconds() - idle, taken = lost.seconds() - before;
      const double wall = repetition_.times().back();
      // What others took between the readings of the clock and those of the count is no part of the
      // run. Never more is lost than there was: a thread that waits for a CPU may not need it.
      const double around = seconds_between(start, Clock::now()) - wall;
      const double part = std::clamp((taken - around) / (threads_ * wall), 0.0, 0.99);
      runs_.push_back({1e3 * own_seconds(wall, part, ran / threads_), part});
      slice.lost += part * wall;
      slice.seconds += wall;
      ++slice.runs;
    } while (slice.seconds < slice_seconds_ && !repetition_.enough());
    slice.lost /= slice.seconds;
    measurement.slices.push_back(slice);
    return {};
  }

  int threads_;
  double slice_seconds_;
  Sampler sampler_;
  Repetition repetition_;
  std::vector<Disturbed> runs_;
};

}  // namespace

double quiet_median(std::vector<Disturbed> figures) {
  std::ranges::sort(figures, {}, &Disturbed::lost);
  const std::size_t at_least =
      std::min(figures.size(), std::max<std::size_t>(3, figures.size() / 8));
  const double most = std::max(kQuiet, figures[at_least - 1].lost);
  std::vector<double> quiet;
  for (const Disturbed& figure : figures) {
    if (figure.lost <= most) quiet.push_back(figure.value);
  }
  return median(std::move(quiet));
}

double Measurement::percent_of(double work, LimitRate LimitSample::*limit) const {
  return 100 * work / (1e-3 * run_ms) / limit_of(limit);
}

double Measurement::limit_of(LimitRate LimitSample::*limit) const {
  std::vector<Disturbed> rates;
  for (const LimitSample& sample : limits) {
    const LimitRate& rate = sample.*limit;
    rates.push_back({rate.own, std::max(0.0, 1 - rate.wall / rate.own)});
  }
  return quiet_median(std::move(rates));
}

double Measurement::spread_of(LimitRate LimitSample::*limit) const {
  const auto rate = [&](const LimitSample& sample) { return (sample.*limit).own; };
  const auto [least, most] = std::ranges::minmax(limits, {}, rate);
  return 1 - rate(least) / rate(most);
}

double Measurement::cores() const {
  std::vector<double> cores;
  for (const LimitSample& sample : limits) cores.push_back(sample.cores);
  return median(std::move(cores));
}

double Measurement::lost() const {
  double lost = 0, all = 0;
  for (const Slice& slice : slices) {
    lost += slice.lost * slice.seconds;
    all += slice.seconds;
  }
  return lost / all;
}

std::string Measurement::disturbance(int threads) const {
  std::vector<std::string> words;
  if (lost() > kMuchLost) words.push_back(fmt::format("{:.0f}% lost", 100 * lost()));
  const double reached = cores();
  if (threads > 1 && reached < kFewCores * threads) {
    words.push_back(fmt::format("{:.1f} of {} cores", reached, threads));
  }
  const double spread = std::max(spread_of(&LimitSample::peak), spread_of(&LimitSample::tile));
  if (spread > kWideSpread) words.push_back(fmt::format("limits vary {:.0f}%", 100 * spread));
  return fmt::format("{}", fmt::join(words, ", "));
}

Status measure_beside(double seconds, const LimitsWanted& wanted,
                      const std::function<Status(std::int64_t run)>& once,
                      const std::function<std::size_t(std::int64_t run)>& place,
                      Measurement& measurement) {
  return Alternation(seconds, wanted, once).run(place, measurement);
}

}  // namespace heed::bench
