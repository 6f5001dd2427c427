// The layer: against a float64 reference, and bit for bit over batches, chunks and pages.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tests/layer/layer_model.h"
#include "tests/proof/layer_reference.h"
#include "tests/support/attention_run.h"

namespace heed::tests {
namespace {

LayerSpec spec_of(std::int64_t query_heads, std::int64_t kv_heads, std::int64_t head_dim,
                  std::int64_t value_head_dim = 0) {
  LayerSpec spec;
  spec.config.dim = 24;
  spec.config.attention = {.query_heads = query_heads,
                           .kv_heads = kv_heads,
                           .head_dim = head_dim,
                           .value_head_dim = value_head_dim,
                           .causal = true};
  return spec;
}

/// Layers of several kinds.
std::map<std::string, LayerSpec> specs() {
  std::map<std::string, LayerSpec> specs;
  specs["llama"] = spec_of(4, 4, 16);
  specs["llama"].rotary = {.rotary_dim = 16, .positions = 64};
  specs["neox_partial"] = spec_of(6, 2, 10, 7);
  specs["neox_partial"].biases = true;
  specs["neox_partial"].rotary = {.rotary_dim = 6,
                                  .pairs = RotaryPairs::halves,
                                  .base = 500,
                                  .position_scale = 0.25,
                                  .positions = 64};
  specs["qwen3"] = spec_of(4, 2, 16);  // 24 dimensions are no multiple of anything here
  specs["qwen3"].norms = true;
  specs["qwen3"].rotary = {
      .rotary_dim = 16,
      .pairs = RotaryPairs::halves,
      .base = 1e6,
      .positions = 64,
      .scaling = {.kind = RotaryScalingKind::yarn, .factor = 2.0, .original_positions = 16}};
  specs["no_rotation"] = spec_of(3, 1, 5);
  specs["no_rotation"].biases = true;
  return specs;
}

/// A layer, and the hidden states of its sequences so far.
class History {
 public:
  explicit History(const LayerSpec& spec, const RunOptions& options) : model_(spec, options) {}

  std::int32_t add() { return model_.add(); }
  void truncate(std::int32_t id, std::int64_t tokens) {
    ASSERT_TRUE(model_.cache().truncate(id, tokens).ok());
    hidden_[id].resize(static_cast<std::size_t>(tokens * model_.config().dim));
  }

  /// A step in which sequences get so many tokens each, checked against the reference.
  void step(const std::vector<std::pair<std::int32_t, std::int64_t>>& sequences) {
    std::vector<std::pair<std::int32_t, std::vector<float>>> fresh;
    fresh.reserve(sequences.size());
    for (const auto& [id, tokens] : sequences) {
      fresh.emplace_back(id, random_tokens(random_, tokens, model_.config().dim));
    }
    const std::vector<float> y = model_.forward(fresh);
    std::size_t at = 0;
    for (const auto& [id, x] : fresh) {
      std::vector<float>& all = hidden_[id];
      all.insert(all.end(), x.begin(), x.end());
      const std::vector<Bounded> expected = layer_reference(model_.config(), model_.weights(), all);
      for (std::size_t i = expected.size() - x.size(); i < expected.size(); ++i, ++at) {
        ASSERT_LE(std::abs(y[at] - expected[i].exact), expected[i].bound)
            << "sequence " << id << ", element " << i << " of " << expected.size();
      }
    }
  }

 private:
  LayerModel model_;
  proof::Random random_{3};
  std::map<std::int32_t, std::vector<float>> hidden_;
};

TEST(Layer, IsWithinItsBoundsOnEveryIsa) {
  for (const auto& [name, spec] : specs()) {
    for (const std::string_view isa : supported_isas()) {
      SCOPED_TRACE(name + " on " + std::string(isa));
      History history(spec, {.isa = isa, .workers = 2});
      const std::int32_t a = history.add(), b = history.add(), c = history.add();
      history.step({{a, 9}});                  // a prompt
      history.step({{b, 5}, {a, 1}});          // a chunk, and a single token
      history.step({{a, 1}, {c, 3}, {b, 6}});  // another sequence comes between
      history.step({{c, 4}, {b, 1}, {a, 4}});  // tokens that are speculated
      history.truncate(a, 12);                 // in vain, but for one
      history.step({{a, 1}, {b, 1}, {c, 1}});
      history.step({{a, 0}, {c, 1}});
    }
  }
}

// Worst cases, of sums and sums of them, but thousandths of what is there.
TEST(Layer, BoundsAreTight) {
  for (const auto& [name, spec] : specs()) {
    LayerModel model(spec);
    proof::Random random(3);
    for (const Bounded& y : layer_reference(model.config(), model.weights(),
                                            random_tokens(random, 20, spec.config.dim))) {
      EXPECT_LT(y.bound, 6e-3) << name;
    }
  }
}

// The step takes the types of its cache, whatever those of the layer's configuration.
TEST(Layer, KeepsKeysAndValuesInTheTypesOfItsCache) {
  LayerSpec spec = spec_of(4, 2, 32);
  spec.config.attention.k_type = DType::fp8_e4m3;
  spec.rotary = {.rotary_dim = 32, .positions = 64};
  const auto outputs = [&](DType k_type, DType v_type) {
    spec.k_type = k_type, spec.v_type = v_type;
    LayerModel model(spec);
    proof::Random random(4);
    return model.forward({{model.add(), random_tokens(random, 20, spec.config.dim)}});
  };
  const std::vector<float> exact = outputs(DType::f32, DType::f32);
  const float largest = *std::ranges::max_element(exact, {}, [](float x) { return std::abs(x); });
  for (const DTypeInfo& info : kDTypes) {
    if (info.type == DType::f32) continue;
    const std::vector<float> near = outputs(info.type, DType::f16);
    EXPECT_NE(near, exact) << info.name;
    for (std::size_t i = 0; i < exact.size(); ++i) {
      ASSERT_NEAR(near[i], exact[i], std::abs(largest) / 4) << info.name;  // q4_0: a code in 16
    }
  }
}

/// A way to bring two sequences through a layer: the tokens that each gets in each step.
using Steps = std::vector<std::pair<std::int64_t, std::int64_t>>;

/// The outputs of both sequences, of 11 and 7 tokens.
std::vector<float> outputs(const LayerSpec& spec, const RunOptions& options, const Steps& steps) {
  LayerModel model(spec, options);
  proof::Random random(5);
  const std::int64_t dim = spec.config.dim;
  const std::vector<float> x[2] = {random_tokens(random, 11, dim), random_tokens(random, 7, dim)};
  std::vector<float> y[2];
  const std::int32_t ids[2] = {model.add(), model.add()};
  for (const auto& [first, second] : steps) {
    const std::int64_t tokens[2] = {first, second};
    std::vector<std::pair<std::int32_t, std::vector<float>>> fresh;
    for (int i : {0, 1}) {
      const auto begin = x[i].begin() + std::ssize(y[i]);
      if (tokens[i] > 0) fresh.push_back({ids[i], {begin, begin + tokens[i] * dim}});
    }
    const std::vector<float> made = model.forward(fresh);
    auto from = made.begin();
    for (int i : {0, 1}) {
      y[i].insert(y[i].end(), from, from + tokens[i] * dim);
      from += tokens[i] * dim;
    }
  }
  EXPECT_EQ(y[0].size() + y[1].size(), x[0].size() + x[1].size());
  y[0].insert(y[0].end(), y[1].begin(), y[1].end());
  return y[0];
}

TEST(Layer, AttentionHasTheSameBitsHoweverTokensAreBatched) {
  const Steps singly = {{11, 0}, {0, 7}}, together = {{11, 7}}, chunks = {{4, 0}, {6, 3}, {1, 4}};
  Steps tokens(4, {1, 1});
  for (int i = 0; i < 3; ++i) tokens.insert(tokens.end(), {{2, 0}, {0, 1}});
  tokens.push_back({1, 0});
  for (auto [name, spec] : specs()) {
    spec.exact_products = true;
    spec.biases = false;
    std::vector<float> fused;
    for (const std::string_view isa : supported_isas()) {
      const std::vector<float> expected = outputs(spec, {.isa = isa, .workers = 1}, singly);
      for (const std::int64_t page_tokens : {1, 3, 16, 128}) {
        spec.page_tokens = page_tokens;
        for (const Steps& steps : {singly, together, chunks, tokens}) {
          for (const int workers : {1, 2}) {
            EXPECT_EQ(outputs(spec, {.isa = isa, .workers = workers}, steps), expected)
                << name << " on " << isa << " with pages of " << page_tokens;
          }
        }
      }
      if (proof::arithmetic_of(isa) != proof::Arithmetic::fused) continue;
      if (fused.empty()) fused = expected;
      EXPECT_EQ(expected, fused) << name << " on " << isa;
    }
  }
}

/// The outputs of the last tokens of sequences with a prefix of so many tokens in common, which is
/// written for each of them, or once.
std::vector<float> last_outputs(const LayerSpec& spec, std::int64_t prefix, bool fork) {
  LayerModel model(spec);
  const std::int64_t dim = spec.config.dim;
  proof::Random random(9);
  const std::vector<float> x = random_tokens(random, prefix, dim);
  const std::int32_t first = model.add();
  model.forward({{first, x}});
  std::vector<std::pair<std::int32_t, std::vector<float>>> fresh;
  for (int i = 0; i < 4; ++i) {
    std::int32_t id = -1;
    if (fork) {
      EXPECT_TRUE(model.cache().fork(first, prefix, id).ok());
    } else {
      model.forward({{id = model.add(), x}});
    }
    fresh.emplace_back(id, random_tokens(random, 3, dim));
  }
  std::vector<float> y = model.forward(fresh);
  const std::string plan = model.step().plan().describe();
  EXPECT_EQ(plan.find("groups: 1,") != std::string::npos, fork) << plan;
  return y;
}

TEST(Layer, ReadsPrefixesOfForkedSequencesOnce) {
  LayerSpec spec = spec_of(4, 2, 16);
  spec.rotary = {.rotary_dim = 16, .positions = 700};
  spec.exact_products = true;
  spec.page_tokens = 16;
  spec.pages = 400;
  EXPECT_EQ(last_outputs(spec, 600, true), last_outputs(spec, 600, false));
}

/// The outputs of some tokens of sequences that had a prompt of 900 tokens in common, with a window
/// that has left part of it behind; `forget` gives the pages back that it has passed.
std::vector<float> windowed_outputs(const LayerSpec& spec, bool forget) {
  LayerModel model(spec);
  const std::int64_t dim = spec.config.dim;
  proof::Random random(9);
  const std::int32_t first = model.add();
  model.forward({{first, random_tokens(random, 900, dim)}});
  std::vector<std::pair<std::int32_t, std::vector<float>>> fresh;
  for (int i = 0; i < 4; ++i) {
    std::int32_t id = -1;
    EXPECT_TRUE(model.cache().fork(first, 900, id).ok());
    fresh.emplace_back(id, random_tokens(random, 3, dim));
  }
  if (forget) {
    const AttentionConfig& a = spec.config.attention;
    for (std::int32_t id = 0; id < 5; ++id) {
      EXPECT_TRUE(model.cache().forget(id, 900 - a.window_left, a.keep_first).ok());
    }
    EXPECT_GT(model.cache().free_pages(), spec.pages - 45);
  }
  return model.forward(fresh);
}

TEST(Layer, PagesThatWindowsHavePassedLeaveNoTrace) {
  LayerSpec spec = spec_of(4, 2, 16);
  spec.rotary = {.rotary_dim = 16, .positions = 1000};
  spec.exact_products = true;
  spec.page_tokens = 16;
  spec.pages = 100;
  for (const std::int64_t window : {300, 610}) {
    for (const std::int64_t keep_first : {0, 20}) {
      spec.config.attention.window_left = window;
      spec.config.attention.keep_first = keep_first;
      EXPECT_EQ(windowed_outputs(spec, true), windowed_outputs(spec, false)) << window;
    }
  }
}

// Layers share a step; each has pages of its own.
TEST(Layer, OneStepServesAllLayers) {
  LayerSpec spec = specs()["llama"];
  LayerModel one(spec), two(spec);
  KvCache other;
  ASSERT_TRUE(KvCache::create({.layout = one.cache().layout(), .sequences = 8}, other).ok());
  proof::Random random(1);
  const std::int32_t id = one.add();
  ASSERT_EQ(two.add(), id);
  for (const std::int64_t tokens : {5, 1, 2}) {
    const std::vector<float> x = random_tokens(random, tokens, spec.config.dim);
    const std::vector<float> y = one.forward({{id, x}});
    std::vector<float> z(y.size());
    ASSERT_TRUE(one.layer().forward(one.step(), other.layer(0), y.data(), z.data()).ok());
    std::vector<float> in_place = x;
    EXPECT_EQ(two.forward({{id, x}}), y);
    ASSERT_TRUE(one.layer()
                    .forward(one.step(), one.cache().layer(0), in_place.data(), in_place.data())
                    .ok());
    EXPECT_EQ(in_place, y);
  }
}

}  // namespace
}  // namespace heed::tests
