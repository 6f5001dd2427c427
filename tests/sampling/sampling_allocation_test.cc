// Once its workspace is reserved `sample` allocates nothing; one that is too small grows once.
#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <vector>

#include "heed/executor.h"
#include "heed/sampling.h"
#include "tests/support/allocation_count.h"

namespace heed::tests {
namespace {

constexpr std::int64_t kRows = 6, kLength = 40000;

/// Rows on plain vectors: nothing here allocates once it is made.
class SamplingAllocation : public testing::Test {
 protected:
  void SetUp() override {
    if (!counts_allocations()) GTEST_SKIP() << "sanitizers replace the allocator themselves";
    for (std::size_t i = 0; i < z_.size(); ++i) {
      z_[i] = static_cast<float>(i * 7919 % 1021) / 128.0F;
    }
  }

  /// One call for each length and type.
  bool draw(std::int64_t longest, const RunOptions& options, SamplingWorkspace* workspace) {
    bool fine = true;
    for (const std::int64_t length : {longest, std::int64_t{100}}) {
      for (const DType type : {DType::f32, DType::bf16}) {
        const Logits logits{{z_.data(), type}, kRows, length, length};
        const Samples samples{tokens_.data(), probabilities_.data()};
        fine &= sample(logits, rules_, draws_, samples, options, workspace).ok();
      }
    }
    return fine;
  }

  std::vector<float> z_ = std::vector<float>(kRows * kLength);
  std::array<SamplingRule, kRows> rules_ = {
      SamplingRule{},  {.temperature = 0},
      {.top_k = 50},   {.top_p = 0.9F},
      {.min_p = 0.1F}, {.temperature = 0.8F, .top_k = 9000, .top_p = 0.9F, .min_p = 0.01F}};
  std::array<Draw, kRows> draws_{};
  std::array<std::int32_t, kRows> tokens_{};
  std::array<float, kRows> probabilities_{};
};

TEST_F(SamplingAllocation, NoneOnceReserved) {
  SamplingWorkspace workspace;
  ASSERT_TRUE(workspace.reserve(kLength, 1).ok());
  const std::size_t bytes = workspace.bytes();
  bool fine = draw(kLength, {.workers = 1}, &workspace);
  const Count counted = count([&] {
    for (int i = 0; i < 3; ++i) fine &= draw(kLength, {.workers = 1}, &workspace);
    fine &= workspace.reserve(kLength, 1).ok() && workspace.reserve(10, 2).ok();
  });
  EXPECT_TRUE(fine);
  EXPECT_EQ(counted.allocations, 0);
  EXPECT_EQ(workspace.bytes(), bytes);
}

TEST_F(SamplingAllocation, OneWhereTheWorkspaceIsTooSmall) {
  SamplingWorkspace workspace;
  ASSERT_TRUE(workspace.reserve(100, 1).ok());
  bool fine = draw(100, {.workers = 1}, nullptr);  // what happens once in a process
  const Count first = count([&] { fine &= draw(kLength, {.workers = 1}, &workspace); });
  const Count second = count([&] { fine &= draw(kLength, {.workers = 1}, &workspace); });
  EXPECT_TRUE(fine);
  EXPECT_EQ(first.allocations, 1);
  EXPECT_EQ(second.allocations, 0);
}

TEST_F(SamplingAllocation, OneACallWithoutAWorkspace) {
  bool fine = draw(100, {.workers = 1}, nullptr);
  const Count counted = count([&] { fine &= draw(kLength, {.workers = 1}, nullptr); });
  EXPECT_TRUE(fine);
  EXPECT_EQ(counted.allocations, 4);  // of two lengths and two types
}

// oneTBB may refill its pools of tasks when it likes; heed's own code uses operator new, and for
// the workspace an allocation that shows in its place or size.
TEST_F(SamplingAllocation, NoneOfHeedsOwnWithManyWorkers) {
  Executor executor;
  ASSERT_TRUE(Executor::create(3, executor).ok());
  for (Executor* where : std::array<Executor*, 2>{nullptr, &executor}) {
    SamplingWorkspace workspace;
    ASSERT_TRUE(workspace.reserve(kLength, 4).ok());
    const std::size_t bytes = workspace.bytes();
    const auto* const place = workspace.data();
    const RunOptions options{.workers = 4, .executor = where};
    bool fine = draw(kLength, options, &workspace);
    const Count counted = count([&] {
      for (int i = 0; i < 5; ++i) fine &= draw(kLength, options, &workspace);
    });
    EXPECT_TRUE(fine);
    EXPECT_EQ(counted.news, 0);
    EXPECT_EQ(workspace.bytes(), bytes);
    EXPECT_EQ(workspace.data(), place);
  }
}

}  // namespace
}  // namespace heed::tests
