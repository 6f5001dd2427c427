// A warm run allocates nothing of heed's own.
#include <gtest/gtest.h>

#include <array>
#include <cstdlib>
#include <string>
#include <vector>

#include "heed/heed.h"
#include "tests/support/allocation_count.h"
#include "tests/support/attention_run.h"

namespace heed::tests {
namespace {

/// A batch on plain vectors: nothing here allocates once it is made.
class Work {
 public:
  Work(std::int64_t queries, std::int64_t keys, int workers)
      : q_(size(queries, 4), 0.5F),
        k_(size(keys, 2), 0.25F),
        v_(size(keys, 2), 1.0F),
        out_(size(queries, 4)),
        lse_(static_cast<std::size_t>(queries) * 4) {
    config_.query_heads = 4;
    config_.kv_heads = 2;
    config_.head_dim = kDims;
    config_.causal = true;
    batch_.query.length = queries;
    batch_.key.length = keys;
    options_.workers = workers;
  }

  Status plan(Plan& into) const { return plan_attention(config_, batch_, options_, into); }
  AttentionTensors tensors() {
    return {.q = q_.data(), .k = k_.data(), .v = v_.data(), .out = out_.data(), .lse = lse_.data()};
  }

 private:
  static constexpr std::int64_t kDims = 64;
  static std::size_t size(std::int64_t tokens, std::int64_t heads) {
    return static_cast<std::size_t>(tokens * heads * kDims);
  }

  AttentionConfig config_;
  Batch batch_;
  PlanOptions options_;
  std::vector<float> q_, k_, v_, out_, lse_;
};

class AttentionAllocation : public testing::Test {
 protected:
  void SetUp() override {
    if (!counts_allocations()) GTEST_SKIP() << "sanitizers replace the allocator themselves";
  }
};

TEST_F(AttentionAllocation, TheCountersCount) {
  const Count counted = count([] {
    std::vector<float> vector(1000);
    void* volatile memory = std::malloc(10);
    std::free(memory);
    EXPECT_EQ(vector.size(), 1000U);
  });
  EXPECT_EQ(counted.news, 1);
  EXPECT_EQ(counted.allocations, 2);
}

TEST_F(AttentionAllocation, NoneInRunsOfOneWorker) {
  for (const std::int64_t queries : {1, 300}) {
    Work work(queries, 3000, 1);
    Plan plan;
    Workspace workspace;
    ASSERT_TRUE(work.plan(plan).ok());
    ASSERT_TRUE(workspace.reserve(plan).ok());
    bool fine = run(plan, work.tensors(), workspace).ok();
    const Count counted = count([&] {
      for (int i = 0; i < 3; ++i) fine &= run(plan, work.tensors(), workspace).ok();
    });
    EXPECT_TRUE(fine);
    EXPECT_EQ(counted.allocations, 0);
  }
}

TEST_F(AttentionAllocation, NoneInShares) {
  for (const std::int64_t queries : {1, 100}) {
    Work work(queries, 9000, 4);
    Plan plan;
    Workspace workspace;
    ASSERT_TRUE(work.plan(plan).ok());
    ASSERT_TRUE(workspace.reserve(plan).ok());
    bool fine = true;
    const Count counted = count([&] {
      for (const int nth : {1, 4}) {
        for (int ith = 0; ith < nth; ++ith) {
          fine &= run_share(plan, work.tensors(), workspace, ith, nth).ok();
        }
      }
    });
    EXPECT_TRUE(fine);
    EXPECT_EQ(counted.allocations, 0);
  }
}

TEST_F(AttentionAllocation, NoneInPartialStates) {
  for (const std::int64_t queries : {1, 300}) {
    Work work(queries, 3000, 1);
    Plan plan;
    Workspace workspace;
    ASSERT_TRUE(work.plan(plan).ok());
    ASSERT_TRUE(workspace.reserve(plan).ok());
    StateShape shape = state_shape(plan);
    std::vector<float> memory(shape.floats());
    const PartialStates states = PartialStates::in(memory.data(), shape);
    shape.partitions = 1;
    std::vector<float> total_memory(shape.floats());
    const PartialStates total = PartialStates::in(total_memory.data(), shape);
    const AttentionTensors tensors = work.tensors();
    const std::array<ConstPartialStates, 2> merged = {total, states};
    bool fine = true;
    const Count counted = count([&] {
      fine &= run_partial(plan, tensors, states, workspace).ok() && clear(plan, total).ok();
      fine &= merge_into(plan, total, states).ok();
      fine &= merge(plan, merged, tensors.out, tensors.lse).ok();
    });
    EXPECT_TRUE(fine);
    EXPECT_EQ(counted.allocations, 0);
  }
}

// oneTBB may refill its pools of tasks when it likes; heed's own code uses operator new.
TEST_F(AttentionAllocation, NoneOfHeedsOwnInRunsOfManyWorkers) {
  Work work(300, 3000, 4);
  Plan plan;
  Workspace workspace;
  Executor executor, adopted;
  ASSERT_TRUE(Executor::create(2, executor).ok());
  const auto one_by_one = [](void*, int tasks, TaskFunction task, void* argument) {
    for (int i = 0; i < tasks; ++i) task(argument, i);
  };
  ASSERT_TRUE(Executor::adopt(2, one_by_one, nullptr, adopted).ok());
  ASSERT_TRUE(work.plan(plan).ok());
  ASSERT_TRUE(workspace.reserve(plan).ok());
  for (Executor* where : std::array<Executor*, 3>{nullptr, &executor, &adopted}) {
    bool fine = run(plan, work.tensors(), workspace, where).ok();
    const Count counted = count([&] {
      for (int i = 0; i < 5; ++i) fine &= run(plan, work.tensors(), workspace, where).ok();
    });
    EXPECT_TRUE(fine);
    EXPECT_EQ(counted.news, 0);
  }
}

TEST_F(AttentionAllocation, NoneWhenPlanningOrReservingAgain) {
  for (const std::int64_t queries : {1, 300}) {
    const Work work(queries, 9000, 7);
    Plan plan;
    Workspace workspace;
    for (int i = 0; i < 2; ++i) {
      ASSERT_TRUE(work.plan(plan).ok());
      ASSERT_TRUE(workspace.reserve(plan).ok());
    }
    bool fine = true;
    const Count counted = count([&] {
      for (int i = 0; i < 3; ++i) fine &= work.plan(plan).ok() && workspace.reserve(plan).ok();
    });
    EXPECT_TRUE(fine);
    EXPECT_EQ(counted.allocations, 0);
  }
}

TEST_F(AttentionAllocation, NoneWhenPlanningSharedPrefixesAgain) {
  const AttentionConfig config{
      .query_heads = 8, .kv_heads = 2, .head_dim = 64, .value_head_dim = 64, .causal = true};
  std::array<std::int32_t, 32> prefixes;
  prefixes.fill(2000);
  prefixes[0] = 0;
  Batch batch{.sequences = 32, .query = {.length = 1}, .key = {.length = 2100}};
  batch.pages = PagedLayout::bhsd(5000, 16, 2, 64);
  batch.shared_prefixes = prefixes;
  Plan plan;
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(plan_attention(config, batch, {.workers = 7}, plan).ok());
  }
  bool fine = true;
  const Count counted = count([&] {
    for (int i = 0; i < 3; ++i) fine &= plan_attention(config, batch, {.workers = 7}, plan).ok();
  });
  EXPECT_TRUE(fine);
  EXPECT_EQ(counted.allocations, 0);
  // With vectors of four lanes nothing is read together.
  const bool together = supported_isas().front().starts_with("avx");
  EXPECT_NE(plan.describe().find(together ? "groups: 1," : "groups: 0,"), std::string::npos);
}

}  // namespace
}  // namespace heed::tests
