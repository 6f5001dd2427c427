// Where the promises of heed/attention.h end: queries so large that their products with the factor
// overflow, and values so small that their weighted sums are denormal.
#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "tests/support/attention_run.h"

namespace heed::tests {
namespace {

using proof::Case;
using proof::CaseSpec;

constexpr float kLargest = std::numeric_limits<float>::max();

/// One query of one dimension against two keys with the values 1 and 3.
float weigh(float query, float key_a, float key_b, const AttentionConfig& config) {
  Batch batch;
  batch.query.length = 1;
  batch.key.length = 2;
  Plan plan;
  const Status status = plan_attention(config, batch, on({}, 1), plan);
  EXPECT_TRUE(status.ok()) << status.message();
  Workspace workspace;
  EXPECT_TRUE(workspace.reserve(plan).ok());
  const float k[] = {key_a, key_b}, v[] = {1.0F, 3.0F};
  float out = -7.0F;
  EXPECT_TRUE(run(plan, {.q = &query, .k = k, .v = v, .out = &out}, workspace).ok());
  return out;
}

// The query is scaled before it meets a key: its product with scale / T · log2 e must be finite.
TEST(AttentionLimits, QueriesUpToTheLargestProduct) {
  struct Setting {
    float scale, temperature;
  };
  for (const Setting& s : {Setting{4.0F, 1.0F}, {1.0F, 2e-38F}, {-1e3F, 0.5F}, {1e30F, 0.0F}}) {
    SCOPED_TRACE("scale " + std::to_string(s.scale) + ", T " + std::to_string(s.temperature));
    AttentionConfig config;
    config.head_dim = 1;
    config.scale = s.scale;
    config.temperature = s.temperature;
    const double t = s.temperature == 0 ? 1.0 : static_cast<double>(s.temperature);
    const auto factor =
        static_cast<float>(static_cast<double>(s.scale) * 1.44269504088896340736 / t);
    float query = kLargest / std::abs(factor);
    while (std::isfinite(query * factor)) query = std::nextafter(query, kLargest);
    const float beyond = query, within = std::nextafter(query, 0.0F);
    // Logits a bit apart: e^(logit / T) has the ratio that the formula gives.
    const float key = 0x1p-127F;
    const double logit =
        static_cast<double>(within) * static_cast<double>(factor) * static_cast<double>(key);
    const double weight =
        s.temperature == 0 ? (logit > 0 ? 0.0 : 1.0) : 1 / (1 + std::exp2(-logit));
    const double expected = s.temperature == 0 ? (factor > 0 ? 1.0 : 3.0) : 3 - 2 * weight;
    EXPECT_NEAR(static_cast<double>(weigh(within, key, 0.0F, config)), expected, 1e-5) << weight;
    EXPECT_TRUE(std::isnan(weigh(beyond, key, 0.0F, config)));
  }
}

// A factor that is no normal number rounds to one of less precision, or to 0: logits so small tell
// no keys apart.
TEST(AttentionLimits, FactorsBelowNormalNumbersWeighAllAlike) {
  AttentionConfig config;
  config.head_dim = 1;
  for (const float scale : {1e-30F, 1e-38F}) {
    config.scale = scale;
    config.temperature = 1e10F;
    EXPECT_NEAR(weigh(1.0F, 5.0F, -9.0F, config), 2.0F, 1e-6F);
    EXPECT_NEAR(weigh(1e30F, 5.0F, -9.0F, config), 2.0F, 1e-6F);
  }
}

/// How much outputs change with tiles, workers and ISAs.
struct Changes {
  int number = 0;
  float largest = 0;
};

/// For values of this size, whose weights differ much.
/// Those that have fused multiply-adds.
std::vector<std::string_view> fused_isas() {
  std::vector<std::string_view> isas = f32_isas();
  std::erase_if(isas, [](std::string_view isa) { return !isa.starts_with("avx"); });
  return isas;
}

Changes changes(float size) {
  CaseSpec spec = small_case(9, 1200);
  spec.config.temperature = 0.05F;
  Case c(spec);
  for (float& v : std::span(c.v(), 1200 * 2 * 12)) {
    v = std::copysign((1 + std::abs(v) / 8) * size, v);
  }
  const std::vector<std::string_view> isas = fused_isas();
  const Outputs expected = run_case(c, on(isas.back(), 1));
  Changes all;
  for (const std::string_view isa : isas) {
    for (const int tile : {16, 64, 256}) {
      for (const int workers : {1, 3, 16}) {
        const Outputs outputs = run_case(c, on(isa, workers, tile));
        const auto a = expected.out.span(), b = outputs.out.span();
        for (std::size_t i = 0; i < a.size(); ++i) {
          if (same_bits(a[i], b[i])) continue;
          ++all.number;
          all.largest = std::max(all.largest, std::abs(a[i] - b[i]));
        }
      }
    }
  }
  return all;
}

TEST(AttentionLimits, SmallValuesKeepTheirBitsUnlessTheirSumsAreDenormal) {
  if (fused_isas().empty()) GTEST_SKIP() << "no fused multiply-add";
  EXPECT_EQ(changes(0x1p-100F).number, 0);
  const Changes below = changes(0x1p-126F);
  EXPECT_GT(below.number, 0) << "the bound that the header states is too careful";
  EXPECT_LE(below.largest, 1200 * 0x1p-149F);
}

}  // namespace
}  // namespace heed::tests
