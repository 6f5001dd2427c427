// Softmax of matrices, its gradients and sampling through the C interface have the bits that they
// have through that of C++.
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "tests/c/to_c.h"

namespace heed::tests {
namespace {

constexpr std::int64_t kRows = 5, kLength = 37, kStride = 40;

std::vector<float> matrix(int seed) {
  std::vector<float> all(kRows * kStride);
  for (std::size_t i = 0; i < all.size(); ++i) {
    all[i] = static_cast<float>((i * 29 + static_cast<std::size_t>(seed) * 7) % 83) / 20 - 2;
  }
  return all;
}

heed_const_rows c_rows(const float* data) {
  auto rows = initialised(heed_const_rows_init);
  rows.data = {data, HEED_F32};
  rows.rows = kRows;
  rows.length = kLength;
  rows.stride = kStride;
  return rows;
}

heed_rows c_rows(void* data, heed_dtype type) {
  auto rows = initialised(heed_rows_init);
  rows.data = {data, type};
  rows.rows = kRows;
  rows.length = kLength;
  rows.stride = kStride;
  return rows;
}

/// Options that use every member, both ways.
struct Options {
  Options() {
    visible[3] = 0;
    cpp.scale = c.scale = 0.5F;
    cpp.temperature = c.temperature = 0.7F;
    cpp.workers = c.workers = 1;
    cpp.mask = {visible.data(), 0};
    c.mask = {visible.data(), 0};
  }
  void give_temperatures() {
    cpp.temperatures = temperatures;
    c.temperatures = temperatures.data();
    c.temperatures_count = temperatures.size();
  }
  std::vector<std::uint8_t> visible = std::vector<std::uint8_t>(kLength, 1);
  std::array<float, kRows> temperatures = {1, 2, 0.5F, std::numeric_limits<float>::infinity(), 3};
  SoftmaxOptions cpp;
  heed_softmax_options c = initialised(heed_softmax_options_init);
};

TEST(SoftmaxInC, HasTheBitsOfCpp) {
  const std::vector<float> x = matrix(1);
  for (const bool many : {false, true}) {
    Options options;
    if (many) options.give_temperatures();
    const ConstRows rows = {x.data(), kRows, kLength, kStride};
    const heed_const_rows in = c_rows(x.data());
    std::vector<float> y(x.size()), c_y(x.size()), lse(kRows), c_lse(kRows);
    ASSERT_TRUE(softmax(rows, {y.data(), kRows, kLength, kStride}, options.cpp).ok());
    heed_rows out = c_rows(c_y.data(), HEED_F32);
    ASSERT_DONE(heed_softmax(&in, &out, &options.c));
    EXPECT_EQ(y, c_y);
    ASSERT_TRUE(log_softmax(rows, {y.data(), kRows, kLength, kStride}, options.cpp).ok());
    ASSERT_DONE(heed_log_softmax(&in, &out, &options.c));
    EXPECT_EQ(y, c_y);
    ASSERT_TRUE(log_sum_exp(rows, lse.data(), options.cpp).ok());
    ASSERT_DONE(heed_log_sum_exp(&in, c_lse.data(), &options.c));
    EXPECT_EQ(lse, c_lse);
  }
}

TEST(SoftmaxInC, OfOtherTypesAndWithDefaults) {
  const std::vector<float> x = matrix(2);
  std::vector<BFloat16> y(x.size()), c_y(x.size());
  ASSERT_TRUE(
      softmax({x.data(), kRows, kLength, kStride}, {y.data(), kRows, kLength, kStride}).ok());
  const heed_const_rows in = c_rows(x.data());
  const heed_rows out = c_rows(c_y.data(), HEED_BF16);
  ASSERT_DONE(heed_softmax(&in, &out, nullptr));
  EXPECT_EQ(std::memcmp(y.data(), c_y.data(), y.size() * sizeof(BFloat16)), 0);
}

TEST(SoftmaxInC, GradientsHaveTheBitsOfCpp) {
  const std::vector<float> x = matrix(3), dy = matrix(4);
  std::vector<float> y(x.size()), dx(x.size()), c_dx(x.size()), dt(kRows), c_dt(kRows);
  Options options;
  options.give_temperatures();
  const ConstRows rows = {y.data(), kRows, kLength, kStride},
                  dy_rows = {dy.data(), kRows, kLength, kStride};
  const Rows dx_rows = {dx.data(), kRows, kLength, kStride};
  const heed_const_rows c_y = c_rows(y.data()), c_dy = c_rows(dy.data());
  const heed_rows c_out = c_rows(c_dx.data(), HEED_F32);
  ASSERT_TRUE(
      softmax({x.data(), kRows, kLength, kStride}, {y.data(), kRows, kLength, kStride}, options.cpp)
          .ok());
  ASSERT_TRUE(softmax_gradient(rows, dy_rows, dx_rows, dt.data(), options.cpp).ok());
  ASSERT_DONE(heed_softmax_gradient(&c_y, &c_dy, &c_out, c_dt.data(), &options.c));
  EXPECT_EQ(dx, c_dx);
  EXPECT_EQ(dt, c_dt);
  ASSERT_TRUE(softmax_gradient(rows, dy_rows, dx_rows, options.cpp).ok());
  ASSERT_DONE(heed_softmax_gradient(&c_y, &c_dy, &c_out, nullptr, &options.c));
  EXPECT_EQ(dx, c_dx);
  ASSERT_TRUE(log_softmax({x.data(), kRows, kLength, kStride}, {y.data(), kRows, kLength, kStride},
                          options.cpp)
                  .ok());
  ASSERT_TRUE(log_softmax_gradient(rows, dy_rows, dx_rows, dt.data(), options.cpp).ok());
  ASSERT_DONE(heed_log_softmax_gradient(&c_y, &c_dy, &c_out, c_dt.data(), &options.c));
  EXPECT_EQ(dx, c_dx);
  EXPECT_EQ(dt, c_dt);
}

TEST(SoftmaxInC, AnOlderCallerKeepsDefaults) {
  const std::vector<float> x = matrix(5);
  std::vector<float> y(x.size()), c_y(x.size());
  ASSERT_TRUE(
      softmax({x.data(), kRows, kLength, kStride}, {y.data(), kRows, kLength, kStride}).ok());
  heed_softmax_options options = initialised(heed_softmax_options_init);
  options.scale = 3;
  options.struct_size = offsetof(heed_softmax_options, scale);
  const heed_const_rows in = c_rows(x.data());
  const heed_rows out = c_rows(c_y.data(), HEED_F32);
  ASSERT_DONE(heed_softmax(&in, &out, &options));
  EXPECT_EQ(y, c_y);
}

class SamplingInC : public testing::Test {
 protected:
  SamplingInC() {
    c_logits_.data = {logits_.data(), HEED_F32};
    c_logits_.rows = kRows;
    c_logits_.length = kLength;
    c_logits_.stride = kStride;
    c_samples_.tokens = c_tokens_.data();
    c_samples_.probabilities = c_probabilities_.data();
    for (std::uint64_t r = 0; r < kRows; ++r) {
      draws_[r] = {17 + r, 3 * r};
      c_draws_[r] = {17 + r, 3 * r};
    }
    EXPECT_DONE(heed_sampling_workspace_create(workspace_.out()));
  }

  void expect_same(const std::vector<SamplingRule>& rules,
                   const std::vector<heed_sampling_rule>& c_rules) {
    ASSERT_TRUE(sample({logits_.data(), kRows, kLength, kStride}, rules, draws_,
                       {tokens_.data(), probabilities_.data()})
                    .ok());
    for (heed_sampling_workspace* workspace : {static_cast<heed_sampling_workspace*>(workspace_),
                                               static_cast<heed_sampling_workspace*>(nullptr)}) {
      ASSERT_DONE(heed_sample(&c_logits_, c_rules.data(), c_rules.size(), c_draws_.data(),
                              c_draws_.size(), &c_samples_, nullptr, workspace));
      EXPECT_EQ(tokens_, c_tokens_);
      EXPECT_EQ(probabilities_, c_probabilities_);
    }
  }

  std::vector<float> logits_ = matrix(6);
  std::array<Draw, kRows> draws_;
  std::array<heed_draw, kRows> c_draws_;
  std::array<std::int32_t, kRows> tokens_ = {}, c_tokens_ = {};
  std::array<float, kRows> probabilities_ = {}, c_probabilities_ = {};
  heed_logits c_logits_ = initialised(heed_logits_init);
  heed_samples c_samples_ = initialised(heed_samples_init);
  OwnedSampling workspace_;
};

heed_sampling_rule to_c(const SamplingRule& rule) {
  auto c = initialised(heed_sampling_rule_init);
  c.temperature = rule.temperature;
  c.top_k = rule.top_k;
  c.top_p = rule.top_p;
  c.min_p = rule.min_p;
  return c;
}

TEST_F(SamplingInC, DrawsTheTokensOfCpp) {
  const SamplingRule rule = {.temperature = 0.8F, .top_k = 20, .top_p = 0.9F, .min_p = 0.01F};
  expect_same({rule}, {to_c(rule)});
  const std::vector<SamplingRule> rules = {rule, {.temperature = 0}, {}, {.top_k = 2}, {}};
  std::vector<heed_sampling_rule> c_rules;
  c_rules.reserve(rules.size());
  for (const SamplingRule& each : rules) c_rules.push_back(to_c(each));
  expect_same(rules, c_rules);
}

TEST_F(SamplingInC, RulesLieAsFarApartAsTheCallerHasThem) {
  // An older caller, whose rules had no temperature yet, and one whose rules have more.
  struct Older {
    std::size_t struct_size;
    std::int64_t top_k;
  };
  struct Later {
    heed_sampling_rule known;
    std::int64_t unknown;
  };
  std::array<Older, kRows> older;
  std::array<Later, kRows> later;
  std::vector<SamplingRule> rules(kRows);
  for (std::size_t r = 0; r < kRows; ++r) {
    rules[r].top_k = static_cast<std::int64_t>(r + 1);
    older[r] = {sizeof(Older), rules[r].top_k};
    later[r] = {to_c(rules[r]), 0};
    later[r].known.struct_size = sizeof(Later);
  }
  ASSERT_TRUE(sample({logits_.data(), kRows, kLength, kStride}, rules, draws_,
                     {tokens_.data(), probabilities_.data()})
                  .ok());
  for (const void* of_caller :
       {static_cast<const void*>(older.data()), static_cast<const void*>(later.data())}) {
    ASSERT_DONE(heed_sample(&c_logits_, static_cast<const heed_sampling_rule*>(of_caller), kRows,
                            c_draws_.data(), kRows, &c_samples_, nullptr, workspace_));
    EXPECT_EQ(tokens_, c_tokens_);
  }
  older[2].struct_size = 8;
  EXPECT_EQ(heed_sample(&c_logits_, reinterpret_cast<const heed_sampling_rule*>(older.data()),
                        kRows, c_draws_.data(), kRows, &c_samples_, nullptr, workspace_),
            HEED_INVALID_ARGUMENT);
  EXPECT_STREQ(heed_last_message(), "rules[2].struct_size (8) must be that of the first (16)");
  later[1].unknown = 1;
  EXPECT_EQ(heed_sample(&c_logits_, reinterpret_cast<const heed_sampling_rule*>(later.data()),
                        kRows, c_draws_.data(), kRows, &c_samples_, nullptr, workspace_),
            HEED_INVALID_ARGUMENT);
  const std::string fault =
      "rules[1].struct_size (" + std::to_string(sizeof(Later)) + ") is larger";
  EXPECT_EQ(std::string(heed_last_message()).find(fault), 0U) << heed_last_message();
}

TEST_F(SamplingInC, AWorkspaceKeepsItsMemory) {
  SamplingWorkspace workspace;
  ASSERT_TRUE(workspace.reserve(1000, 2).ok());
  size_t bytes = 1;
  EXPECT_DONE(heed_sampling_workspace_bytes(workspace_, &bytes));
  EXPECT_EQ(bytes, 0U);
  EXPECT_DONE(heed_sampling_workspace_reserve(workspace_, 1000, 2));
  EXPECT_DONE(heed_sampling_workspace_bytes(workspace_, &bytes));
  EXPECT_EQ(bytes, workspace.bytes());
}

}  // namespace
}  // namespace heed::tests
