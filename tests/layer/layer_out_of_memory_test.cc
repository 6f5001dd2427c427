// Layers while memory runs out.
#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "tests/layer/layer_model.h"
#include "tests/support/failing_call.h"

namespace heed::tests {
namespace {

constexpr std::int64_t kTokens = 20;

/// A layer with a sequence whose tokens have a place in the cache.
struct Layer {
  Layer() {
    std::vector<std::int64_t> slots(kTokens);
    const std::int32_t id = model.add();
    EXPECT_TRUE(model.cache().extend(id, slots).ok());
    sequences = {StepTokens{id, kTokens}};
  }

  static LayerSpec spec() {
    LayerSpec spec;
    spec.config.dim = 32;
    spec.config.attention = {.query_heads = 4, .kv_heads = 2, .head_dim = 16, .causal = true};
    spec.rotary = {.rotary_dim = 16, .positions = 1000};
    return spec;
  }

  LayerModel model{spec()};
  AttentionStep step;
  MultiHeadAttention layer;
  std::array<StepTokens, 1> sequences;
  std::vector<float> x = std::vector<float>(kTokens * 32, 0.5F);
  std::vector<float> y = std::vector<float>(kTokens * 32);

  Status create_step() { return AttentionStep::create(model.config(), {.workers = 1}, step); }
  Status prepare() { return step.prepare(model.cache(), sequences); }
  Status create_layer() {
    return MultiHeadAttention::create(model.config(), model.weights(), layer);
  }
  Status forward() { return layer.forward(step, model.cache().layer(0), x.data(), y.data()); }
};

using Act = std::function<Status(Layer&)>;

/// Makes everything up to the call, which is the one that may fail.
std::string fault_of(Failing which, const Act& before, const Act& act) {
  return fault_of_failing(which, [&] {
    const auto layer = std::make_shared<Layer>();
    EXPECT_TRUE(before(*layer).ok());
    const auto results = [layer] {
      EXPECT_TRUE(layer->create_layer().ok());
      EXPECT_TRUE(layer->step.data() != nullptr || layer->create_step().ok());
      EXPECT_TRUE(layer->step.tokens() > 0 || layer->prepare().ok());
      EXPECT_TRUE(layer->forward().ok());
      return layer->y;
    };
    return Call{[layer, act] { return act(*layer); }, results};
  });
}

class LayerOutOfMemory : public testing::Test {
 protected:
  void SetUp() override {
    if (!counts_allocations()) GTEST_SKIP() << "sanitizers replace the allocator themselves";
  }
  static Status nothing(Layer&) { return {}; }
};

TEST_F(LayerOutOfMemory, Steps) {
  const Act create = &Layer::create_step, prepare = &Layer::prepare;
  for (const Failing which : {Failing::one, Failing::all_from}) {
    EXPECT_EQ(fault_of(which, nothing, create), "");
    EXPECT_EQ(fault_of(which, create, prepare), "");
  }
}

TEST_F(LayerOutOfMemory, Layers) {
  const Act create = &Layer::create_layer;
  EXPECT_EQ(fault_of(Failing::one, nothing, create), "");
  EXPECT_EQ(fault_of(Failing::all_from, nothing, create), "");
}

// Of heed's own: OpenBLAS ends the process where its memory is out.
TEST_F(LayerOutOfMemory, Forward) {
  const Act before = [](Layer& layer) {
    for (const Act& act : {Act(&Layer::create_layer), Act(&Layer::create_step)}) {
      if (Status status = act(layer); !status.ok()) return status;
    }
    return layer.prepare();
  };
  EXPECT_EQ(fault_of(Failing::one_of_news, before, &Layer::forward), "");
}

}  // namespace
}  // namespace heed::tests
