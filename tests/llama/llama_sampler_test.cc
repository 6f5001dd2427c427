// Which token the sampler picks, and how often.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <vector>

#include "tools/llama/sampler.h"

namespace heed::tests {
namespace {

using llama::Sampler;
using llama::SamplerOptions;

constexpr std::int64_t kDraws = 20000;

std::int32_t pick(const SamplerOptions& options, std::vector<float> logits,
                  std::int64_t position = 0) {
  std::int32_t token = -1;
  const Status status = Sampler(options).pick(logits, {&position, 1}, {&token, 1});
  EXPECT_TRUE(status.ok()) << status.message();
  return token;
}

/// Expects each token as often as its probability says, within five standard deviations.
void expect_drawn(const SamplerOptions& options, const std::vector<float>& logits,
                  const std::vector<double>& probabilities) {
  std::vector<std::int64_t> counts(logits.size());
  for (std::int64_t i = 0; i < kDraws; ++i) {
    ++counts[static_cast<std::size_t>(pick(options, logits, i))];
  }
  for (std::size_t id = 0; id < logits.size(); ++id) {
    const double p = probabilities[id], expected = p * kDraws;
    EXPECT_NEAR(static_cast<double>(counts[id]), expected, 5 * std::sqrt(expected * (1 - p)))
        << "token " << id << ", top-p " << options.rule.top_p << ", temperature "
        << options.rule.temperature;
  }
}

const std::vector<float> kLogits = {std::log(0.2F), std::log(0.5F), -INFINITY, std::log(0.3F)};

TEST(Sampler, OfTemperatureZeroPicksTheLargest) {
  EXPECT_EQ(pick({}, {1, 3, 2}), 1);
  EXPECT_EQ(pick({}, {1, 3, 3}), 1);
  EXPECT_EQ(pick({}, {-INFINITY, -5}), 1);
  EXPECT_EQ(pick({.rule = {.temperature = 0, .top_p = 0.01F}, .seed = 7}, {1, 2}, 9), 1);
}

TEST(Sampler, DrawsByProbability) {
  expect_drawn({.rule = {.temperature = 1}}, kLogits, {0.2, 0.5, 0, 0.3});
  expect_drawn({.rule = {.temperature = INFINITY}}, kLogits, {1. / 3, 1. / 3, 0, 1. / 3});
  const double a = std::sqrt(0.2), b = std::sqrt(0.5), c = std::sqrt(0.3), sum = a + b + c;
  expect_drawn({.rule = {.temperature = 2}}, kLogits, {a / sum, b / sum, 0, c / sum});
}

TEST(Sampler, TopPLeavesTheFewestWithAsMuch) {
  expect_drawn({.rule = {.temperature = 1, .top_p = 0.4F}}, kLogits, {0, 1, 0, 0});
  expect_drawn({.rule = {.temperature = 1, .top_p = 0.6F}}, kLogits, {0, 0.625, 0, 0.375});
  expect_drawn({.rule = {.temperature = 1, .top_p = 0.79F}}, kLogits, {0, 0.625, 0, 0.375});
  expect_drawn({.rule = {.temperature = 1, .top_p = 0.81F}}, kLogits, {0.2, 0.5, 0, 0.3});
  expect_drawn({.rule = {.temperature = 1, .top_p = 1e-30F}}, {0, 0, 0}, {1, 0, 0});
}

TEST(Sampler, SeedsAndPositionsAreAllThatDrawsDependOn) {
  const std::vector<float> even(1000, 0.0F);
  std::int64_t same_seed = 0, same_position = 0;
  for (std::int64_t i = 0; i < 1000; ++i) {
    const SamplerOptions options{.rule = {.temperature = 1}, .seed = 1};
    const std::int32_t token = pick(options, even, i);
    EXPECT_EQ(pick(options, even, i), token);
    same_position += token == pick({.rule = {.temperature = 1}, .seed = 2}, even, i);
    same_seed += token == pick(options, even, i + 1);
  }
  EXPECT_LT(same_position, 20);  // one is to be expected
  EXPECT_LT(same_seed, 20);
}

TEST(Sampler, TextsTogetherAreTextsApart) {
  const std::vector<float> texts[] = {{1, 2, 3}, {3, 2, 1}, {0, 0, 0}};
  std::vector<float> all;
  for (const std::vector<float>& text : texts) all.insert(all.end(), text.begin(), text.end());
  const SamplerOptions options{.rule = {.temperature = 1}, .seed = 3};
  Sampler sampler(options);
  for (std::int64_t i = 0; i < 100; ++i) {
    const std::vector<std::int64_t> positions = {i, 5, 2 * i};
    std::vector<std::int32_t> tokens(3);
    ASSERT_TRUE(sampler.pick(all, positions, tokens).ok());
    for (std::size_t t = 0; t < 3; ++t) EXPECT_EQ(tokens[t], pick(options, texts[t], positions[t]));
  }
}

TEST(Sampler, GivesNoTokenOfLogitsThatGiveNoProbabilities) {
  const std::vector<float> faults[] = {{0, NAN}, {NAN, 0}, {0, INFINITY}, {-INFINITY, -INFINITY}};
  for (const std::vector<float>& logits : faults) {
    for (const float temperature : {0.0F, 1.0F}) {
      EXPECT_EQ(pick({.rule = {.temperature = temperature}}, logits, 4), kNoToken);
    }
  }
}

}  // namespace
}  // namespace heed::tests
