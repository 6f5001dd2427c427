// A layer that has seen its largest step twice allocates nothing.
#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "tests/layer/layer_model.h"
#include "tests/support/allocation_count.h"

namespace heed::tests {
namespace {

// OpenBLAS has an allocator of its own, which heed does not see; operator new is heed's.
TEST(LayerAllocation, NoneOnceWarm) {
  if (!counts_allocations()) GTEST_SKIP() << "sanitizers replace the allocator themselves";
  LayerSpec spec;
  spec.config.dim = 32;
  spec.config.attention = {.query_heads = 4, .kv_heads = 2, .head_dim = 16, .causal = true};
  spec.rotary = {.rotary_dim = 16, .positions = 1000};
  spec.norms = true;
  spec.pages = 1000;
  LayerModel model(spec);
  constexpr std::int64_t prompt = 50;
  std::vector<float> x(static_cast<std::size_t>(prompt * spec.config.dim), 0.5F);
  std::vector<std::int64_t> slots(prompt);
  bool fine = true;
  const auto step = [&](std::span<const StepTokens> sequences) {
    for (const auto& [id, tokens] : sequences) {
      fine &=
          model.cache().extend(id, std::span(slots).first(static_cast<std::size_t>(tokens))).ok();
    }
    fine &= model.step().prepare(model.cache(), sequences).ok();
    fine &= model.layer().forward(model.step(), model.cache().layer(0), x.data(), x.data()).ok();
  };
  const auto life = [&] {
    std::int32_t a = -1, b = -1;
    fine &= model.cache().add(a).ok() && model.cache().add(b).ok();
    step(std::vector<StepTokens>{{a, prompt}});
    for (int i = 0; i < 20; ++i) step(std::array{StepTokens{a, 1}, StepTokens{b, 2}});
    fine &= model.cache().remove(a).ok() && model.cache().remove(b).ok();
  };
  life();
  life();
  EXPECT_EQ(count(life).news, 1);  // the vector of one step above: the counter counts
  EXPECT_TRUE(fine);
}

}  // namespace
}  // namespace heed::tests
