// Workspaces of `sample`: how large they are, how they grow and move, and that one which is in use
// is refused.
#include "runtime/sampling/sampling_workspace.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <utility>
#include <vector>

#include "heed/sampling.h"

namespace heed::tests {
namespace {

constexpr std::int64_t kRows = 5, kLength = 20000;

using Tokens = std::vector<std::int32_t>;

/// Draws from the first logits of each row.
Status draw(std::int64_t length, int workers, SamplingWorkspace* workspace, Tokens& tokens) {
  static const std::vector<float> z = [] {
    std::vector<float> numbers(kRows * kLength);
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      numbers[i] = static_cast<float>(i * 7919 % 1021) / 128.0F;
    }
    return numbers;
  }();
  const SamplingRule rule{.top_k = 9000, .top_p = 0.9F};
  const std::vector<Draw> draws(kRows, {3, 4});
  tokens.assign(kRows, -7);
  return sample({z.data(), kRows, length, kLength}, {&rule, 1}, draws, {tokens.data()},
                {.workers = workers}, workspace);
}

Tokens drawn(std::int64_t length, int workers, SamplingWorkspace* workspace) {
  Tokens tokens;
  const Status status = draw(length, workers, workspace, tokens);
  EXPECT_TRUE(status.ok()) << status.message();
  return tokens;
}

TEST(SamplingWorkspaces, TakeWhatTheHeaderSays) {
  for (const std::int64_t length : {0, 1, 100, 128256}) {
    for (const int workers : {1, 2, 7}) {
      SamplingWorkspace workspace;
      ASSERT_TRUE(workspace.reserve(length, workers).ok());
      const std::int64_t sums = (length + 2047) / 2048;
      const auto least = static_cast<std::size_t>((28 * length + 8 * sums) * workers);
      EXPECT_GE(workspace.bytes(), least);
      const auto few =
          static_cast<std::size_t>(workers) * (1024 + static_cast<std::size_t>(length) / 128);
      EXPECT_LE(workspace.bytes(), least + few);
    }
  }
}

TEST(SamplingWorkspaces, GrowWhereTheyAreTooSmall) {
  const Tokens expected = drawn(kLength, 1, nullptr);
  SamplingWorkspace workspace;
  ASSERT_TRUE(workspace.reserve(10, 1).ok());
  const std::size_t before = workspace.bytes();
  EXPECT_EQ(drawn(kLength, 1, &workspace), expected);
  const std::size_t longer = workspace.bytes();
  EXPECT_GT(longer, before);
  EXPECT_EQ(drawn(kLength, 4, &workspace), expected);
  const std::size_t more = workspace.bytes();
  EXPECT_GT(more, longer);
  drawn(10, 1, &workspace);
  EXPECT_EQ(drawn(kLength, 2, &workspace), expected);
  EXPECT_EQ(workspace.bytes(), more);
}

TEST(SamplingWorkspaces, Move) {
  const Tokens expected = drawn(kLength, 1, nullptr);
  SamplingWorkspace first;
  ASSERT_TRUE(first.reserve(kLength, 1).ok());
  const std::size_t bytes = first.bytes();
  SamplingWorkspace second(std::move(first));
  EXPECT_EQ(second.bytes(), bytes);
  // One that was moved from is an empty one.
  EXPECT_EQ(first.bytes(), 0U);  // NOLINT(bugprone-use-after-move,clang-analyzer-cplusplus.Move)
  EXPECT_EQ(drawn(kLength, 1, &second), expected);
  EXPECT_EQ(drawn(kLength, 1, &first), expected);
  first = std::move(second);
  EXPECT_EQ(drawn(kLength, 1, &first), expected);
}

TEST(SamplingWorkspaces, AreRefusedInUse) {
  SamplingWorkspace workspace;
  ASSERT_TRUE(workspace.reserve(kLength, 1).ok());
  const std::size_t bytes = workspace.bytes();
  ASSERT_TRUE(detail::begin_use(workspace).ok());
  Tokens tokens;
  for (const std::int64_t length : {std::int64_t{10}, kLength}) {
    for (const int workers : {1, 3}) {  // with room enough, and without
      const Status status = draw(length, workers, &workspace, tokens);
      EXPECT_EQ(status.code(), StatusCode::invalid_argument);
      EXPECT_EQ(status.message(), "workspace is in use by another call");
      EXPECT_EQ(tokens, Tokens(kRows, -7)) << "a refused call wrote";
    }
  }
  EXPECT_EQ(workspace.reserve(kLength, 9).message(), "workspace is in use by another call");
  EXPECT_EQ(workspace.bytes(), bytes);
  detail::end_use(workspace.data());
  EXPECT_EQ(drawn(kLength, 1, &workspace), drawn(kLength, 1, nullptr));
  EXPECT_TRUE(workspace.reserve(kLength, 2).ok()) << "a call that has ended uses it no more";
}

// A call that is refused takes no workspace for good.
TEST(SamplingWorkspaces, AreFreeAfterARefusal) {
  SamplingWorkspace workspace;
  Tokens tokens;
  EXPECT_FALSE(draw(kLength, -1, &workspace, tokens).ok());
  EXPECT_EQ(workspace.bytes(), 0U);
  EXPECT_EQ(drawn(kLength, 1, &workspace), drawn(kLength, 1, nullptr));
}

}  // namespace
}  // namespace heed::tests
