// How often tokens are drawn, by Pearson's chi-square test.
//
// The false-alarm rate of each test is below 10⁻⁶: it fails where the statistic exceeds the
// quantile of the chi-square distribution at 1 − 10⁻⁶, by the formula of Wilson and Hilferty, whose
// error there is below a hundredth for five degrees of freedom and more. With the 24 tests that
// there are, a right generator with seeds drawn at random would fail one of 40,000 times. Seeds are
// fixed, so that a test that has passed passes again. Every cell expects 25 draws or more.
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <vector>

#include "heed/sampling.h"
#include "tests/proof/inputs.h"
#include "tests/proof/sampling_reference.h"

namespace heed::tests {
namespace {

constexpr std::size_t kDraws = 40000;

/// What is exceeded once in a million times.
double quantile(std::size_t degrees) {
  constexpr double normal = 4.753424;
  const double n = static_cast<double>(degrees), t = 2 / (9 * n);
  return n * std::pow(1 - t + normal * std::sqrt(t), 3);
}

/// Fails where the draws of a row by `draw_of(i)` are not distributed as softmax and filters say.
template <class DrawOf>
void expect_distribution(const std::vector<float>& row, const SamplingRule& rule, DrawOf draw_of) {
  std::vector<Draw> draws(kDraws);
  for (std::size_t i = 0; i < kDraws; ++i) draws[i] = draw_of(i);
  std::vector<std::int32_t> tokens(kDraws);
  const auto length = std::ssize(row);
  ASSERT_TRUE(
      sample({row.data(), std::ssize(draws), length, 0}, {&rule, 1}, draws, {tokens.data()}).ok());
  // Which tokens are kept is proved elsewhere; what they weigh is computed in float64.
  const std::vector<std::uint64_t> kept = proof::kept_weights(row, rule);
  std::vector<double> weights = proof::exact_weights(row, rule.temperature);
  double total = 0;
  for (std::size_t i = 0; i < row.size(); ++i) total += weights[i] *= kept[i] > 0 ? 1 : 0;
  std::vector<double> counts(row.size());
  for (const std::int32_t token : tokens) ++counts[static_cast<std::size_t>(token)];
  double statistic = 0, expected_rest = 0, rest = 0;
  std::size_t cells = 0;
  const auto add = [&](double count, double expected) {
    statistic += (count - expected) * (count - expected) / expected;
    ++cells;
  };
  for (std::size_t i = 0; i < row.size(); ++i) {
    const double expected = weights[i] / total * static_cast<double>(kDraws);
    ASSERT_TRUE(expected > 0 || counts[i] == 0) << "token " << i << " is not kept";
    expected_rest += expected, rest += counts[i];
    if (expected_rest < 25) continue;  // rare tokens have a cell together
    add(rest, expected_rest);
    expected_rest = rest = 0;
  }
  if (expected_rest > 0.5) add(rest, expected_rest);
  ASSERT_GE(cells, 3U);
  EXPECT_LT(statistic, quantile(cells - 1)) << cells << " cells";
}

std::vector<float> logits(std::size_t length, double deviation) {
  proof::Random random(3);
  std::vector<float> row(length);
  for (float& z : row) z = static_cast<float>(deviation * random.normal());
  return row;
}

const SamplingRule kRules[] = {{},
                               {.temperature = 0.7F},
                               {.temperature = 2, .top_k = 50},
                               {.top_p = 0.9F},
                               {.min_p = 0.05F},
                               {.temperature = 1.2F, .top_k = 80, .top_p = 0.95F, .min_p = 0.01F}};

TEST(SamplingDistribution, OfCounters) {
  for (const SamplingRule& rule : kRules) {
    expect_distribution(logits(200, 1), rule, [](std::size_t i) { return Draw{1, i}; });
    expect_distribution(logits(3000, 2), rule, [](std::size_t i) { return Draw{2, i << 20}; });
  }
}

TEST(SamplingDistribution, OfSeeds) {
  for (const SamplingRule& rule : kRules) {
    expect_distribution(logits(200, 1), rule, [](std::size_t i) { return Draw{i, 0}; });
    expect_distribution(logits(3000, 2), rule, [](std::size_t i) { return Draw{i << 30, i}; });
  }
}

}  // namespace
}  // namespace heed::tests
