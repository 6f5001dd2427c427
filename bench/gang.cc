#include "bench/gang.h"

#include <algorithm>
#include <barrier>
#include <thread>

#include "bench/lost_time.h"
#include "bench/pinning.h"
#include "bench/timing.h"

namespace heed::bench {
namespace {

/// What a sample took on the calling thread, without the time in which it waited for a CPU.
double own_seconds(const std::function<void()>& work) {
  // The clock is read outside: what is lost between is part of both.
  const Clock::time_point start = Clock::now();
  const double before = own_lost_seconds();
  work();
  const double lost = own_lost_seconds() - before;
  const double wall = seconds_between(start, Clock::now());
  return std::max(wall - lost, wall / 100);
}

}  // namespace

std::vector<GangTime> run_gang(int threads, SampleCount samples,
                               const std::function<void(int ith, int sample)>& work) {
  const int count = samples.untimed + samples.timed;
  std::vector<Clock::time_point> moments;  // a start and an end per sample
  moments.reserve(2 * static_cast<std::size_t>(count));
  std::barrier together(threads, [&]() noexcept { moments.push_back(Clock::now()); });
  std::vector<std::vector<double>> own(static_cast<std::size_t>(threads));
  const auto take_part = [&](int ith) {
    pin_this_thread(ith);
    auto& mine = own[static_cast<std::size_t>(ith)];
    for (int sample = 0; sample < count; ++sample) {
      together.arrive_and_wait();
      mine.push_back(own_seconds([&] { work(ith, sample); }));
      together.arrive_and_wait();
    }
  };
  {
    std::vector<std::jthread> others;
    for (int ith = 1; ith < threads; ++ith) others.emplace_back(take_part, ith);
    take_part(0);
  }
  std::vector<GangTime> times;
  for (auto i = static_cast<std::size_t>(samples.untimed); i < static_cast<std::size_t>(count);
       ++i) {
    double inverses = 0;
    for (const auto& thread : own) inverses += 1 / thread[i];
    times.push_back({seconds_between(moments[2 * i], moments[2 * i + 1]), threads / inverses});
  }
  return times;
}

}  // namespace heed::bench
