// What plans will cost on workers that need not be there.
#include "heed/forecast.h"

#include <gtest/gtest.h>

#include <cstdint>

#include "heed/attention.h"

namespace heed::tests {
namespace {

Forecast forecast_on(int workers, std::int64_t keys) {
  const AttentionConfig config{.query_heads = 8, .kv_heads = 8, .head_dim = 64};
  const Batch batch{.sequences = 2, .query = {.length = 1}, .key = {.length = keys}};
  Plan plan;
  Forecast made;
  EXPECT_TRUE(plan_attention(config, batch, {.workers = workers}, plan).ok());
  EXPECT_TRUE(forecast(plan, made).ok());
  return made;
}

// Decode reads the heads of a sequence together.
TEST(Forecast, OneWorkerDoesAllWork) {
  const Forecast one = forecast_on(1, 100);
  EXPECT_EQ(one.items, 2);
  EXPECT_EQ(one.splits, 0);
  EXPECT_GT(one.work, 0);
  EXPECT_NEAR(one.makespan / one.work, 1, 1e-12);
  EXPECT_NEAR(one.longest * 2 / one.work, 1, 1e-12);
}

TEST(Forecast, SixteenItemsOnSixteenWorkers) {
  const Forecast sixteen = forecast_on(16, 250);
  EXPECT_NEAR(sixteen.makespan * 16 / sixteen.work, 1, 1e-12);
  EXPECT_EQ(sixteen.makespan, sixteen.longest);
}

// What is split costs more, merging included, and ends sooner than the longest row.
TEST(Forecast, SplitRowsOnMoreWorkersThanRows) {
  const Forecast whole = forecast_on(16, 32768), split = forecast_on(256, 32768);
  EXPECT_GT(split.splits, 0);
  EXPECT_GT(split.items, 16);
  EXPECT_LT(split.makespan, whole.makespan / 4);
  EXPECT_GT(split.makespan, split.work / 256);
}

TEST(Forecast, NothingIsKnownOfAnEmptyPlan) {
  Forecast made{.items = 7};
  EXPECT_EQ(forecast(Plan(), made).message(),
            "the plan is empty: make it with plan_attention first");
  EXPECT_EQ(made.items, 7);
}

}  // namespace
}  // namespace heed::tests
