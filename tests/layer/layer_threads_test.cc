// Many threads of the host that multiply at once.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <barrier>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "heed/layer.h"
#include "runtime/layer/call_gate.h"

namespace heed::tests {
namespace {

TEST(CallsAtOnce, AreWhatOpenBlasWasBuiltFor) {
  EXPECT_EQ(detail::calls_at_once("OpenBLAS 0.3.21 NO_LAPACKE DYNAMIC_ARCH NO_AFFINITY Haswell "
                                  "MAX_THREADS=64"),
            64);
  EXPECT_EQ(detail::calls_at_once("OpenBLAS 0.3.21 Zen MAX_THREADS=2 more"), 2);
  EXPECT_EQ(detail::calls_at_once("OpenBLAS 0.3.21 Zen SINGLE_THREADED"), 1);
  EXPECT_EQ(detail::calls_at_once("MAX_THREADS="), 1);
  EXPECT_EQ(detail::calls_at_once("MAX_THREADS=-5"), 1);
  EXPECT_EQ(detail::calls_at_once(""), 1);
}

TEST(CallGate, LetsInNoMoreThanItHasPlaces) {
  constexpr int kPlaces = 3, kThreads = 20;
  detail::CallGate gate(kPlaces);
  std::atomic<int> inside{0}, most{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      for (int call = 0; call < 50; ++call) {
        const detail::CallGate::Place place(gate);
        const int now = ++inside;
        int seen = most;
        while (now > seen && !most.compare_exchange_weak(seen, now)) {
        }
        std::this_thread::yield();
        --inside;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_LE(most, kPlaces);
  EXPECT_EQ(inside, 0);
}

// OpenBLAS holds a buffer for each call; it prints a warning where there are more than 128 at once
// in the build of most distributions, and ends the process where there are some more still.
TEST(HostThreads, ByTheHundreds) {
  constexpr int kThreads = 400, kCalls = 2;
  constexpr std::int64_t kSize = 256;
  const std::vector<float> weight(kSize * kSize, 0.5F), x(kSize * kSize, 2.0F);
  const Linear linear{weight.data(), nullptr, kSize, kSize};
  std::atomic<int> wrong{0};
  std::barrier start(kThreads);
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, tokens = t % 4 == 0 ? 1 : kSize] {
      std::vector<float> y(kSize * kSize);
      start.arrive_and_wait();
      for (int call = 0; call < kCalls; ++call) {
        std::fill(y.begin(), y.end(), 0.0F);
        wrong += !project(linear, tokens, x.data(), y.data()).ok();
        wrong += std::count(y.begin(), y.end(), static_cast<float>(kSize)) != tokens * kSize;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace heed::tests
