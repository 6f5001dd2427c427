// What the layer refuses, and that it changes nothing then.
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "tests/layer/layer_model.h"

namespace heed::tests {
namespace {

LayerConfig good_config() {
  LayerConfig config{.dim = 6, .attention = {}, .rotary = nullptr};
  config.attention = {.query_heads = 2, .kv_heads = 1, .head_dim = 4, .causal = true};
  return config;
}

void expect_refused(const Status& status, const std::string& message) {
  EXPECT_EQ(status.code(), StatusCode::invalid_argument);
  EXPECT_EQ(status.message(), message);
}

TEST(LayerErrors, Configurations) {
  const auto refuse = [](const LayerConfig& config, const std::string& message) {
    AttentionStep step;
    MultiHeadAttention layer;
    const std::vector<float> w(100);
    LayerWeights weights;
    weights.wq = weights.wk = weights.wv = weights.wo = w.data();
    expect_refused(AttentionStep::create(config, {}, step), message);
    expect_refused(MultiHeadAttention::create(config, weights, layer), message);
  };
  LayerConfig config = good_config();
  config.dim = 0;
  refuse(config, "dim (0) must be from 1 to 2147483647");
  config = good_config();
  config.attention.kv_heads = 4;
  refuse(config, "kv_heads (4) must divide query_heads (2)");
  config = good_config();
  config.attention.alignment = Alignment::start;
  refuse(config, "alignment must be end: a step's tokens are the last ones of their sequences");
  config = good_config();
  config.attention.query_heads = std::int64_t{1} << 30;
  refuse(config, "query_heads * head_dim (4294967296) must be from 1 to 2147483647");
  config = good_config();
  Rotary rotary;
  config.rotary = &rotary;
  refuse(config, "rotary must have been created");
  ASSERT_TRUE(Rotary::create({.rotary_dim = 6, .positions = 1}, rotary).ok());
  refuse(config, "rotary_dim (6) must be at most head_dim (4)");
}

TEST(LayerErrors, OptionsOfAStep) {
  AttentionStep step;
  EXPECT_FALSE(AttentionStep::create(good_config(), {.isa = "sse9"}, step).ok());
  EXPECT_FALSE(AttentionStep::create(good_config(), {.workers = -1}, step).ok());
  expect_refused(step.prepare({}, {}), "the step must have been created");
  EXPECT_EQ(step.tokens(), 0);
  EXPECT_EQ(step.plan().workers(), 0);
}

TEST(LayerErrors, Weights) {
  const std::vector<float> w(100);
  LayerWeights good;
  good.wq = good.wk = good.wv = good.wo = w.data();
  const std::pair<const float * LayerWeights::*, std::string> matrices[] = {
      {&LayerWeights::wq, "wq"},
      {&LayerWeights::wk, "wk"},
      {&LayerWeights::wv, "wv"},
      {&LayerWeights::wo, "wo"}};
  for (const auto& [matrix, name] : matrices) {
    MultiHeadAttention layer;
    LayerWeights weights = good;
    weights.*matrix = nullptr;
    expect_refused(MultiHeadAttention::create(good_config(), weights, layer),
                   name + " must not be null");
  }
}

TEST(LayerErrors, Norms) {
  const std::vector<float> w(100);
  LayerWeights weights;
  weights.wq = weights.wk = weights.wv = weights.wo = w.data();
  MultiHeadAttention layer;
  LayerWeights wrong = weights;
  wrong.q_norm = RmsNorm{.epsilon = -1.0};
  expect_refused(MultiHeadAttention::create(good_config(), wrong, layer),
                 "q_norm: epsilon (-1) must be above 0 and finite");
  wrong = weights;
  wrong.k_norm = RmsNorm{.weight_offset = NAN};
  expect_refused(MultiHeadAttention::create(good_config(), wrong, layer),
                 "k_norm: weight_offset (nan) must be finite");
}

TEST(LayerErrors, Projections) {
  const float w[1] = {1}, x[1] = {1};
  float y[1] = {-5};
  expect_refused(project({nullptr, nullptr, 1, 1}, 1, x, y), "weight must not be null");
  expect_refused(project({w, nullptr, 0, 1}, 1, x, y), "outputs (0) must be from 1 to 2147483647");
  expect_refused(project({w, nullptr, 1, 0}, 1, x, y), "inputs (0) must be from 1 to 2147483647");
  expect_refused(project({w, nullptr, 1, 1}, -1, x, y), "tokens (-1) must be from 0 to 2147483647");
  expect_refused(project({w, nullptr, 1, 1}, 1, nullptr, y), "x must not be null");
  expect_refused(project({w, nullptr, 1, 1}, 1, x, nullptr), "y must not be null");
  expect_refused(project({w, nullptr, 1, 1}, 1, x, y, {.workers = -1}),
                 "workers (-1) must be from 0 to 4096");
  Executor never;
  expect_refused(project({w, nullptr, 1, 1}, 1, x, y, {.executor = &never}),
                 "executor has no threads: make it with Executor::create or Executor::adopt first");
  EXPECT_TRUE(project({w, nullptr, 1, 1}, 0, nullptr, nullptr).ok());
  EXPECT_EQ(y[0], -5);
}

/// A step of three tokens of one sequence, prepared.
class PreparedStep : public testing::Test {
 protected:
  static LayerSpec spec() {
    LayerSpec spec;
    spec.config = good_config();
    spec.rotary = {.rotary_dim = 4, .positions = 5};
    return spec;
  }

  void SetUp() override {
    id_ = model_.add();
    y_ = model_.forward({{id_, x_}});
  }

  /// A step of these sequences is refused, and the former one still serves.
  void expect_step_refused(const KvCache& cache, const std::vector<StepTokens>& sequences,
                           const std::string& message) {
    expect_refused(model_.step().prepare(cache, sequences), message);
    EXPECT_EQ(model_.step().tokens(), 3);
    std::vector<float> again(x_.size());
    EXPECT_TRUE(forward(x_.data(), again.data()).ok());
    EXPECT_EQ(again, y_);
  }

  Status forward(const float* x, float* y) {
    return model_.layer().forward(model_.step(), model_.cache().layer(0), x, y);
  }

  LayerModel model_{spec()};
  std::int32_t id_ = -1;
  std::vector<float> x_ = std::vector<float>(3 * 6, 0.5F), y_;
};

TEST_F(PreparedStep, RefusesSequences) {
  const KvCache& cache = model_.cache();
  expect_step_refused(cache, {{id_, 1}, {7, 0}}, "sequence 7 is not in use");
  expect_step_refused(cache, {{id_, 4}}, "tokens (4) must be from 0 to the 3 of sequence 0");
  expect_step_refused(cache, {{id_, -1}}, "tokens (-1) must be from 0 to the 3 of sequence 0");
  const std::int32_t other = model_.add();
  expect_step_refused(cache, {{id_, 1}, {other, 0}, {id_, 1}},
                      "sequence 0 must be in a step only once");
  std::vector<std::int64_t> slots(6);
  ASSERT_TRUE(model_.cache().extend(other, slots).ok());
  expect_step_refused(cache, {{id_, 1}, {other, 6}},
                      "sequence 1 has 6 tokens; rotary has 5 positions");
}

// Pages that the new tokens' windows see must be there, others need not.
TEST(LayerErrors, ForgottenPages) {
  LayerSpec spec;
  spec.config = good_config();
  spec.config.attention.window_left = 5;
  spec.config.attention.keep_first = 2;
  LayerModel model(spec);
  const std::int32_t id = model.add();
  model.forward({{id, std::vector<float>(18 * 6, 0.5F)}});
  const auto prepare = [&](std::int64_t tokens) {
    return model.step().prepare(model.cache(), std::vector<StepTokens>{{id, tokens}});
  };
  ASSERT_TRUE(model.cache().forget(id, 12, 2).ok());  // pages 1 and 2, tokens 4 … 11
  EXPECT_TRUE(prepare(1).ok()) << "token 17 sees 12 … 17";
  EXPECT_TRUE(model.layer()
                  .forward(model.step(), model.cache().layer(0), std::vector<float>(6).data(),
                           std::vector<float>(6).data())
                  .ok());
  expect_refused(prepare(2),
                 "sequence 0 has forgotten its page 2 of 4 tokens; the step sees keys from 11 on "
                 "and the first 2");
  EXPECT_TRUE(prepare(0).ok());
  ASSERT_TRUE(model.cache().forget(id, 4).ok());
  expect_refused(prepare(1),
                 "sequence 0 has forgotten its page 0 of 4 tokens; the step sees keys from 12 on "
                 "and the first 2");
}

TEST_F(PreparedStep, RefusesAnotherCache) {
  KvCache other;
  ASSERT_TRUE(
      KvCache::create({.layout = PagedLayout::bshd(4, 4, 1, 4, 3), .sequences = 1}, other).ok());
  expect_step_refused(other, {},
                      "the cache has 1 heads of 4 and 3 dimensions; the layer has 1 of 4 and 4");
}

TEST_F(PreparedStep, RefusesTensors) {
  std::vector<float> y(x_.size(), -5);
  const KvPages pages = model_.cache().layer(0);
  expect_refused(forward(nullptr, y.data()), "x must not be null");
  expect_refused(forward(x_.data(), nullptr), "y must not be null");
  const auto on = [&](const KvPages& p) {
    return model_.layer().forward(model_.step(), p, x_.data(), y.data());
  };
  expect_refused(on({nullptr, pages.v}), "pages.k must not be null");
  expect_refused(on({pages.k, nullptr}), "pages.v must not be null");
  expect_refused(on({pages.k, {pages.v.data(), DType::bf16}}),
                 "pages must be of the types of the cache that the step was prepared with");
  EXPECT_EQ(y, std::vector<float>(x_.size(), -5));
}

TEST_F(PreparedStep, RefusesAnotherLayer) {
  LayerSpec wider = spec();
  wider.config.dim = 8;
  const LayerModel other(wider);
  const KvPages pages = model_.cache().layer(0);
  std::vector<float> y(8 * 3, -5);
  expect_refused(other.layer().forward(model_.step(), pages, x_.data(), y.data()),
                 "the step must have been created with the configuration of the layer");
  expect_refused(MultiHeadAttention().forward(model_.step(), pages, x_.data(), y.data()),
                 "the layer must have been created");
  AttentionStep none;
  expect_refused(model_.layer().forward(none, pages, x_.data(), y.data()),
                 "the step must have been created");
  EXPECT_EQ(y, std::vector<float>(8 * 3, -5));
}

TEST_F(PreparedStep, OfNoTokensDoesNothing) {
  ASSERT_TRUE(model_.step().prepare(model_.cache(), {}).ok());
  EXPECT_EQ(model_.step().tokens(), 0);
  EXPECT_TRUE(forward(nullptr, nullptr).ok());
}

}  // namespace
}  // namespace heed::tests
