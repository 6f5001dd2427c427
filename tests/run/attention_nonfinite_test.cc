// NaN and infinity follow the formula in every row that sees them, and touch no other.
#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "tests/proof/numbers.h"
#include "tests/proof/reference.h"
#include "tests/support/attention_run.h"

namespace heed::tests {
namespace {

using proof::Case;
using proof::CaseSpec;
using proof::Form;
using proof::Geometry;
using proof::Row;

using proof::kInfinity;
using proof::kNan;

bool sees(const Geometry& geometry, const Row& row, std::int64_t key) {
  const proof::KeyRange range = geometry.visible(row);
  return range.begin <= key && key < range.end;
}

struct Poison {
  enum class Where { key, value } where;
  float number;
};

/// Runs the case clean and with one element of one key's (or value's) vector replaced, and checks
/// that rows that do not see it keep every bit, and those that do follow the formula.
void check_poison(const CaseSpec& spec, std::int64_t key, const Poison& poison,
                  const PlanOptions& options) {
  SCOPED_TRACE(to_string(spec) + " on " + std::string(options.isa) + ", key " +
               std::to_string(key) + (poison.where == Poison::Where::key ? " key " : " value ") +
               std::to_string(poison.number));
  constexpr std::int64_t element = 2, kv_head = 1;
  Case c(spec);
  const Outputs clean = run_case(c, options);
  const Row of_head{0, 0, kv_head * c.geometry().group()};
  if (poison.where == Poison::Where::key) {
    c.k()[c.geometry().k(of_head, key) + element] = poison.number;
  } else {
    c.v()[c.geometry().v(of_head, key) + element] = poison.number;
  }
  const Outputs poisoned = run_case(c, options);
  for (const Row& row : c.geometry().rows()) {
    const bool seen = row.head / c.geometry().group() == kv_head && sees(c.geometry(), row, key);
    if (!seen) {
      expect_same_row(c.geometry(), clean, row, c.geometry(), poisoned, row);
    } else {
      const proof::ReferenceRow exact = proof::reference_row(c.geometry(), c.inputs(), row);
      const std::span<const float> out = out_of(c.geometry(), poisoned, row);
      for (std::size_t x = 0; x < out.size(); ++x) {
        if (std::isfinite(exact.out[x])) {
          ASSERT_TRUE(std::isfinite(out[x])) << to_string(row) << ", element " << x;
        } else {
          ASSERT_TRUE(same_bits(out[x], static_cast<float>(exact.out[x])))
              << to_string(row) << ", element " << x << ": " << out[x] << " where the formula has "
              << exact.out[x];
        }
      }
    }
    if (testing::Test::HasFatalFailure()) return;
  }
}

constexpr std::array<Poison, 6> kPoisons = {{{Poison::Where::key, kNan},
                                             {Poison::Where::key, kInfinity},
                                             {Poison::Where::key, -kInfinity},
                                             {Poison::Where::value, kNan},
                                             {Poison::Where::value, kInfinity},
                                             {Poison::Where::value, -kInfinity}}};

void check_all_poisons(const CaseSpec& spec, std::span<const std::int64_t> keys, int workers) {
  for (const std::int64_t key : keys) {
    for (const Poison& poison : kPoisons) {
      for (const std::string_view isa : f32_isas()) {
        check_poison(spec, key, poison, on(isa, workers));
        if (testing::Test::HasFailure()) return;
      }
    }
  }
}

// Infinite keys make a logit of +∞ (out is NaN) or −∞ (weight 0), by the sign of the query.
TEST(AttentionNonFinite, KeysAndValuesReachExactlyTheRowsThatSeeThem) {
  constexpr std::array<std::int64_t, 7> keys = {0, 200, 230, 255, 256, 271, 299};
  struct Mask {
    bool causal;
    std::int64_t left;
    float temperature;
  };
  for (const Mask mask : {Mask{false, kUnlimited, 1}, Mask{true, kUnlimited, 1}, Mask{true, 20, 1},
                          Mask{true, kUnlimited, 0}}) {
    CaseSpec spec = small_case(90, 300);
    spec.config.causal = mask.causal;
    spec.config.window_left = mask.left;
    spec.config.temperature = mask.temperature;
    check_all_poisons(spec, keys, 2);
    if (HasFailure()) return;
  }
}

TEST(AttentionNonFinite, KeysAndValuesInSplitKeys) {
  constexpr std::array<std::int64_t, 4> keys = {0, 700, 2558, 2562};
  CaseSpec spec = small_case(6, 2563);
  spec.config.causal = true;
  const Plan plan = plan_case(Case(spec), on({}, 8));
  ASSERT_EQ(plan.describe().find("splits: 0"), std::string::npos) << plan.describe();
  check_all_poisons(spec, keys, 8);
}

TEST(AttentionNonFinite, SequencesOfNaNStayAlone) {
  CaseSpec spec = small_case(0, 0);
  spec.form = Form::ragged;
  spec.queries = {5, 21, 9};
  spec.keys = {40, 33, 70};
  for (const std::string_view isa : f32_isas()) {
    SCOPED_TRACE(isa);
    Case c(spec);
    const Outputs clean = run_case(c, on(isa, 2));
    for (const Row& row : c.geometry().rows()) {
      if (row.sequence != 1) continue;
      std::fill_n(c.q() + c.geometry().q(row), 20, kNan);
      for (std::int64_t j = 0; j < 33; ++j) {
        std::fill_n(c.k() + c.geometry().k(row, j), 20, kNan);
        std::fill_n(c.v() + c.geometry().v(row, j), 12, kNan);
      }
    }
    const Outputs poisoned = run_case(c, on(isa, 2));
    for (const Row& row : c.geometry().rows()) {
      if (row.sequence == 1) continue;
      expect_same_row(c.geometry(), clean, row, c.geometry(), poisoned, row);
      if (HasFatalFailure()) return;
    }
  }
}

TEST(AttentionNonFinite, QueriesStayInTheirRow) {
  CaseSpec spec = small_case(70, 300);
  spec.config.causal = true;
  for (const float number : {kNan, kInfinity, -kInfinity}) {
    for (const std::string_view isa : f32_isas()) {
      SCOPED_TRACE(std::string(isa) + " " + std::to_string(number));
      Case c(spec);
      const Outputs clean = run_case(c, on(isa, 2));
      const Row hit{0, 33, 1};
      c.q()[c.geometry().q(hit)] = number;
      const Outputs poisoned = run_case(c, on(isa, 2));
      for (const Row& row : c.geometry().rows()) {
        if (row.token == hit.token && row.head == hit.head) {
          for (const float x : out_of(c.geometry(), poisoned, row)) EXPECT_TRUE(std::isnan(x));
        } else {
          expect_same_row(c.geometry(), clean, row, c.geometry(), poisoned, row);
        }
        if (HasFatalFailure()) return;
      }
    }
  }
}

}  // namespace
}  // namespace heed::tests
