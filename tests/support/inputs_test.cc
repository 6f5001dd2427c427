// Random numbers are as they are said to be: tests with inputs that are all alike would show
// little.
#include "tests/proof/inputs.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <set>

namespace heed::proof {
namespace {

constexpr int kCount = 1 << 18;

// Sums of powers differ from what is expected by five of their own deviations at most.
TEST(RandomInputs, NormalsHaveTheirMoments) {
  // A coin has the fourth cumulant −1/8, and a uniform number −1/120.
  constexpr double variance = 40 / 4.0 + 1 / 12.0;
  constexpr double excess = -(40 / 8.0 + 1 / 120.0) / (variance * variance);
  constexpr std::array expected = {0.0, 1.0, 0.0, 3 + excess};
  constexpr std::array deviations = {1.0, 1.4, 3.9, 9.8};  // of x to x⁴, of normal numbers
  for (const std::uint64_t seed : {0, 1, 2, 7919}) {
    Random random(seed);
    std::array<double, 4> sums = {};
    std::set<double> different;
    for (int i = 0; i < kCount; ++i) {
      const double x = random.normal();
      different.insert(x);
      for (std::size_t p = 0; p < sums.size(); ++p) sums[p] += std::pow(x, p + 1);
    }
    for (std::size_t p = 0; p < sums.size(); ++p) {
      EXPECT_NEAR(sums[p] / kCount, expected[p], 5 * deviations[p] / std::sqrt(kCount)) << p;
    }
    EXPECT_GT(different.size(), std::size_t{kCount} * 99 / 100);
  }
}

TEST(RandomInputs, NumbersBelowAreUniform) {
  Random random(3);
  std::array<int, 7> counts = {};
  for (int i = 0; i < kCount; ++i) ++counts[static_cast<std::size_t>(random.below(7))];
  const double each = kCount / 7.0;
  for (const int count : counts) EXPECT_NEAR(count, each, 5 * std::sqrt(each));
}

TEST(RandomInputs, SeedsDiffer) {
  std::set<double> first;
  for (std::uint64_t seed = 0; seed < 1000; ++seed) first.insert(Random(seed).uniform());
  EXPECT_EQ(first.size(), 1000U);
}

}  // namespace
}  // namespace heed::proof
