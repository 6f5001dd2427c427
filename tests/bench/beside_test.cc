// A workload beside the limits of the machine, and what is said of machines that others disturb.
#include "bench/beside.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "bench/bench.h"
#include "bench/gang.h"
#include "bench/limits.h"
#include "bench/lost_time.h"
#include "bench/pinning.h"

namespace heed::tests {
namespace {

using bench::LimitSample;
using bench::Measurement;

/// A sample of which others took the part `lost`.
LimitSample limits(double peak, double tile, double lost = 0) {
  return {.peak = {peak * (1 - lost), peak}, .tile = {tile, tile}, .read = {10, 10}, .cores = 2};
}

/// Three slices of 1 s each.
Measurement measurement() {
  Measurement m;
  m.limits = {limits(100, 80), limits(100, 90), limits(98, 90), limits(96, 90)};
  m.slices = {{.runs = 1, .seconds = 1, .lost = 0},
              {.runs = 2, .seconds = 1, .lost = 0.03},
              {.runs = 1, .seconds = 1, .lost = 0.06}};
  m.run_ms = 500;
  m.counted = true;
  return m;
}

TEST(BenchBeside, QuietFiguresCountWhereThereAreSome) {
  EXPECT_EQ(bench::quiet_median({{7, 0.5}}), 7);
  EXPECT_EQ(bench::quiet_median({{1, 0}, {2, 0.02}, {9, 0}, {5, 0.01}}), 3.5);
  // Three that others hardly disturbed, and two that they did.
  EXPECT_EQ(bench::quiet_median({{90, 0.5}, {3, 0.01}, {1, 0}, {2, 0}, {80, 0.03}}), 2);
  // One that nobody disturbed is too few: of the three quietest the middle one.
  EXPECT_EQ(bench::quiet_median({{5, 0.4}, {1, 0}, {4, 0.3}, {90, 0.5}}), 4);
  // An eighth of all.
  std::vector<bench::Disturbed> many;
  many.reserve(80);
  for (int i = 0; i < 80; ++i) many.push_back({static_cast<double>(i), 0.1 + 0.01 * i});
  EXPECT_EQ(bench::quiet_median(many), 4.5);
}

TEST(BenchBeside, PercentagesOfLimitsThatOthersDoNotDisturb) {
  Measurement m = measurement();
  EXPECT_EQ(m.limit_of(&LimitSample::peak), 99);
  // 50 in 0.5 s beside 99, and beside 90.
  EXPECT_NEAR(m.percent_of(50, &LimitSample::peak), 100 * 100 / 99.0, 1e-9);
  EXPECT_NEAR(m.percent_of(50, &LimitSample::tile), 100 * 100 / 90.0, 1e-9);
  m.limits[1] = limits(40, 90, 0.5);
  EXPECT_EQ(m.limit_of(&LimitSample::peak), 98);
  for (LimitSample& sample : m.limits) sample.peak.wall = sample.peak.own / 2;
  EXPECT_EQ(m.limit_of(&LimitSample::peak), 97);
  EXPECT_NEAR(m.spread_of(&LimitSample::tile), 1 - 80 / 90.0, 1e-12);
  EXPECT_NEAR(m.lost(), 0.03, 1e-12);
}

TEST(BenchBeside, SaysWhatDisturbed) {
  Measurement m = measurement();
  EXPECT_EQ(m.disturbance(2), "");
  m.slices[0].lost = 0.5;
  EXPECT_EQ(m.disturbance(2), "20% lost");
  m = measurement();
  EXPECT_EQ(m.disturbance(3), "2.0 of 3 cores");
  for (LimitSample& sample : m.limits) sample.cores = 0.5;
  EXPECT_EQ(m.disturbance(1), "");
  m = measurement();
  m.limits[1].tile.own = 120;
  EXPECT_EQ(m.disturbance(2), "limits vary 33%");
  m.slices[1].lost = 1;
  EXPECT_EQ(m.disturbance(4), "35% lost, 2.0 of 4 cores, limits vary 33%");
}

bench::LimitsWanted wanted(const std::vector<float>& memory) {
  bench::LimitsWanted wanted{.threads = 1, .memory = memory, .residence = bench::Residence::cache};
  EXPECT_TRUE(bench::resolve_isa(wanted.isa).ok());
  return wanted;
}

std::size_t nowhere(std::int64_t /*run*/) { return 0; }

TEST(BenchBeside, RunsAndLimitsTakeTurns) {
  const std::vector<float> memory(bench::kLeastStreamFloats);
  std::int64_t calls = 0;
  const std::function<Status(std::int64_t)> once = [&](std::int64_t run) -> Status {
    EXPECT_EQ(run, calls++);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return {};
  };
  Measurement m;
  ASSERT_TRUE(bench::measure_beside(0.1, wanted(memory), once, nowhere, m).ok());
  EXPECT_GE(m.slices.size(), 2U);
  EXPECT_EQ(m.limits.size(), m.slices.size() + 1);
  EXPECT_LT(std::ssize(m.samples_ms), calls);
  std::int64_t runs = 0;
  for (const bench::Slice& slice : m.slices) {
    EXPECT_GT(slice.seconds, 0);
    runs += slice.runs;
  }
  EXPECT_EQ(std::ssize(m.samples_ms), runs);
  EXPECT_GE(m.run_ms, 0.5);
  for (const LimitSample& sample : m.limits) {
    EXPECT_GT(sample.peak.own, 0);
    EXPECT_GE(sample.peak.own, sample.peak.wall);
    EXPECT_GT(sample.tile.own, 0);
    EXPECT_GT(sample.read.own, 0);
    EXPECT_EQ(sample.copy.own, 0);
    EXPECT_GT(sample.cores, 0);
  }
}

/// A piece of work that takes a CPU some ms.
Status count(std::int64_t /*run*/) {
  volatile int counted = 0;
  while (counted < 60'000'000) counted = counted + 1;
  return {};
}

// Three threads for each CPU take most of the time from the one that is measured: its runs last
// longer by the clock, and not by what is told of a quiet machine.
TEST(BenchBeside, WhatOthersTakeIsLeftOut) {
  const std::vector<float> memory(bench::kLeastStreamFloats);
  const std::function<Status(std::int64_t)> once = count;
  Measurement quiet, busy;
  ASSERT_TRUE(bench::measure_beside(0.1, wanted(memory), once, nowhere, quiet).ok());
  if (!quiet.counted) GTEST_SKIP() << "this system does not count it";
  {
    std::vector<std::jthread> others;
    for (unsigned i = 0; i < 3 * std::thread::hardware_concurrency(); ++i) {
      others.emplace_back([](const std::stop_token& stop) {
        while (!stop.stop_requested()) {
        }
      });
    }
    ASSERT_TRUE(bench::measure_beside(0.3, wanted(memory), once, nowhere, busy).ok());
  }
  EXPECT_GT(busy.lost(), 0.3);
  EXPECT_NE(busy.disturbance(1).find("% lost"), std::string::npos) << busy.disturbance(1);
  EXPECT_LT(busy.run_ms, 0.8 * busy.timing.median_ms);
}

TEST(BenchBeside, EndsWithAFailure) {
  const std::vector<float> memory(bench::kLeastStreamFloats);
  for (const std::int64_t bad : {0, 3}) {
    const std::function<Status(std::int64_t)> once = [&](std::int64_t run) -> Status {
      return run == bad ? Status(StatusCode::internal, "no") : Status();
    };
    Measurement m;
    EXPECT_EQ(bench::measure_beside(1e-6, wanted(memory), once, nowhere, m).message(), "no");
  }
}

bench::Result timed(const std::string& name, int threads, double ms) {
  bench::Result result;
  result.name = name;
  result.threads = threads;
  result.measured.timing.min_ms = ms;
  return result;
}

// 8 threads take a third of the time of 2, which is 3/4 of what they could do.
TEST(BenchEfficiency, IsThatOfAThreadBesideTheFewest) {
  const std::vector<bench::Result> others = {timed("x", 4, 1), timed("x", 2, 12), timed("y", 1, 1),
                                             timed("x", 16, 1)};
  EXPECT_EQ(bench::efficiency_of(timed("x", 8, 4), others), 0.75);
  EXPECT_EQ(bench::efficiency_of(timed("x", 2, 4), others), std::nullopt);
  EXPECT_EQ(bench::efficiency_of(timed("z", 8, 4), others), std::nullopt);
}

/// Keeps a CPU busy.
void spin(std::chrono::milliseconds time) {
  const auto end = std::chrono::steady_clock::now() + time;
  while (std::chrono::steady_clock::now() < end) {
  }
}

// Four busy threads for each CPU: each waits for most of the time.
TEST(BenchLostTime, IsWhatThreadsWaitForCpus) {
  if (!bench::LostTime().known()) GTEST_SKIP() << "this system does not count it";
  const auto cpus = static_cast<int>(std::thread::hardware_concurrency());
  const auto times =
      bench::run_gang(4 * cpus, {.untimed = 0}, [](int, int) { EXPECT_TRUE(count(0).ok()); });
  ASSERT_EQ(times.size(), 1U);
  EXPECT_LT(times[0].own, 0.6 * times[0].wall);
  EXPECT_GT(times[0].own, 0);
}

TEST(BenchLostTime, IsNotTheTimeOfSleep) {
  const bench::LostTime lost;
  const double before = lost.seconds();
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_LT(lost.seconds() - before, 0.05);
}

TEST(BenchGang, OwnTimeIsNeverLongerThanThatOfTheClock) {
  const auto times = bench::run_gang(2, {.untimed = 1, .timed = 3}, [](int ith, int) {
    spin(std::chrono::milliseconds(ith == 0 ? 1 : 3));
  });
  ASSERT_EQ(times.size(), 3U);
  for (const bench::GangTime& time : times) {
    EXPECT_GE(time.wall, 0.003);
    // The harmonic mean of 1 and 3 is 1.5, where nobody disturbs.
    EXPECT_LT(time.own, time.wall);
  }
}

// In threads of their own: what is pinned stays so. The order of the CPUs of a thread that is
// pinned has one.
TEST(BenchPinning, ThreadsTakeCpusInOrder) {
  const std::vector<int> order = bench::cpu_order();
  ASSERT_FALSE(order.empty());
  EXPECT_EQ(std::set(order.begin(), order.end()).size(), order.size());
  EXPECT_GE(bench::numa_nodes(), 1);
  std::thread([&] {
    bench::pin_this_thread(0);
    EXPECT_EQ(bench::cpu_order(), order) << "nothing is pinned before it is asked for";
    bench::start_pinning();
    for (std::size_t i = 0; i < 2 * order.size(); ++i) {
      bench::pin_this_thread(static_cast<int>(i));
      EXPECT_EQ(bench::cpu_order(), std::vector{order[i % order.size()]});
    }
    std::atomic<bool> pinned = false;
    std::thread other([&] {
      while (!pinned) std::this_thread::yield();
      EXPECT_EQ(bench::cpu_order().size(), 1U);
    });
    EXPECT_TRUE(bench::pin_all_threads().ok());
    EXPECT_EQ(bench::cpu_order(), std::vector{order[0]});
    pinned = true;
    other.join();
  }).join();
}

}  // namespace
}  // namespace heed::tests
