// Matrix products of heed::layer on the threads that all other work runs on, where OpenBLAS is set
// to one: pieces have the same bits, whoever computes them.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <string>
#include <vector>

#include "tests/layer/layer_model.h"
#include "tests/support/float_control.h"
#include "tests/support/host.h"

namespace heed::tests {
namespace {

constexpr int kThreads = 3;

class LayerExecutors : public testing::Test {
 protected:
  void SetUp() override {
    const char* const threads = std::getenv("OPENBLAS_NUM_THREADS");
    if (threads == nullptr || std::string(threads) != "1") {
      GTEST_SKIP() << "OPENBLAS_NUM_THREADS is not 1";
    }
  }
};

/// A map of random weights, and vectors to apply it to.
struct Product {
  Product(std::int64_t product_tokens, std::int64_t outputs, std::int64_t inputs, bool biased)
      : tokens(product_tokens) {
    proof::Random random(1);
    weight = random_tokens(random, outputs, inputs);
    bias = random_tokens(random, 1, outputs);
    x = random_tokens(random, tokens, inputs);
    linear = {weight.data(), biased ? bias.data() : nullptr, outputs, inputs};
  }
  std::vector<float> on(const RunOptions& options) const {
    std::vector<float> y(tokens * linear.outputs, std::numeric_limits<float>::quiet_NaN());
    const Status status = project(linear, tokens, x.data(), y.data(), options);
    EXPECT_TRUE(status.ok()) << status.message();
    return y;
  }
  /// Of n products and a bias, summed in any order, each with its rounding: the error is within
  /// (n + 1) · 2^−24 · (1 + 2^−10) of the sum of their sizes.
  void expect_right(const std::vector<float>& y) const {
    const double unit = std::ldexp(1.0 + std::ldexp(1.0, -10), -24);
    for (std::int64_t t = 0; t < tokens; ++t) {
      for (std::int64_t o = 0; o < linear.outputs; ++o) {
        double sum = linear.bias != nullptr ? bias[static_cast<std::size_t>(o)] : 0;
        double size = std::abs(sum);
        for (std::int64_t i = 0; i < linear.inputs; ++i) {
          const double product = double{x[static_cast<std::size_t>(t * linear.inputs + i)]} *
                                 weight[static_cast<std::size_t>(o * linear.inputs + i)];
          sum += product;
          size += std::abs(product);
        }
        const double bound = static_cast<double>(linear.inputs + 1) * unit * size;
        ASSERT_LE(std::abs(y[static_cast<std::size_t>(t * linear.outputs + o)] - sum), bound)
            << "token " << t << " output " << o;
      }
    }
  }

  std::int64_t tokens;
  std::vector<float> weight, bias, x;
  Linear linear;
};

TEST_F(LayerExecutors, PiecesOfEverySizeAreRight) {
  Host host(on_threads, kThreads);
  for (const std::int64_t outputs : {1, 63, 64, 65, 130, 1023, 1025, 2100}) {
    for (const std::int64_t tokens : {1, 2, 17}) {
      for (const bool biased : {false, true}) {
        SCOPED_TRACE(std::to_string(outputs) + " outputs, " + std::to_string(tokens) + " tokens");
        const Product product(tokens, outputs, 300, biased);
        const std::vector<float> alone = product.on({.workers = 1});
        product.expect_right(alone);
        EXPECT_EQ(alone, product.on({.workers = 8, .executor = host.executor()}));
        EXPECT_EQ(alone, product.on({.workers = 2}));
      }
    }
  }
}

TEST_F(LayerExecutors, LargeProductsAskTheHost) {
  Host host(on_threads, kThreads);
  (void)Product(1, 64, 64, false).on({.workers = 8, .executor = host.executor()});
  EXPECT_EQ(host.asked(), 0) << "too little work to wake a thread";
  (void)Product(1, 2048, 1024, false).on({.workers = 8, .executor = host.executor()});
  EXPECT_EQ(host.asked(), 1);
  EXPECT_EQ(host.most_tasks(), kThreads);
  (void)Product(1, 2048, 1024, false).on({.workers = 1, .executor = host.executor()});
  EXPECT_EQ(host.asked(), 1);
}

/// Threads of the host that take denormal numbers for zeros.
void on_threads_that_flush(Host& host, int tasks, TaskFunction task, void* argument) {
  struct Call {
    TaskFunction task;
    void* argument;
  } call{task, argument};
  on_threads(
      host, tasks,
      [](void* given, int index) {
        const FloatControl before = float_control();
        set_float_control(before | kFlush);
        static_cast<Call*>(given)->task(static_cast<Call*>(given)->argument, index);
        set_float_control(before);
      },
      &call);
}

TEST_F(LayerExecutors, PiecesKeepDenormalNumbers) {
  Product product(1, 2048, 1024, false);
  for (float& weight : product.weight) weight = 0x1p-100F;
  for (float& x : product.x) x = 0x1p-40F;  // a sum of 1024 products is 2⁻¹³⁰
  Host host(on_threads_that_flush, kThreads);
  const std::vector<float> y = product.on({.workers = 8, .executor = host.executor()});
  EXPECT_EQ(host.asked(), 1);
  EXPECT_EQ(y, std::vector<float>(y.size(), 0x1p-130F));
}

TEST_F(LayerExecutors, ALayerRunsOnTheHostsThreads) {
  LayerSpec spec;
  spec.config.dim = 512;
  spec.config.attention = {.query_heads = 8, .kv_heads = 2, .head_dim = 64, .causal = true};
  spec.rotary = {.rotary_dim = 64, .positions = 128};
  proof::Random random(2);
  const std::vector<float> tokens = random_tokens(random, 100, spec.config.dim);
  const auto layer_on = [&](const RunOptions& options) {
    LayerModel model(spec, options);
    return model.forward({{model.add(), tokens}});
  };
  const std::vector<float> alone = layer_on({.workers = 1});
  for (const Host::Spread spread : {on_threads, on_one_thread}) {
    Host host(spread, kThreads);
    EXPECT_EQ(alone, layer_on({.workers = kThreads, .executor = host.executor()}));
    // Four products and the attention, at least.
    EXPECT_GE(host.asked(), 5);
  }
}

}  // namespace
}  // namespace heed::tests
