// Processes that the system grants fewer threads than they want. Each test is a process of its own,
// with a user of its own whose threads are limited, and oneTBB as on a machine of many CPUs.
#include <gtest/gtest.h>
#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/task_arena.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "heed/heed.h"
#include "runtime/threads/thread_supply.h"
#include "tests/support/child.h"

namespace heed::tests {
namespace {

constexpr int kThreads = 8;
constexpr uid_t kUser = 754321;  // of whom there are no other processes

/// A softmax and an attention large enough for several workers, with their outputs.
class Work {
 public:
  std::string run(Executor* executor, int workers = kThreads) {
    std::fill(y_.begin(), y_.end(), -1.0F);
    std::fill(out_.begin(), out_.end(), -1.0F);
    Status status =
        softmax({x_.data(), kRows, kLength, kLength}, {y_.data(), kRows, kLength, kLength},
                {.workers = workers, .executor = executor});
    if (!status) return status.message();
    const AttentionConfig config{.query_heads = kHeads, .kv_heads = kHeads, .head_dim = kDims};
    const Batch batch{.query = {.length = kTokens}, .key = {.length = kTokens}};
    Plan plan;
    Workspace workspace;
    status = plan_attention(config, batch, {.workers = workers}, plan);
    if (status.ok()) status = workspace.reserve(plan);
    if (!status) return status.message();
    status = heed::run(plan, {.q = x_.data(), .k = x_.data(), .v = x_.data(), .out = out_.data()},
                       workspace, executor);
    return status.message();
  }

  bool operator==(const Work& other) const { return y_ == other.y_ && out_ == other.out_; }

 private:
  static constexpr std::int64_t kRows = 64, kLength = 4096;
  static constexpr std::int64_t kHeads = 16, kDims = 64, kTokens = 128;

  static std::vector<float> numbers() {
    std::vector<float> x(kRows * kLength);
    for (std::size_t i = 0; i < x.size(); ++i) {
      x[i] = static_cast<float>(i * 7919 % 1021) / 512.0F - 1.0F;
    }
    return x;
  }

  std::vector<float> x_ = numbers();
  std::vector<float> y_ = std::vector<float>(x_.size());
  std::vector<float> out_ = std::vector<float>(kHeads * kDims * kTokens);
};

/// Becomes a user whose processes may have `threads` threads in all.
bool limit_threads(int threads) {
  const auto most = static_cast<rlim_t>(threads);
  const rlimit limit{most, most};
  return setresuid(kUser, kUser, kUser) == 0 && setrlimit(RLIMIT_NPROC, &limit) == 0;
}

class ThreadLimit : public testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    const std::string here = in_child([] {
      if (!limit_threads(3)) return "not root, who may become a user of its own";
      return detail::count_startable_threads(5) == 2 ? "" : "the system does not count threads";
    });
    if (!here.empty()) GTEST_SKIP() << here;
  }

  /// `action` in a process with as many threads as the parameter says, its own included.
  static std::string limited(const std::function<std::string()>& action) {
    return in_child([&]() -> std::string {
      if (!limit_threads(GetParam())) return "no limit";
      const tbb::global_control control(tbb::global_control::max_allowed_parallelism, kThreads);
      return action();
    });
  }
};

std::string results_of(const std::function<Executor*()>& executor_of_run) {
  Work single, several;
  std::string fault = single.run(nullptr, 1);
  for (int run = 0; fault.empty() && run < 3; ++run) {
    fault = several.run(executor_of_run());
    if (fault.empty() && !(single == several)) fault = "other results than on one thread";
  }
  return fault;
}

TEST_P(ThreadLimit, AnExecutorHasTheThreadsThereAre) {
  EXPECT_EQ(limited([]() -> std::string {
              Executor executor;
              const Status status = Executor::create(kThreads, executor);
              if (!status) return status.message();
              if (executor.threads() != std::min(GetParam(), kThreads)) {
                return std::to_string(executor.threads()) + " threads";
              }
              return results_of([&] { return &executor; });
            }),
            "");
}

TEST_P(ThreadLimit, RunsInTheCallersArena) {
  EXPECT_EQ(limited([] { return results_of([] { return nullptr; }); }), "");
}

TEST_P(ThreadLimit, RunsInAnArenaOfTheHosts) {
  EXPECT_EQ(limited([] {
              tbb::task_arena arena(kThreads);
              std::string fault;
              arena.execute([&] { fault = results_of([] { return nullptr; }); });
              return fault;
            }),
            "");
}

TEST_P(ThreadLimit, AnExecutorForEachRun) {
  EXPECT_EQ(limited([] {
              std::vector<Executor> executors(3);
              std::size_t next = 0;
              return results_of([&] {
                Executor& executor = executors[next++];
                return Executor::create(kThreads, executor).ok() ? &executor : nullptr;
              });
            }),
            "");
}

TEST_P(ThreadLimit, SeveralHostThreads) {
  if (GetParam() < 3) GTEST_SKIP() << "the host's own threads would not start";
  EXPECT_EQ(limited([] {
              std::string first, second;
              std::thread other([&] { first = results_of([] { return nullptr; }); });
              second = results_of([] { return nullptr; });
              other.join();
              return first + second;
            }),
            "");
}

INSTANTIATE_TEST_SUITE_P(Of, ThreadLimit, testing::Values(1, 2, 3, 4, 5, 6, 8, 20));

TEST(Threads, AreAsManyAsTheSystemGrants) {
  EXPECT_EQ(detail::count_startable_threads(0), 0);
  EXPECT_EQ(detail::count_startable_threads(-1), 0);
  EXPECT_EQ(detail::count_startable_threads(5), 5);
}

// The number that was asked for, that there is, and that threads() tells.
TEST(ExecutorThreads, TellsWhereOneTbbAllowsFewer) {
  EXPECT_EQ(in_child([] {
              const tbb::global_control control(tbb::global_control::max_allowed_parallelism, 3);
              Executor executor;
              if (!Executor::create(2, executor).ok() || executor.threads() != 2) return "2";
              if (!Executor::create(3, executor).ok() || executor.threads() != 3) return "3";
              if (!Executor::create(8, executor).ok() || executor.threads() != 3) return "8";
              return "";
            }),
            "");
}

}  // namespace
}  // namespace heed::tests
