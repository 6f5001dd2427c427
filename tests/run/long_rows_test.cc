// Rows that see more than a section of 64 partitions, up to keys near the largest int32: the bits
// of the oracle, whatever kernel, workers and ISA, and sums that stay exact enough.
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/attention_run.h"

namespace heed::tests {
namespace {

using proof::Case;
using proof::CaseSpec;
using proof::Geometry;
using proof::Row;

constexpr std::int32_t kSectionKeys = 64 * 256;

CaseSpec long_case(std::int32_t queries, std::int32_t keys) {
  CaseSpec spec = small_case(queries, keys);
  spec.config.head_dim = 3;
  spec.config.value_head_dim = 2;
  spec.config.causal = true;
  return spec;
}

/// Every row on every ISA, with one worker and with as many as split keys: the first of each
/// arithmetic against the oracle, the others against the first.
void check(const CaseSpec& spec) {
  SCOPED_TRACE(to_string(spec));
  const Case c(spec);
  const std::vector<Row> rows = c.geometry().rows();
  std::map<proof::Arithmetic, Outputs> proved;
  for (const std::string_view isa : f32_isas()) {
    const proof::Arithmetic arithmetic = proof::arithmetic_of(isa);
    for (const int workers : {1, 7}) {
      SCOPED_TRACE(std::string(isa) + " workers " + std::to_string(workers));
      Outputs outputs = run_case(c, on(isa, workers));
      const auto first = proved.find(arithmetic);
      if (first == proved.end()) {
        expect_oracle_rows(c.geometry(), c.inputs(), outputs, rows, arithmetic);
        proved.emplace(arithmetic, std::move(outputs));
      } else {
        expect_same_rows(c.geometry(), first->second, c.geometry(), outputs);
      }
      if (testing::Test::HasFailure()) return;
    }
  }
}

TEST(LongRows, AroundTheEndsOfSections) {
  for (const std::int32_t sections : {1, 2}) {
    for (const std::int32_t more : {-1, 0, 1, 257}) {
      for (const std::int32_t queries : {1, 24}) {
        check(long_case(queries, sections * kSectionKeys + more));
        if (HasFailure()) return;
      }
    }
  }
}

TEST(LongRows, SectionsAreCountedFromTheFirstVisiblePartition) {
  for (const std::int64_t window : {16000, 16383, 16384, 16900, 33000}) {
    for (const std::int32_t queries : {1, 5, 70}) {
      CaseSpec spec = long_case(queries, 36000);
      spec.config.query_heads = spec.config.kv_heads = 1;
      spec.config.window_left = window;
      check(spec);
      if (HasFailure()) return;
    }
  }
}

// A window that moves by a partition within an item: its rows' sections end at different keys.
TEST(LongRows, OfOneItemThatBeginInDifferentPartitions) {
  CaseSpec spec = long_case(600, 17600);
  spec.config.query_heads = spec.config.kv_heads = 1;
  spec.config.window_left = 16600;
  check(spec);
}

TEST(LongRows, OtherTemperatures) {
  for (const float temperature : {0.0F, std::numeric_limits<float>::infinity()}) {
    CaseSpec spec = long_case(3, 2 * kSectionKeys + 300);
    spec.config.temperature = temperature;
    check(spec);
  }
}

/// One query head and one KV head of dimension 1, and keys that are all the same element.
struct OneKey {
  AttentionConfig config{.query_heads = 1, .kv_heads = 1, .head_dim = 1};
  std::vector<float> q, out, lse;
  float k = 0.5F, v = 3.0F;
  Batch batch;

  OneKey(std::int64_t queries, std::int64_t keys)
      : q(static_cast<std::size_t>(queries), 0.25F), out(q.size()), lse(q.size()) {
    batch = {.sequences = 1,
             .query = {.length = queries},
             .key = {.length = keys},
             .k = Layout{0, 0, 0},
             .v = Layout{0, 0, 0}};
  }
  AttentionTensors tensors() {
    return {.q = q.data(), .k = &k, .v = &v, .out = out.data(), .lse = lse.data()};
  }
  void run(const PlanOptions& options) {
    Plan plan;
    Workspace workspace;
    ASSERT_EQ(plan_attention(config, batch, options, plan).message(), "");
    ASSERT_EQ(workspace.reserve(plan).message(), "");
    ASSERT_EQ(heed::run(plan, tensors(), workspace).message(), "");
  }
};

// The bound of include/heed/attention.h, for weights that are all equal.
TEST(LongRows, SumsStayExact) {
  const double keys = thorough() ? 1 << 24 : 1 << 20;
  const double additions = 256 + 64 + std::ceil((keys / 256 + 1) / 64);
  for (const std::string_view isa : f32_isas()) {
    SCOPED_TRACE(isa);
    OneKey one(1, static_cast<std::int64_t>(keys));
    one.run(on(isa, 2));
    EXPECT_NEAR(one.out[0], 3.0, 3.0 * (2 * additions + 2) * std::ldexp(1.0, -24));
    EXPECT_NEAR(one.lse[0], 0.125 + std::log(keys), 2e-5 + additions * std::ldexp(1.0, -24));
  }
}

// The last keys that 31 bits can count, as the few that a window leaves visible.
TEST(LongRows, KeysUpToTheLargestLength) {
  const std::int64_t most = std::numeric_limits<std::int32_t>::max();
  for (const std::int64_t keys : {most, most - 1, most - 255, most - 256, most - 300}) {
    for (const std::int64_t queries : {1, 40}) {
      for (const std::string_view isa : f32_isas()) {
        SCOPED_TRACE(std::to_string(keys) + " keys, " + std::to_string(queries) + " queries on " +
                     std::string(isa));
        OneKey one(queries, keys);
        one.config.causal = true;
        one.config.window_left = 700;
        one.run(on(isa));
        if (HasFatalFailure()) return;
        const Geometry geometry(one.config, one.batch);
        for (std::int64_t i = 0; i < queries; ++i) {
          const proof::OracleRow row =
              oracle_row(geometry, one.tensors(), {0, i, 0}, proof::arithmetic_of(isa));
          EXPECT_TRUE(same_bits(one.out[static_cast<std::size_t>(i)], row.out[0]));
        }
      }
    }
  }
}

}  // namespace
}  // namespace heed::tests
