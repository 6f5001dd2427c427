// The layer from C: the bits of C++, and what it says of what is wrong.
#include <array>
#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "heed/c/layer.h"
#include "tests/c/to_c.h"
#include "tests/layer/layer_model.h"

namespace heed::tests {
namespace {

using OwnedStep = Owned<heed_attention_step, heed_attention_step_destroy>;
using OwnedLayer = Owned<heed_multi_head_attention, heed_multi_head_attention_destroy>;

/// Layers with all that C can say, and with nothing but what is needed.
std::map<std::string, LayerSpec> specs() {
  std::map<std::string, LayerSpec> specs;
  LayerSpec& all = specs["all"];
  all.config.dim = 40;  // no multiple of head_dim, and another number than all heads have
  all.config.attention = {.query_heads = 4,
                          .kv_heads = 2,
                          .head_dim = 16,
                          .value_head_dim = 12,
                          .causal = true,
                          .window_left = 9,
                          .keep_first = 2};
  all.config.attention.scale = 0.3F;
  all.rotary = {.rotary_dim = 8, .pairs = RotaryPairs::halves, .base = 500, .positions = 64};
  all.rotary.scaling = {.kind = RotaryScalingKind::linear, .factor = 3};
  all.biases = all.norms = true;
  all.k_type = DType::f16;
  LayerSpec& least = specs["least"];
  least.config.dim = 6;
  least.config.attention = {.query_heads = 1, .kv_heads = 1, .head_dim = 5};
  return specs;
}

heed_rms_norm to_c(const RmsNorm& norm) {
  auto c = initialised(heed_rms_norm_init);
  c.weight = norm.weight;
  c.weight_offset = norm.weight_offset;
  c.epsilon = norm.epsilon;
  return c;
}

/// The layer of a specification in C.
struct CLayer {
  explicit CLayer(const LayerSpec& spec, const heed_run_options* options = nullptr)
      : random(spec, 7), attention(spec.config.attention) {
    config.dim = spec.config.dim;
    config.attention = attention.pointer();
    if (spec.rotary.rotary_dim != 0) make_rotary(spec.rotary);
    make_weights(random.weights());
    make_cache(spec);
    EXPECT_DONE(heed_attention_step_create(&config, options, step.out()));
    EXPECT_DONE(heed_multi_head_attention_create(&config, &weights, layer.out()));
    EXPECT_DONE(heed_kv_cache_layer(cache, 0, &pages));
  }
  CLayer(const CLayer&) = delete;

  void make_rotary(const RotaryConfig& given) {
    auto scaling = initialised(heed_rotary_scaling_init);
    scaling.kind = static_cast<heed_rotary_scaling_kind>(given.scaling.kind);
    scaling.factor = given.scaling.factor;
    auto c = initialised(heed_rotary_config_init);
    c.rotary_dim = given.rotary_dim;
    c.pairs = static_cast<heed_rotary_pairs>(given.pairs);
    c.base = given.base;
    c.positions = given.positions;
    c.scaling = &scaling;
    EXPECT_DONE(heed_rotary_create(&c, rotary.out()));
    config.rotary = rotary;
  }

  void make_weights(const LayerWeights& w) {
    weights.wq = w.wq, weights.wk = w.wk, weights.wv = w.wv, weights.wo = w.wo;
    weights.bq = w.bq, weights.bk = w.bk, weights.bv = w.bv, weights.bo = w.bo;
    if (!w.q_norm) return;
    q_norm = to_c(*w.q_norm);
    k_norm = to_c(*w.k_norm);
    weights.q_norm = &q_norm;
    weights.k_norm = &k_norm;
  }

  void make_cache(const LayerSpec& spec) {
    const AttentionConfig& a = spec.config.attention;
    auto layout = initialised(heed_paged_layout_init);
    EXPECT_DONE(heed_paged_layout_bhsd(spec.pages, spec.page_tokens, a.kv_heads, a.head_dim,
                                       a.value_head_dim, &layout));
    auto c = initialised(heed_kv_cache_config_init);
    c.layout = &layout;
    c.sequences = spec.sequences;
    c.k_type = static_cast<heed_dtype>(spec.k_type);
    c.v_type = static_cast<heed_dtype>(spec.v_type);
    EXPECT_DONE(heed_kv_cache_create(&c, cache.out()));
  }

  std::int32_t add() {
    std::int32_t id = -1;
    EXPECT_DONE(heed_kv_cache_add(cache, &id));
    return id;
  }

  /// As LayerModel::forward, in place.
  std::vector<float> forward(
      const std::vector<std::pair<std::int32_t, std::vector<float>>>& sequences) {
    std::vector<heed_step_tokens> tokens;
    std::vector<float> x;
    for (const auto& [id, hidden] : sequences) {
      std::vector<std::int64_t> slots(hidden.size() / static_cast<std::size_t>(config.dim));
      EXPECT_DONE(heed_kv_cache_extend(cache, id, slots.data(), slots.size()));
      tokens.push_back({id, std::ssize(slots)});
      x.insert(x.end(), hidden.begin(), hidden.end());
    }
    EXPECT_DONE(heed_attention_step_prepare(step, cache, tokens.data(), tokens.size()));
    EXPECT_DONE(heed_multi_head_attention_forward(layer, step, &pages, x.data(), x.data()));
    return x;
  }

  RandomWeights random;
  CConfig attention;
  heed_layer_config config = initialised(heed_layer_config_init);
  heed_layer_weights weights = initialised(heed_layer_weights_init);
  heed_rms_norm q_norm, k_norm;
  heed_kv_pages pages = initialised(heed_kv_pages_init);
  OwnedRotary rotary;  // before the step, which it outlives
  OwnedCache cache;
  OwnedStep step;
  OwnedLayer layer;
};

std::string description(const heed_attention_step* step) {
  size_t length = 0;
  EXPECT_DONE(heed_attention_step_describe(step, nullptr, 0, &length));
  std::string text(length + 1, '?');
  EXPECT_DONE(heed_attention_step_describe(step, text.data(), text.size(), nullptr));
  text.pop_back();
  return text;
}

TEST(LayerInC, HasTheBitsOfCpp) {
  for (const auto& [name, spec] : specs()) {
    OwnedExecutor executor;
    ASSERT_DONE(heed_executor_create(2, executor.out()));
    auto options = initialised(heed_run_options_init);
    options.workers = 2;
    options.executor = executor;
    LayerModel cpp(spec, {.workers = 2});
    CLayer c(spec, &options);
    proof::Random random(5);
    const std::array<std::int32_t, 2> ids = {cpp.add(), cpp.add()};
    ASSERT_EQ(c.add(), ids[0]);
    ASSERT_EQ(c.add(), ids[1]);
    for (const auto& [first, second] : {std::pair{9, 1}, {1, 6}, {3, 1}}) {
      const std::vector<std::pair<std::int32_t, std::vector<float>>> x = {
          {ids[0], random_tokens(random, first, spec.config.dim)},
          {ids[1], random_tokens(random, second, spec.config.dim)}};
      EXPECT_EQ(c.forward(x), cpp.forward(x)) << name;
      std::int64_t tokens = 0;
      ASSERT_DONE(heed_attention_step_tokens(c.step, &tokens));
      EXPECT_EQ(tokens, first + second);
      EXPECT_EQ(description(c.step), cpp.step().plan().describe());
    }
  }
}

TEST(LayerInC, ProjectsAsInCpp) {
  proof::Random random(6);
  const std::vector<float> weight = random_tokens(random, 7, 5), bias = random_tokens(random, 7, 1),
                           x = random_tokens(random, 3, 5);
  std::vector<float> y(3 * 7), c_y(y.size());
  ASSERT_TRUE(project({weight.data(), bias.data(), 7, 5}, 3, x.data(), y.data()).ok());
  auto linear = initialised(heed_linear_init);
  linear.weight = weight.data();
  linear.bias = bias.data();
  linear.outputs = 7;
  linear.inputs = 5;
  ASSERT_DONE(heed_project(&linear, 3, x.data(), c_y.data(), nullptr));
  EXPECT_EQ(y, c_y);
  linear.bias = nullptr;
  ASSERT_DONE(heed_project(&linear, 3, x.data(), c_y.data(), nullptr));
  EXPECT_NE(y, c_y);
}

TEST(LayerInC, AnOlderCallerHasNoNorms) {
  const LayerSpec spec = specs().at("all");
  CLayer older(spec);
  older.weights.struct_size = offsetof(heed_layer_weights, q_norm);
  OwnedLayer layer;
  ASSERT_DONE(heed_multi_head_attention_create(&older.config, &older.weights, layer.out()));
  const std::vector<float> x(static_cast<std::size_t>(spec.config.dim), 1.0F);
  const std::vector<float> with = older.forward({{older.add(), x}});
  std::vector<float> without(x.size());
  ASSERT_DONE(
      heed_multi_head_attention_forward(layer, older.step, &older.pages, x.data(), without.data()));
  EXPECT_NE(with, without);
  older.weights.q_norm = older.weights.k_norm = nullptr;
  older.weights.struct_size = sizeof older.weights;
  OwnedLayer none;
  std::vector<float> expected(x.size());
  ASSERT_DONE(heed_multi_head_attention_create(&older.config, &older.weights, none.out()));
  ASSERT_DONE(
      heed_multi_head_attention_forward(none, older.step, &older.pages, x.data(), expected.data()));
  EXPECT_EQ(without, expected);
}

struct Refused {
  std::string sentence;
  std::function<heed_status()> call;
};

TEST(LayerInC, RefusesWithASentence) {
  CLayer c(specs().at("all"));
  float number = 0;
  std::int64_t tokens = -7;
  auto linear = initialised(heed_linear_init);
  auto lacking = c.config;
  lacking.attention = nullptr;
  auto norm = c.q_norm;
  norm.reserved = 3;
  auto weights = c.weights;
  weights.k_norm = &norm;
  const heed_step_tokens unknown = {99, 1};
  OwnedStep step;
  OwnedLayer layer;
  heed_kv_pages no_pages = initialised(heed_kv_pages_init);
  ASSERT_FALSE(c.forward({{c.add(), std::vector<float>(40, 1.0F)}}).empty());
  const std::vector<Refused> calls = {
      {"linear must not be null",
       [&] { return heed_project(nullptr, 1, &number, &number, nullptr); }},
      {"weight must not be null",
       [&] { return heed_project(&linear, 1, &number, &number, nullptr); }},
      {"config must not be null",
       [&] { return heed_attention_step_create(nullptr, nullptr, step.out()); }},
      {"config.attention must not be null",
       [&] { return heed_attention_step_create(&lacking, nullptr, step.out()); }},
      {"step must not be null",
       [&] { return heed_attention_step_create(&c.config, nullptr, nullptr); }},
      {"step must not be null",
       [&] { return heed_attention_step_prepare(nullptr, c.cache, nullptr, 0); }},
      {"cache must not be null",
       [&] { return heed_attention_step_prepare(c.step, nullptr, nullptr, 0); }},
      {"sequences must not be null: 2 elements are asked for",
       [&] { return heed_attention_step_prepare(c.step, c.cache, nullptr, 2); }},
      {"sequence 99 is not in use",
       [&] { return heed_attention_step_prepare(c.step, c.cache, &unknown, 1); }},
      {"step must not be null", [&] { return heed_attention_step_tokens(nullptr, &tokens); }},
      {"tokens must not be null", [&] { return heed_attention_step_tokens(c.step, nullptr); }},
      {"step must not be null",
       [&] { return heed_attention_step_describe(nullptr, nullptr, 0, nullptr); }},
      {"text must not be null: 1 elements are asked for",
       [&] { return heed_attention_step_describe(c.step, nullptr, 1, nullptr); }},
      {"config must not be null",
       [&] { return heed_multi_head_attention_create(nullptr, &c.weights, layer.out()); }},
      {"weights must not be null",
       [&] { return heed_multi_head_attention_create(&c.config, nullptr, layer.out()); }},
      {"layer must not be null",
       [&] { return heed_multi_head_attention_create(&c.config, &c.weights, nullptr); }},
      {"weights.k_norm.reserved (3) must be 0",
       [&] { return heed_multi_head_attention_create(&c.config, &weights, layer.out()); }},
      {"layer must not be null",
       [&] {
         return heed_multi_head_attention_forward(nullptr, c.step, &c.pages, &number, &number);
       }},
      {"step must not be null",
       [&] {
         return heed_multi_head_attention_forward(c.layer, nullptr, &c.pages, &number, &number);
       }},
      {"pages must not be null",
       [&] {
         return heed_multi_head_attention_forward(c.layer, c.step, nullptr, &number, &number);
       }},
      {"pages.k must not be null",
       [&] {
         return heed_multi_head_attention_forward(c.layer, c.step, &no_pages, &number, &number);
       }},
      {"x must not be null",
       [&] {
         return heed_multi_head_attention_forward(c.layer, c.step, &c.pages, nullptr, &number);
       }},
      {"y must not be null",
       [&] {
         return heed_multi_head_attention_forward(c.layer, c.step, &c.pages, &number, nullptr);
       }},
  };
  for (const Refused& refused : calls) {
    EXPECT_EQ(refused.call(), HEED_INVALID_ARGUMENT) << refused.sentence;
    EXPECT_EQ(heed_last_message(), refused.sentence);
  }
  EXPECT_EQ(step, nullptr);
  EXPECT_EQ(layer, nullptr);
  ASSERT_DONE(heed_attention_step_tokens(c.step, &tokens));
  EXPECT_EQ(tokens, 1) << "a step that cannot be prepared stays as it was";
  heed_attention_step_destroy(nullptr);
  heed_multi_head_attention_destroy(nullptr);
}

TEST(LayerInC, StructsSayHowLargeTheyAre) {
  auto linear = initialised(heed_linear_init);
  EXPECT_EQ(linear.struct_size, sizeof linear);
  EXPECT_EQ(linear.weight, nullptr);
  EXPECT_EQ(initialised(heed_layer_config_init).struct_size, sizeof(heed_layer_config));
  EXPECT_EQ(initialised(heed_layer_config_init).dim, 0);
  EXPECT_EQ(initialised(heed_layer_weights_init).struct_size, sizeof(heed_layer_weights));
  linear.struct_size = 12;
  EXPECT_EQ(heed_project(&linear, 0, nullptr, nullptr, nullptr), HEED_INVALID_ARGUMENT);
  EXPECT_EQ(std::string(heed_last_message()).find("linear.struct_size (12) must be"), 0U);
}

}  // namespace
}  // namespace heed::tests
