// Threads of heed's own: each share once, whoever asks, in whatever process, with however many
// threads the system grants.
#include "runtime/threads/std_pool.h"

#include <gtest/gtest.h>
#include <signal.h>  // NOLINT(modernize-deprecated-headers): POSIX has more than <csignal>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/child.h"
#include "tests/support/this_build.h"

namespace heed::tests {
namespace {

using detail::StdPool;

/// Shares that count their calls, and do not end before `together` of them have begun.
class Shares {
 public:
  explicit Shares(int shares, int together = 1)
      : together_(together), calls_(shares), sums_(shares) {}

  /// "" or what went wrong.
  std::string run(StdPool& pool) {
    for (std::size_t i = 0; i < calls_.size(); ++i) calls_[i] = sums_[i] = 0;
    begun_ = 0;
    pool.run(static_cast<int>(calls_.size()), share, this);
    for (std::size_t i = 0; i < calls_.size(); ++i) {
      if (calls_[i] != 1) return std::to_string(calls_[i]) + " calls of share " + std::to_string(i);
      if (sums_[i] != static_cast<int>(i)) return "the caller does not see what a share wrote";
    }
    return "";
  }

 private:
  static void share(void* context, int ith) {
    auto& shares = *static_cast<Shares*>(context);
    ++shares.calls_[static_cast<std::size_t>(ith)];
    ++shares.begun_;
    while (shares.begun_ < shares.together_) std::this_thread::yield();
    shares.sums_[static_cast<std::size_t>(ith)] += ith;
  }

  const int together_;
  std::atomic<int> begun_ = 0;
  std::vector<std::atomic<int>> calls_;
  std::vector<int> sums_;  // as kernels write: without atomics
};

TEST(StdPool, CallsEachShareOnce) {
  for (const int threads : {1, 2, 5}) {
    StdPool pool(threads);
    for (const int shares : {2, 3, 7, 100}) {
      Shares work(shares);
      for (int repeat = 0; repeat < 50; ++repeat) EXPECT_EQ(work.run(pool), "");
    }
  }
}

TEST(StdPool, HasAsManyThreadsAsWereAskedFor) {
  StdPool pool(5);
  EXPECT_EQ(pool.threads(), 5) << "before its threads start";
  Shares together(5, 5);  // would not end with fewer
  EXPECT_EQ(together.run(pool), "");
  EXPECT_EQ(pool.threads(), 5);
}

TEST(StdPool, WakesThreadsThatSleep) {
  StdPool pool(5);
  Shares together(5, 5);
  for (int repeat = 0; repeat < 3; ++repeat) {
    EXPECT_EQ(together.run(pool), "");
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

TEST(StdPool, WaitsForTheLastShare) {
  StdPool pool(2);
  struct Work {
    std::thread::id host = std::this_thread::get_id();
    std::atomic<int> begun = 0;
    int ended = 0;
  } work;
  pool.run(
      2,
      [](void* context, int) {
        auto& w = *static_cast<Work*>(context);
        ++w.begun;
        while (w.begun < 2) std::this_thread::yield();
        if (std::this_thread::get_id() == w.host) return;
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        w.ended = 1;
      },
      &work);
  EXPECT_EQ(work.ended, 1);
}

TEST(StdPool, ServesSeveralThreadsAtOnce) {
  StdPool pool(3);
  std::vector<std::thread> callers;
  callers.reserve(4);
  for (int caller = 0; caller < 4; ++caller) {
    callers.emplace_back([&, caller] {
      Shares work(2 + caller);
      for (int repeat = 0; repeat < 200; ++repeat) EXPECT_EQ(work.run(pool), "");
    });
  }
  for (std::thread& caller : callers) caller.join();
}

TEST(StdPool, RunsWithinShares) {
  StdPool pool(3);
  pool.run(
      6,
      [](void* context, int) {
        Shares inner(4);
        EXPECT_EQ(inner.run(*static_cast<StdPool*>(context)), "");
      },
      &pool);
}

TEST(StdPool, EndsWithoutHavingRun) {
  StdPool never(4);
  for (int repeat = 0; repeat < 20; ++repeat) {
    StdPool pool(4);
    pool.start();
  }
}

TEST(StdPool, LeavesSignalsToTheHost) {
  StdPool pool(4);
  struct Seen {
    std::atomic<int> open = 0, begun = 0;
    std::thread::id host = std::this_thread::get_id();
  } seen;
  pool.run(
      4,
      [](void* context, int) {
        auto& s = *static_cast<Seen*>(context);
        ++s.begun;
        while (s.begun < 4) std::this_thread::yield();
        sigset_t blocked;
        pthread_sigmask(SIG_SETMASK, nullptr, &blocked);
        if (std::this_thread::get_id() != s.host && sigismember(&blocked, SIGTERM) == 0) ++s.open;
      },
      &seen);
  EXPECT_EQ(seen.open, 0);
  sigset_t blocked;
  pthread_sigmask(SIG_SETMASK, nullptr, &blocked);
  EXPECT_EQ(sigismember(&blocked, SIGTERM), 0) << "the host takes no signals any more";
}

// The child has none of the parent's threads, and the parent keeps its own.
TEST(StdPool, StartsAnewInAChildOfFork) {
  if (kSanitized) GTEST_SKIP() << "ThreadSanitizer allows a forked child no threads";
  StdPool pool(3);
  Shares together(3, 3);
  ASSERT_EQ(together.run(pool), "");
  const pid_t child = fork();
  ASSERT_NE(child, -1);
  if (child == 0) {
    alarm(30);
    const bool good = together.run(pool).empty() && pool.threads() == 3;
    pool.~StdPool();  // joins the child's threads
    _exit(good ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(together.run(pool), "");
}

// A pool that a child inherits and does not use ends there without the parent's threads.
TEST(StdPool, EndsInAChildOfFork) {
  if (kSanitized) GTEST_SKIP() << "ThreadSanitizer allows a forked child no threads";
  EXPECT_EQ(in_child([]() -> std::string {
              StdPool pool(3);
              pool.start();
              const pid_t child = fork();
              if (child == 0) {
                alarm(30);
                pool.~StdPool();
                _exit(0);
              }
              int status = -1;
              waitpid(child, &status, 0);
              return status == 0 ? "" : "the child ended with " + std::to_string(status);
            }),
            "");
}

TEST(StdPool, HasTheThreadsThereAre) {
  if (kSanitized) GTEST_SKIP() << "sanitizers start threads of their own";
  constexpr uid_t kUser = 754322;  // of whom there are no other processes
  for (const int granted : {1, 2, 4}) {
    const std::string fault = in_child([&]() -> std::string {
      const rlimit limit{static_cast<rlim_t>(granted), static_cast<rlim_t>(granted)};
      if (setresuid(kUser, kUser, kUser) != 0 || setrlimit(RLIMIT_NPROC, &limit) != 0) {
        return "not root";
      }
      StdPool pool(8);
      pool.start();
      if (pool.threads() != granted) return std::to_string(pool.threads()) + " threads";
      Shares work(8, granted);
      return work.run(pool);
    });
    if (fault == "not root") GTEST_SKIP() << "only root may become a user of its own";
    EXPECT_EQ(fault, "") << granted;
  }
}

}  // namespace
}  // namespace heed::tests
