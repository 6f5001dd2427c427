// Every ISA against float64, within the bounds derived in tests/proof/bounds.h.
#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "tests/proof/bounds.h"
#include "tests/proof/reference.h"
#include "tests/support/attention_run.h"

namespace heed::tests {
namespace {

using proof::Case;
using proof::CaseSpec;
using proof::Distribution;
using proof::Row;

/// Fails where |actual − exact| exceeds the bound; equal infinities are no error.
void expect_within(double actual, double exact, double bound, const Row& row, const char* name) {
  if (actual == exact) return;
  ASSERT_LE(std::abs(actual - exact), bound)
      << name << " of " << to_string(row) << ": " << actual << " where float64 has " << exact;
}

void expect_accurate_rows(const Case& c, const Outputs& outputs) {
  const proof::Geometry& geometry = c.geometry();
  for (const Row& row : geometry.rows()) {
    const proof::ReferenceRow exact = proof::reference_row(geometry, c.inputs(), row);
    const proof::Bounds bounds = proof::error_bounds(exact, c.config().head_dim);
    const float* const out = outputs.out.data() + geometry.out(row);
    for (std::size_t x = 0; x < exact.out.size(); ++x) {
      expect_within(out[x], exact.out[x], bounds.out, row, "out");
    }
    expect_within(outputs.lse.data()[geometry.lse(row)], exact.lse, bounds.lse, row, "lse");
    if (testing::Test::HasFailure()) return;
  }
}

void check(const CaseSpec& spec) {
  SCOPED_TRACE(to_string(spec));
  const Case c(spec);
  for (const std::string_view isa : f32_isas()) {
    SCOPED_TRACE(isa);
    expect_accurate_rows(c, run_case(c, on(isa, 2)));
    if (testing::Test::HasFailure()) return;
  }
}

CaseSpec grouped(std::int64_t head_dim, std::int32_t queries, std::int32_t keys) {
  CaseSpec spec;
  spec.config.query_heads = 4;
  spec.config.kv_heads = 2;
  spec.config.head_dim = head_dim;
  spec.queries = {queries};
  spec.keys = {keys};
  return spec;
}

TEST(AttentionAccuracy, AllDistributionsAndHeadDimensions) {
  for (const Distribution distribution :
       {Distribution::normal, Distribution::sharp, Distribution::tiny}) {
    for (const std::int64_t head_dim : {1, 16, 64, 128, 511}) {
      for (const std::int32_t keys : {1, 33, 300, 700}) {
        CaseSpec spec = grouped(head_dim, 5, keys);
        spec.distribution = distribution;
        check(spec);
        if (HasFailure()) return;
      }
    }
  }
}

TEST(AttentionAccuracy, EveryMask) {
  struct Mask {
    bool causal;
    std::int64_t left, right;
  };
  constexpr std::array<Mask, 7> masks = {{{false, kUnlimited, kUnlimited},
                                          {true, kUnlimited, kUnlimited},
                                          {true, 17, kUnlimited},
                                          {false, 0, 0},
                                          {false, 40, 3},
                                          {false, kUnlimited, 20},
                                          {false, 300, kUnlimited}}};
  for (const Mask& mask : masks) {
    for (const Alignment alignment : {Alignment::end, Alignment::start}) {
      for (const std::int32_t queries : {70, 300}) {
        CaseSpec spec = grouped(16, queries, 290);
        spec.config.causal = mask.causal;
        spec.config.window_left = mask.left;
        spec.config.window_right = mask.right;
        spec.config.alignment = alignment;
        spec.distribution = Distribution::sharp;
        check(spec);
        if (HasFailure()) return;
      }
    }
  }
}

TEST(AttentionAccuracy, TemperaturesAndScales) {
  for (const float temperature : {0.25F, 1.0F, 5.0F, std::numeric_limits<float>::infinity()}) {
    for (const float scale : {-1.0F, 0.0F, 0.3F, 1.5F}) {
      CaseSpec spec = grouped(24, 20, 520);
      spec.config.causal = true;
      spec.config.temperature = temperature;
      spec.config.scale = scale;
      check(spec);
      if (HasFailure()) return;
    }
  }
}

// The reference itself, where the answer can be written down: equal keys weigh equally.
TEST(AttentionAccuracy, ReferenceAveragesValuesOfEqualKeys) {
  CaseSpec spec = grouped(8, 3, 50);
  Case c(spec);
  std::fill_n(c.k(), 50 * 2 * 8, 0.5F);
  double mean = 0;
  for (int j = 0; j < 50; ++j) mean += static_cast<double>(c.v()[j * 16 + 8 + 5]) / 50;
  const Row row{0, 1, 3};
  const proof::ReferenceRow exact = proof::reference_row(c.geometry(), c.inputs(), row);
  EXPECT_NEAR(exact.out[5], mean, 1e-15);
  double logit = 0;
  for (int x = 0; x < 8; ++x) logit += 0.5 * c.q()[1 * 32 + 3 * 8 + x] / std::sqrt(8.0);
  EXPECT_NEAR(exact.lse, logit + std::log(50.0), 1e-14);
}

// Weights at exactly ln 2 steps: T = 1 / ln 2 makes them powers of two, 8/15 … 1/15.
TEST(AttentionAccuracy, WeightsOfKnownLogits) {
  CaseSpec spec;
  spec.config.head_dim = 1;
  spec.config.scale = 0.69314718F;
  spec.queries = {1};
  spec.keys = {4};
  Case c(spec);
  c.q()[0] = 1;
  double expected = 0;
  for (int j = 0; j < 4; ++j) {
    c.k()[j] = static_cast<float>(-j);
    c.v()[j] = static_cast<float>(1 + j * j);
    expected += std::ldexp(1.0, 3 - j) / 15 * (1 + j * j);
  }
  // 0.69314718F lies 1.9e−8 from ln 2: an error of 3 · 2.7e−8 in the smallest logit's weight.
  for (const std::string_view isa : f32_isas()) {
    const Outputs outputs = run_case(c, on(isa));
    const proof::ReferenceRow exact = proof::reference_row(c.geometry(), c.inputs(), {0, 0, 0});
    const double bound = proof::error_bounds(exact, 1).out + 10 * 3 * 2.7e-8;
    EXPECT_NEAR(outputs.out.data()[0], expected, bound) << isa;
    EXPECT_NEAR(exact.out[0], expected, 10 * 3 * 2.7e-8);
  }
}

}  // namespace
}  // namespace heed::tests
