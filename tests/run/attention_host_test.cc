// What hosts do around a run: arenas and tasks of their own, cancelled requests, one executor for
// many threads, shares that are never called.
#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/task_arena.h>
#include <oneapi/tbb/task_group.h>

#include <atomic>
#include <thread>
#include <vector>

#include "tests/support/attention_run.h"

namespace heed::tests {
namespace {

using proof::Case;
using proof::CaseSpec;

/// More threads than the machine may have, so that runs meet.
constexpr int kThreads = 4;

class AttentionHost : public testing::Test {
 protected:
  static CaseSpec spec() {
    CaseSpec spec = small_case(300, 300);
    spec.config.head_dim = spec.config.value_head_dim = 64;
    return spec;
  }

  /// A run of the case in a workspace of the caller's.
  void run_and_compare(Workspace& workspace, Executor* executor = nullptr) const {
    Outputs outputs = fresh_outputs(case_);
    EXPECT_TRUE(workspace.reserve(plan_).ok());
    EXPECT_TRUE(run(plan_, outputs.with(case_.inputs()), workspace, executor).ok());
    expect_exactly_rows_written(case_.geometry(), outputs);
    expect_same_rows(case_.geometry(), expected_, case_.geometry(), outputs);
  }

  const tbb::global_control threads_{tbb::global_control::max_allowed_parallelism, kThreads};
  const Case case_{spec()};
  const Plan plan_ = plan_case(case_, on({}, kThreads));
  const Outputs expected_ = run_case(case_, on({}));
};

// A thread that waits for the end of its run takes up none of the host's tasks: they could come
// back to the workspace, or to a lock, that the run holds.
TEST_F(AttentionHost, NoTaskOfTheHostsWithinARun) {
  static thread_local bool running = false;
  std::atomic<int> taken_up{0};
  std::atomic<bool> done{false};
  tbb::task_arena arena(kThreads, 2);
  // ThreadSanitizer does not see how oneTBB, which is not instrumented, keeps threads apart while
  // it starts.
  arena.initialize();
  std::thread host([&] {
    arena.execute([&] {
      while (!done) {
        tbb::parallel_for(
            0, 1000, [&](int) { taken_up += running; }, tbb::simple_partitioner());
      }
    });
  });
  Workspace workspace;
  arena.execute([&] {
    for (int repeat = 0; repeat < 50; ++repeat) {
      running = true;
      run_and_compare(workspace);
      running = false;
    }
  });
  done = true;
  host.join();
  EXPECT_EQ(taken_up, 0);
}

// A run that has begun ends, whole, in a task that is cancelled meanwhile.
TEST_F(AttentionHost, TasksThatAreCancelled) {
  tbb::task_group_context request;
  tbb::parallel_for(
      0, 1,
      [&](int) {
        request.cancel_group_execution();
        Workspace workspace;
        run_and_compare(workspace);
      },
      tbb::simple_partitioner(), request);
}

TEST_F(AttentionHost, RunsStayInTheCallersArena) {
  for (const int threads : {1, 2}) {
    tbb::task_arena arena(threads);
    Workspace workspace;
    arena.execute([&] { run_and_compare(workspace); });
  }
}

TEST_F(AttentionHost, OneExecutorForManyThreads) {
  Executor executor;
  ASSERT_TRUE(Executor::create(2, executor).ok());
  std::vector<std::thread> hosts;
  hosts.reserve(kThreads);
  for (int i = 0; i < kThreads; ++i) {
    hosts.emplace_back([&] {
      Workspace workspace;
      for (int repeat = 0; repeat < 20; ++repeat) run_and_compare(workspace, &executor);
    });
  }
  for (std::thread& host : hosts) host.join();
}

// A host that gives up in the middle of its shares may use the workspace again.
TEST_F(AttentionHost, SharesThatAreNeverCalled) {
  const Case c(small_case(5, 40));  // so little work that a run has one share
  const Plan plan = plan_case(c, on({}, 2));
  const Outputs expected = run_case(c, on({}));
  Workspace workspace;
  ASSERT_TRUE(workspace.reserve(plan).ok());
  const auto expect_whole = [&](auto&& run_it) {
    Outputs abandoned = fresh_outputs(c), outputs = fresh_outputs(c);
    ASSERT_TRUE(run_share(plan, abandoned.with(c.inputs()), workspace, 0, 2).ok());
    ASSERT_TRUE(run_it(outputs.with(c.inputs())).ok());
    expect_same_rows(c.geometry(), expected, c.geometry(), outputs);
  };
  expect_whole([&](const AttentionTensors& t) { return run(plan, t, workspace); });
  expect_whole([&](const AttentionTensors& t) {
    EXPECT_TRUE(workspace.reserve(plan).ok());
    return run_share(plan, t, workspace, 0, 1);
  });
}

}  // namespace
}  // namespace heed::tests
