// Products of bf16 against their oracle, bit for bit: in prefill and decode, in one piece and in
// pages.
#include <limits>
#include <string>
#include <vector>

#include "tests/support/attention_run.h"
#include "tests/support/paged_case.h"
#include "tests/support/typed_run.h"

namespace heed::tests {
namespace {

using proof::Case;
using proof::CaseSpec;
using proof::Distribution;

/// A case of bf16 products that decode and prefill see, with keys at odd places and in pages of an
/// odd number of tokens.
CaseSpec in_pairs(std::uint64_t seed) {
  CaseSpec spec = spec_of({1, 3, 47}, {275, 38, 121});
  constexpr std::int64_t kDims[] = {64, 2, 34, 80};
  spec.config.head_dim = kDims[seed % 4];
  spec.config.value_head_dim = seed % 3 == 0 ? 33 : 64;
  spec.config.causal = seed % 2 == 0;
  spec.config.window_left = seed % 5 == 0 ? 20 : kUnlimited;
  spec.seed = seed;
  return with_types(spec, {DType::bf16, DType::bf16, DType::bf16, DType::f32});
}

void expect_pairs(const Case& c, std::int64_t page_tokens) {
  SCOPED_TRACE(to_string(c.spec()) + ", pages of " + std::to_string(page_tokens));
  const Pool pool = c.spec().seed % 4 < 2 ? Pool::bshd : Pool::bhsd;
  const PagedCase paged(c, page_tokens, pool);
  for (const std::string_view isa : supported_isas()) {
    expect_oracle(typed_run(c), on(isa, 2, c.spec().seed % 2 == 0 ? 16 : 0));
    expect_oracle({c.config(), paged.batch(), paged.tensors(false)}, on(isa));
    if (testing::Test::HasFailure()) return;
  }
}

TEST(Bf16Products, RowsAreThoseOfTheOracle) {
  constexpr std::int64_t kPages[] = {1, 5, 16, 17, 100};
  for (std::uint64_t seed = 1; seed <= (thorough() ? 20U : 6U); ++seed) {
    expect_pairs(Case(in_pairs(seed)), kPages[seed % 5]);
    if (HasFailure()) return;
  }
}

TEST(Bf16Products, TemperaturesScalesAndMagnitudes) {
  std::uint64_t seed = 30;
  for (const float temperature : {0.0F, 0.5F, std::numeric_limits<float>::infinity()}) {
    for (const Distribution distribution :
         {Distribution::sharp, Distribution::tiny, Distribution::huge}) {
      CaseSpec spec = in_pairs(++seed);
      spec.config.temperature = temperature;
      if (seed % 2 == 0) spec.config.scale = -0.3F;
      spec.distribution = distribution;
      expect_pairs(Case(spec), 16);
      if (HasFailure()) return;
    }
  }
}

// What is not finite reaches the rows that see it, and no other: also not those that see the other
// key of its pair.
TEST(Bf16Products, NotFinite) {
  for (const float spoiler :
       {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
        std::numeric_limits<float>::quiet_NaN(), 1e-39F}) {
    for (std::uint64_t seed = 50; seed < (thorough() ? 54U : 52U); ++seed) {
      CaseSpec spec = in_pairs(seed);
      spec.config.causal = true;
      Case c(spec);
      const proof::Row row{2, 0, 0};
      const auto key = static_cast<std::int64_t>(40 + seed);
      c.k()[c.geometry().k(row, key)] = spoiler;
      c.v()[c.geometry().v(row, key + 7)] = spoiler;
      c.narrow();
      expect_pairs(c, 16);
      if (HasFailure()) return;
    }
  }
}

TEST(Bf16Products, AreAskedFor) {
  CaseSpec spec = in_pairs(60);
  Plan plan;
  const auto path = [&] {
    const Case c(spec);
    EXPECT_TRUE(plan_attention(c.config(), c.batch(), {}, plan).ok());
    return plan.describe().find("path: products of bf16") != std::string::npos;
  };
  EXPECT_TRUE(path());
  spec.config.products = Products::bf16;
  EXPECT_TRUE(path());
  spec.config.products = Products::f32;
  EXPECT_FALSE(path());
  const Case floats(spec);
  for (const std::string_view isa : supported_isas()) expect_oracle(typed_run(floats), on(isa));
  spec.config.products = Products::automatic;
  spec.config.head_dim = 63;
  EXPECT_FALSE(path());
}

}  // namespace
}  // namespace heed::tests
