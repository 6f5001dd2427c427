// What `sample` refuses, and that it says why and changes nothing.
#include <gtest/gtest.h>

#include <array>
#include <string>
#include <vector>

#include "heed/sampling.h"
#include "tests/proof/numbers.h"

namespace heed::tests {
namespace {

using proof::kNan;

class SamplingErrors : public testing::Test {
 protected:
  Logits logits() const { return {z_.data(), 4, 8, 8}; }
  Samples samples() { return {tokens_.data(), shares_.data()}; }

  void expect_refused(const Status& status, const std::string& message) {
    EXPECT_EQ(status.code(), StatusCode::invalid_argument);
    EXPECT_EQ(status.message(), message);
    for (const std::int32_t token : tokens_) ASSERT_EQ(token, -5) << "a refused call wrote";
    for (const float share : shares_) ASSERT_EQ(share, -5) << "a refused call wrote";
  }
  void expect_refused(const Logits& logits, const std::string& message) {
    expect_refused(sample(logits, {&rule_, 1}, draws_, samples()), message);
  }
  void expect_refused(const SamplingRule& rule, const std::string& message) {
    expect_refused(sample(logits(), {&rule, 1}, draws_, samples()), "rules[0]." + message);
    const std::vector<SamplingRule> rules = {{}, {}, {}, rule};
    expect_refused(sample(logits(), rules, draws_, samples()), "rules[3]." + message);
  }

  std::array<float, 32> z_{};
  std::array<std::int32_t, 4> tokens_{-5, -5, -5, -5};
  std::array<float, 4> shares_{-5, -5, -5, -5};
  SamplingRule rule_;
  std::vector<Draw> draws_{4};
};

TEST_F(SamplingErrors, Shapes) {
  expect_refused(Logits{z_.data(), -1, 8, 8}, "logits.rows (-1) must be 0 or more");
  expect_refused(Logits{z_.data(), 4, -8, 8}, "logits.length (-8) must be from 0 to 4194304");
  expect_refused(Logits{z_.data(), 1, 4194305, 8},
                 "logits.length (4194305) must be from 0 to 4194304");
  expect_refused(Logits{nullptr, 4, 8, 8}, "logits.data must not be null for 4 rows of 8 logits");
  expect_refused(Logits{{z_.data(), DType::int8}, 4, 8, 8},
                 "the type of logits (int8) must be one of f32, f16, bf16");
  expect_refused(sample(logits(), {&rule_, 1}, draws_, {nullptr, shares_.data()}),
                 "samples.tokens must not be null for 4 rows");
}

TEST_F(SamplingErrors, Rules) {
  expect_refused(SamplingRule{.temperature = -1},
                 "temperature (-1) must be 0 or more, or infinity");
  expect_refused(SamplingRule{.temperature = kNan},
                 "temperature (nan) must be 0 or more, or infinity");
  expect_refused(SamplingRule{.top_k = -1}, "top_k (-1) must be 0 (all tokens) or more");
  expect_refused(SamplingRule{.top_p = 0}, "top_p (0) must be above 0, up to 1");
  expect_refused(SamplingRule{.top_p = 1.5F}, "top_p (1.5) must be above 0, up to 1");
  expect_refused(SamplingRule{.top_p = kNan}, "top_p (nan) must be above 0, up to 1");
  expect_refused(SamplingRule{.min_p = -0.5F}, "min_p (-0.5) must be from 0 to 1");
  expect_refused(SamplingRule{.min_p = kNan}, "min_p (nan) must be from 0 to 1");
}

TEST_F(SamplingErrors, Lists) {
  const std::vector<SamplingRule> rules(3);
  expect_refused(sample(logits(), rules, draws_, samples()),
                 "rules has 3 rules for 4 rows: it must have one for each, or one for all");
  draws_.pop_back();
  const std::string must = ": it must have one for each, or none where all temperatures are 0";
  expect_refused(sample(logits(), {&rule_, 1}, draws_, samples()),
                 "draws has 3 draws for 4 rows" + must);
  expect_refused(sample(logits(), {&rule_, 1}, {}, samples()),
                 "draws has 0 draws for 4 rows" + must);
  const SamplingRule greedy{.temperature = 0};
  EXPECT_TRUE(sample(logits(), {&greedy, 1}, {}, samples()).ok());
}

TEST_F(SamplingErrors, Overlap) {
  auto* const inside = reinterpret_cast<std::int32_t*>(z_.data() + 5);
  const Status status = sample(logits(), {&rule_, 1}, draws_, {inside});
  EXPECT_EQ(status.code(), StatusCode::invalid_argument);
  EXPECT_NE(status.message().find("samples.tokens"), std::string::npos) << status.message();
  const Status both = sample(logits(), {&rule_, 1}, draws_,
                             {tokens_.data(), reinterpret_cast<float*>(tokens_.data() + 1)});
  EXPECT_NE(both.message().find("samples.probabilities"), std::string::npos) << both.message();
  for (const float z : z_) ASSERT_EQ(z, 0);
}

TEST_F(SamplingErrors, Options) {
  expect_refused(sample(logits(), {&rule_, 1}, draws_, samples(), {.workers = -1}),
                 "workers (-1) must be from 0 to 4096");
  const Status isa = sample(logits(), {&rule_, 1}, draws_, samples(), {.isa = "sse9"});
  EXPECT_NE(isa.message().find("isa (\"sse9\") must be one of"), std::string::npos);
  SamplingWorkspace workspace;
  EXPECT_EQ(workspace.reserve(-1).message(), "length (-1) must be from 0 to 4194304");
  EXPECT_EQ(workspace.bytes(), 0U);
}

}  // namespace
}  // namespace heed::tests
