// Shares that hosts call by themselves: what makes them one run, what is refused, and that nothing
// is left unwritten where all of them are ok.
#include <algorithm>
#include <array>
#include <atomic>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/attention_run.h"

namespace heed::tests {
namespace {

using proof::Case;

constexpr int kWorkers = 3;

class RunShare : public testing::Test {
 protected:
  RunShare() { EXPECT_TRUE(workspace_.reserve(plan_).ok()); }

  static proof::CaseSpec spec() {
    proof::CaseSpec spec = small_case(2, 3000);  // whose keys are split
    spec.config.query_heads = 8;
    spec.config.head_dim = 32;
    spec.config.value_head_dim = 32;
    return spec;
  }

  Status share(Outputs& outputs, int ith, int nth) {
    return run_share(plan_, outputs.with(case_.inputs()), workspace_, ith, nth);
  }
  void expect_ok(Outputs& outputs, int ith, int nth) {
    const Status status = share(outputs, ith, nth);
    EXPECT_TRUE(status.ok()) << status.message();
  }
  void expect_refused(const Status& status, const std::vector<std::string>& named) const {
    EXPECT_EQ(status.code(), StatusCode::invalid_argument);
    for (const std::string& part : named) {
      EXPECT_NE(status.message().find(part), std::string::npos)
          << '"' << status.message() << "\" does not say \"" << part << '"';
    }
  }
  void expect_whole(const Outputs& outputs) const {
    expect_exactly_rows_written(case_.geometry(), outputs);
    expect_same_rows(case_.geometry(), expected_, case_.geometry(), outputs);
  }
  /// A run that nothing is wrong with.
  void expect_good_run() {
    Outputs outputs = fresh_outputs(case_);
    for (int ith = 0; ith < 2; ++ith) expect_ok(outputs, ith, 2);
    expect_whole(outputs);
  }

  const Case case_{spec()};
  const Plan plan_ = plan_case(case_, on({}, kWorkers));
  const Outputs expected_ = run_case(case_, on({}, 1));
  Workspace workspace_;
};

TEST_F(RunShare, TheCaseHasSplits) {
  EXPECT_EQ(plan_.describe().find("splits: 0 "), std::string::npos) << plan_.describe();
}

TEST_F(RunShare, MoreSharesThanWorkersNameTheOption) {
  Outputs outputs = fresh_outputs(case_);
  expect_refused(share(outputs, 0, 4), {"nth (4)", "workers (3)", "PlanOptions::workers"});
  expect_good_run();
}

TEST_F(RunShare, SharesAgreeAboutTheirNumber) {
  Outputs outputs = fresh_outputs(case_);
  expect_ok(outputs, 0, 2);
  expect_refused(share(outputs, 1, 3),
                 {"nth (3) must be that of the run's other shares (2)", "Workspace::reserve"});
  expect_ok(outputs, 1, 2);
  expect_whole(outputs);
  expect_good_run();
}

TEST_F(RunShare, EachShareIsCalledOnce) {
  Outputs outputs = fresh_outputs(case_), next = fresh_outputs(case_);
  expect_ok(outputs, 0, 2);
  expect_refused(share(outputs, 0, 2),
                 {"share 0 of 2 was already called in this run", "Workspace::reserve"});
  expect_ok(outputs, 1, 2);
  expect_whole(outputs);
  expect_good_run();
}

TEST_F(RunShare, SharesAgreeAboutTensorsAndPlan) {
  Outputs outputs = fresh_outputs(case_), others = fresh_outputs(case_);
  const Plan other = plan_case(case_, on({}, kWorkers));
  expect_ok(outputs, 0, 2);
  const std::vector<std::string> sentence = {"a run of another plan or of other tensors",
                                             "of whose 2 shares 1 were called"};
  expect_refused(share(others, 1, 2), sentence);
  const AttentionTensors tensors = outputs.with(case_.inputs());
  expect_refused(run_share(other, tensors, workspace_, 1, 2), sentence);
  for (InputData AttentionTensors::*input :
       {&AttentionTensors::q, &AttentionTensors::k, &AttentionTensors::v}) {
    AttentionTensors moved = tensors;
    moved.*input += 1;
    expect_refused(run_share(plan_, moved, workspace_, 1, 2), sentence);
  }
  expect_ok(outputs, 1, 2);
  expect_whole(outputs);
  expect_good_run();
}

TEST_F(RunShare, PartialStatesAreAnotherRun) {
  const StateShape shape = state_shape(plan_);
  std::vector<float> memory(shape.floats());
  const PartialStates states = PartialStates::in(memory.data(), shape);
  Outputs outputs = fresh_outputs(case_);
  expect_ok(outputs, 0, 2);
  expect_refused(run_partial_share(plan_, case_.inputs(), states, workspace_, 1, 2),
                 {"another plan or of other tensors"});
  expect_ok(outputs, 1, 2);
  expect_whole(outputs);
}

// A plan that is made anew in place is another one.
TEST_F(RunShare, PlanningAgainIsAnotherRun) {
  Plan plan = plan_case(case_, on({}, kWorkers));
  Outputs outputs = fresh_outputs(case_);
  const AttentionTensors tensors = outputs.with(case_.inputs());
  EXPECT_TRUE(run_share(plan, tensors, workspace_, 0, 2).ok());
  for (int again = 0; again < 2; ++again) {
    ASSERT_TRUE(plan_attention(case_.config(), case_.batch(), on({}, kWorkers), plan).ok());
    expect_refused(run_share(plan, tensors, workspace_, 1, 2), {"another plan"});
  }
}

// Hosts that make mistakes: shares left out, called twice, of another number. Whatever has happened
// before, where all shares of a run are ok all of its outputs are written.
TEST_F(RunShare, WhereAllSharesAreOkAllIsWritten) {
  std::mt19937 random(7);
  const auto below = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  int whole = 0, refused = 0;
  for (int round = 0; round < (thorough() ? 3000 : 200); ++round) {
    Outputs outputs = fresh_outputs(case_);
    std::array<int, kWorkers> order = {0, 1, 2};
    std::shuffle(order.begin(), order.end(), random);
    const int nth = 1 + below(kWorkers);
    bool all_ok = true;
    for (const int ith : order) {
      if (ith >= nth) continue;
      if (below(8) == 0) {
        all_ok = false;  // left out
      } else if (below(8) == 0) {
        const int number = 1 + below(kWorkers + 1);
        all_ok &= share(outputs, ith, number).ok() && number == nth;
      } else {
        const bool ok = share(outputs, ith, nth).ok();
        refused += !ok;
        all_ok &= ok;
      }
    }
    if (below(4) == 0) {
      EXPECT_TRUE(workspace_.reserve(plan_).ok());
    }
    if (!all_ok) continue;
    expect_whole(outputs);
    if (HasFailure()) FAIL() << "in round " << round;
    ++whole;
  }
  EXPECT_GT(whole, 10);
  EXPECT_GT(refused, 10);
}

// Threads in one workspace: each run is right, or is refused with a sentence.
TEST_F(RunShare, ThreadsInOneWorkspace) {
  std::atomic<int> refused{0}, right{0};
  const auto host = [&](int number) {
    for (int i = 0; i < 100'000 && (refused == 0 || right == 0 || i < 100); ++i) {
      Outputs outputs = fresh_outputs(case_);
      const Status status =
          number == 0 ? share(outputs, 0, 1) : run(plan_, outputs.with(case_.inputs()), workspace_);
      if (status.ok()) {
        ++right;
        expect_whole(outputs);
      } else {
        ++refused;
        expect_refused(status, {"the workspace"});
      }
    }
  };
  std::vector<std::thread> hosts;
  for (int number = 0; number < 3; ++number) hosts.emplace_back(host, number);
  for (std::thread& thread : hosts) thread.join();
  EXPECT_GT(right, 0);
  EXPECT_GT(refused, 0);
  expect_good_run();
}

TEST_F(RunShare, AWorkspaceThatIsAtWorkIsNotReserved) {
  std::atomic<bool> done{false};
  std::thread host([&] {
    Outputs outputs = fresh_outputs(case_);
    while (!done) expect_ok(outputs, 0, 1);
  });
  Status status;
  for (int i = 0; i < 10'000'000 && status.ok(); ++i) status = workspace_.reserve(plan_);
  done = true;
  host.join();
  expect_refused(status, {"the workspace is in use"});
}

// Another run by `run` takes the place of one that was not finished.
TEST_F(RunShare, RunTakesThePlaceOfAnUnfinishedOne) {
  Outputs unfinished = fresh_outputs(case_), outputs = fresh_outputs(case_);
  expect_ok(unfinished, 1, 2);
  EXPECT_TRUE(run(plan_, outputs.with(case_.inputs()), workspace_).ok());
  expect_whole(outputs);
  expect_good_run();
}

// The counters of a plan lie where another one has its states.
TEST_F(RunShare, PlansOfDifferentSizesInOneWorkspace) {
  const Case small(small_case(5, 40));
  const Plan plan = plan_case(small, on({}, 2));
  const Outputs expected = run_case(small, on({}));
  for (int i = 0; i < 3; ++i) {
    expect_good_run();
    Outputs outputs = fresh_outputs(small);
    for (int ith = 0; ith < 2; ++ith) {
      EXPECT_TRUE(run_share(plan, outputs.with(small.inputs()), workspace_, ith, 2).ok());
    }
    expect_same_rows(small.geometry(), expected, small.geometry(), outputs);
  }
}

}  // namespace
}  // namespace heed::tests
