// The edges of the definition: nothing to see, nothing to do, and numbers that are none.
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
using proof::Storage;

using proof::kInfinity;

void expect_empty_row(const Geometry& geometry, const Outputs& outputs, const Row& row) {
  for (const float x : out_of(geometry, outputs, row)) {
    ASSERT_TRUE(same_bits(x, 0.0F)) << to_string(row) << ": " << x;
  }
  ASSERT_EQ(outputs.lse.data()[geometry.lse(row)], -kInfinity) << to_string(row);
}

TEST(AttentionEdges, RowsThatSeeNoKeyGiveZeroAndMinusInfinity) {
  for (const float temperature : {0.0F, 1.0F, kInfinity}) {
    CaseSpec spec = small_case(90, 40);
    spec.config.causal = true;
    spec.config.temperature = temperature;
    const Case c(spec);
    for (const std::string_view isa : f32_isas()) {
      SCOPED_TRACE(std::string(isa) + " T " + std::to_string(temperature));
      const Outputs outputs = run_case(c, on(isa, 2));
      int empty = 0;
      for (const Row& row : c.geometry().rows()) {
        const float lse = outputs.lse.data()[c.geometry().lse(row)];
        if (row.token < 50) {
          expect_empty_row(c.geometry(), outputs, row);
          ++empty;
        } else {
          ASSERT_NE(lse, -kInfinity) << to_string(row);
        }
        if (HasFatalFailure()) return;
      }
      EXPECT_EQ(empty, 200);
    }
  }
}

TEST(AttentionEdges, WindowsThatLieOutsideTheKeysShowNothing) {
  CaseSpec spec = small_case(200, 30);
  spec.config.alignment = Alignment::start;
  spec.config.window_left = 0;
  spec.config.window_right = 2;
  const Case c(spec);
  for (const std::string_view isa : f32_isas()) {
    SCOPED_TRACE(isa);
    const Outputs outputs = run_case(c, on(isa, 2));
    for (const Row& row : c.geometry().rows()) {
      if (row.token >= 30) expect_empty_row(c.geometry(), outputs, row);
      if (HasFatalFailure()) return;
    }
  }
}

TEST(AttentionEdges, ZeroKeysZeroQueriesZeroSequences) {
  for (const std::string_view isa : f32_isas()) {
    SCOPED_TRACE(isa);
    for (const Form form : {Form::dense, Form::padded, Form::ragged}) {
      CaseSpec spec = small_case(17, 0);
      spec.form = form;
      const Case no_keys(spec);
      const Outputs outputs = run_case(no_keys, on(isa, 2));
      for (const Row& row : no_keys.geometry().rows()) {
        expect_empty_row(no_keys.geometry(), outputs, row);
        if (HasFatalFailure()) return;
      }
      spec.queries = {0};
      spec.keys = {17};
      run_case(Case(spec), on(isa, 2));
      spec.keys = spec.queries = {};
      run_case(Case(spec), on(isa, 2));
    }
  }
}

TEST(AttentionEdges, ZeroKeysNeedNoKeyTensors) {
  const Case c(small_case(5, 0));
  const Plan plan = plan_case(c, {});
  Workspace workspace;
  ASSERT_TRUE(workspace.reserve(plan).ok());
  Outputs outputs = fresh_outputs(c);
  AttentionTensors tensors = outputs.with(c.inputs());
  tensors.k = tensors.v = nullptr;
  ASSERT_TRUE(run(plan, tensors, workspace).ok());
  expect_exactly_rows_written(c.geometry(), outputs);
}

TEST(AttentionEdges, LseIsOptional) {
  const Case c(small_case(33, 65));
  for (const std::string_view isa : f32_isas()) {
    const Plan plan = plan_case(c, on(isa, 2));
    const Outputs with_lse = run_plan(c, plan);
    Workspace workspace;
    ASSERT_TRUE(workspace.reserve(plan).ok());
    Outputs without = fresh_outputs(c);
    AttentionTensors tensors = without.with(c.inputs());
    tensors.lse = nullptr;
    ASSERT_TRUE(run(plan, tensors, workspace).ok());
    EXPECT_TRUE(std::ranges::equal(with_lse.out.span(), without.out.span(), same_bits)) << isa;
  }
}

// Buffers begin right after, or end right before, an inaccessible page, and hold NaN wherever no
// tensor element lies: a run that reads or writes outside dies or gives NaN.
TEST(AttentionEdges, NothingOutsideTheTensorsIsTouched) {
  for (const auto touching :
       {proof::GuardedBuffer::Touching::end, proof::GuardedBuffer::Touching::start}) {
    for (const Storage storage :
         {Storage::bshd, Storage::bhsd, Storage::interleaved, Storage::spaced, Storage::pages}) {
      for (const std::int64_t head_dim : {1, 3, 16, 21, 64}) {
        CaseSpec spec = small_case(7, 35);
        spec.form = Form::padded;
        spec.storage = storage;
        spec.queries = {19, 0, 50};
        spec.keys = {35, 12, 130};
        spec.config.head_dim = head_dim;
        spec.config.value_head_dim = head_dim + 1;
        const Case c(spec, touching);
        SCOPED_TRACE(to_string(spec));
        for (const std::string_view isa : f32_isas()) {
          const Outputs outputs = run_case(c, on(isa, 2));
          for (const Row& row : c.geometry().rows()) {
            for (const float x : out_of(c.geometry(), outputs, row)) {
              ASSERT_TRUE(std::isfinite(x)) << isa << ", " << to_string(row);
            }
          }
        }
      }
    }
  }
}

TEST(AttentionEdges, LogitsOfMinusInfinityWeighNothing) {
  for (const float temperature : {0.0F, 1.0F}) {
    CaseSpec spec = small_case(20, 280);
    spec.config.temperature = temperature;
    Case c(spec);
    for (const Row& row : c.geometry().rows()) {
      c.q()[c.geometry().q(row)] = std::abs(c.q()[c.geometry().q(row)]) + 1;
      for (std::int64_t j = 0; j < 280; ++j) {
        if (j % 3 != 0) c.k()[c.geometry().k(row, j)] = -kInfinity;
      }
    }
    for (const std::string_view isa : f32_isas()) {
      SCOPED_TRACE(isa);
      const Outputs outputs = run_case(c, on(isa, 2));
      const std::vector<Row> rows = c.geometry().rows();
      expect_oracle_rows(c.geometry(), c.inputs(), outputs, rows, proof::arithmetic_of(isa));
      for (const float x : outputs.out.span()) ASSERT_TRUE(std::isfinite(x));
    }
    for (const Row& row : c.geometry().rows()) {
      for (std::int64_t j = 0; j < 280; ++j) c.k()[c.geometry().k(row, j)] = -kInfinity;
    }
    for (const std::string_view isa : f32_isas()) {
      SCOPED_TRACE(isa);
      const Outputs outputs = run_case(c, on(isa, 2));
      for (const Row& row : c.geometry().rows()) {
        expect_empty_row(c.geometry(), outputs, row);
        if (HasFatalFailure()) return;
      }
    }
  }
}

// Logits 400 apart in base 2, both up and down the keys: far more than weights can span, so that
// every step of the maximum discards or is discarded.
TEST(AttentionEdges, StepsBetweenLogitsBeyondTheRangeOfWeights) {
  for (const float step : {400.0F, -400.0F, 60.0F, -60.0F, 7.0F, 3e35F, -3e35F}) {
    CaseSpec spec = small_case(5, 600);
    Case c(spec);
    for (const Row& row : c.geometry().rows()) {
      c.q()[c.geometry().q(row)] = 1.0F;
      for (std::int64_t j = 0; j < 600; ++j) {
        const std::int64_t steps = j / 40 - 7;
        c.k()[c.geometry().k(row, j)] = step * static_cast<float>(steps);
      }
    }
    for (const std::string_view isa : f32_isas()) {
      SCOPED_TRACE(std::string(isa) + " step " + std::to_string(step));
      const std::vector<Row> rows = c.geometry().rows();
      const Outputs outputs = run_case(c, on(isa, 2));
      expect_oracle_rows(c.geometry(), c.inputs(), outputs, rows, proof::arithmetic_of(isa));
      for (const float x : outputs.out.span()) ASSERT_TRUE(std::isfinite(x));
    }
  }
}

// Where the tiles before have settled m, the weights of the next one are computed for that m: a
// logit that is too far from it must be seen, whatever it is. Sums of base and distance are exact,
// or far beyond what they are near.
TEST(AttentionEdges, LogitsAnyWayFromTheGuessedMaximum) {
  constexpr std::int64_t keys = 200, outlier = 150, tile = 32;
  using proof::kNan;
  for (const float m : {22.0F, -300.0F, 4e6F, -4e6F, 5e6F, -9e6F, 4e7F, -3e9F, 1e30F}) {
    for (const float distance :
         {-109.5F, -110.0F, -110.5F,   -111.0F, -111.5F, -112.0F,    -126.0F, -128.0F,
          -239.0F, -500.0F, -4e4F,     -1e8F,   -2e38F,  -kInfinity, 8.5F,    9.0F,
          9.5F,    100.0F,  127.0F,    127.5F,  128.0F,  129.0F,     143.0F,  143.5F,
          144.0F,  145.0F,  146.0F,    272.0F,  400.0F,  8192.0F,    3e4F,    7e4F,
          1e8F,    2e38F,   kInfinity, kNan,    -kNan}) {
      CaseSpec spec = small_case(40, keys);
      spec.config.scale = 0.69314718F;
      Case c(spec);
      for (const Row& row : c.geometry().rows()) {
        for (std::int64_t x = 0; x < 20; ++x) c.q()[c.geometry().q(row) + x] = x == 0 ? 1.0F : 0.0F;
        for (std::int64_t j = 0; j < keys; ++j) {
          c.k()[c.geometry().k(row, j)] =
              m + (j == outlier ? distance : static_cast<float>(j % 3) - 2);
        }
      }
      for (const std::string_view isa : f32_isas()) {
        SCOPED_TRACE(std::string(isa) + " m " + std::to_string(m) + " distance " +
                     std::to_string(distance));
        const std::vector<Row> rows = c.geometry().rows();
        const Outputs outputs = run_case(c, on(isa, 1, tile));
        expect_oracle_rows(c.geometry(), c.inputs(), outputs, rows, proof::arithmetic_of(isa));
        if (HasFailure()) return;
      }
    }
  }
}

// Weights that the running maximum leaves unfollowed: logits 2^8.9 above it in every partition's
// later tiles. Values of 2^118 / n are then just within range, as the kernel's bound says. All
// values being equal, out is that value but for the roundings of sums: (2 · 261 + 2) · ε.
TEST(AttentionEdges, ValuesUpToTheLimitDoNotOverflow) {
  constexpr std::int64_t keys = 1000;
  const float value = std::ldexp(1.0F, 118) / keys;
  CaseSpec spec = small_case(3, keys);
  spec.config.scale = 0.69314718F;
  Case c(spec);
  for (const Row& row : c.geometry().rows()) {
    for (std::int64_t x = 0; x < 20; ++x) c.q()[c.geometry().q(row) + x] = x == 0 ? 1.0F : 0.0F;
    for (std::int64_t j = 0; j < keys; ++j) {
      c.k()[c.geometry().k(row, j)] = j % 256 < 16 ? 0.0F : 8.9F;
      for (std::int64_t x = 0; x < 12; ++x) c.v()[c.geometry().v(row, j) + x] = value;
    }
  }
  for (const std::string_view isa : f32_isas()) {
    SCOPED_TRACE(isa);
    const Outputs outputs = run_case(c, on(isa, 1, 16));
    for (const float x : outputs.out.span()) {
      ASSERT_NEAR(x / value, 1.0F, 524 * std::ldexp(1.0F, -24));
    }
  }
}

// A product that underflows is −0, and so would be an output whose every other term is 0, where no
// weight of 0 is added after it; how many of these are is not part of the definition.
TEST(AttentionEdges, ZerosArePositive) {
  for (const std::int32_t queries : {1, 40}) {
    CaseSpec spec = small_case(queries, 40);
    spec.config.scale = 0.69314718F;
    spec.config.causal = true;
    spec.config.alignment = Alignment::start;
    Case c(spec);
    for (const Row& row : c.geometry().rows()) {
      for (std::int64_t x = 0; x < 20; ++x) c.q()[c.geometry().q(row) + x] = x == 0 ? 1.0F : 0.0F;
      for (std::int64_t j = 0; j < 40; ++j) {
        c.k()[c.geometry().k(row, j)] = j == 0 ? 0.0F : -99.0F;
        for (std::int64_t x = 0; x < 12; ++x) {
          c.v()[c.geometry().v(row, j) + x] = j == 0 ? 0.0F : -0x1p-60F;
        }
      }
    }
    for (const std::string_view isa : f32_isas()) {
      SCOPED_TRACE(std::string(isa) + " queries " + std::to_string(queries));
      const Outputs outputs = run_case(c, on(isa));
      for (const float x : outputs.out.span()) ASSERT_TRUE(same_bits(x, 0.0F)) << x;
      expect_oracle_rows(c.geometry(), c.inputs(), outputs, c.geometry().rows(),
                         proof::arithmetic_of(isa));
    }
  }
}

// Where only one key has a value, its weight is the output: 2^−110 counts, less does not, on any
// ISA.
TEST(AttentionEdges, WeightsEndAtTheSameExponentOnEveryIsa) {
  for (const float logit : {-110.0F, -110.5F, -111.0F, -120.0F, -140.0F, -300.0F}) {
    for (const std::int32_t queries : {1, 20}) {
      CaseSpec spec = small_case(queries, 40);
      spec.config.scale = 0.69314718F;
      Case c(spec);
      for (const Row& row : c.geometry().rows()) {
        for (std::int64_t x = 0; x < 20; ++x) {
          c.q()[c.geometry().q(row) + x] = x == 0 ? 1.0F : 0.0F;
        }
        for (std::int64_t j = 0; j < 40; ++j) {
          c.k()[c.geometry().k(row, j)] = j == 0 ? 0.0F : j == 39 ? logit : -400.0F;
          for (std::int64_t x = 0; x < 12; ++x) {
            c.v()[c.geometry().v(row, j) + x] = j == 39 ? 1.0F : 0.0F;
          }
        }
      }
      for (const std::string_view isa : f32_isas()) {
        SCOPED_TRACE(std::string(isa) + " logit " + std::to_string(logit));
        const Outputs outputs = run_case(c, on(isa));
        for (const float x : outputs.out.span()) {
          ASSERT_TRUE(same_bits(x, logit == -110.0F ? 0x1p-110F : 0.0F)) << x;
        }
      }
    }
  }
}

/// Small integers everywhere: logits are exact multiples of one number, so ties are exact.
void fill_with_integers(Case& c) {
  proof::Random random(c.spec().seed);
  const auto integer = [&] { return static_cast<float>(random.below(5) - 2); };
  for (const Row& row : c.geometry().rows()) {
    for (std::int64_t x = 0; x < c.config().head_dim; ++x) {
      c.q()[c.geometry().q(row) + x] = integer();
    }
    const std::int64_t keys = c.geometry().keys().length(row.sequence);
    for (std::int64_t j = 0; j < keys; ++j) {
      for (std::int64_t x = 0; x < c.config().head_dim; ++x) {
        c.k()[c.geometry().k(row, j) + x] = integer();
      }
    }
  }
}

// With factor 1 (scale / T = ln 2 rounds to log2 e · ln 2 = 1) integers make exact logits, so the
// float64 reference sees the same ties as the kernel. Each output is a mean of at most n values:
// its sums err by at most n + 2 roundings of the largest value.
TEST(AttentionEdges, ArgmaxSharesItsWeightAmongTies) {
  for (const std::int32_t keys : {1, 40, 300, 900}) {
    CaseSpec spec = small_case(30, keys);
    spec.config.head_dim = 3;
    spec.config.scale = 0.69314718F;
    spec.config.temperature = 0;
    spec.config.causal = true;
    Case c(spec);
    fill_with_integers(c);
    std::int64_t rows_with_ties = 0;
    for (const std::string_view isa : f32_isas()) {
      SCOPED_TRACE(std::string(isa) + " keys " + std::to_string(keys));
      const Outputs outputs = run_case(c, on(isa, 2));
      for (const Row& row : c.geometry().rows()) {
        const proof::ReferenceRow exact = proof::reference_row(c.geometry(), c.inputs(), row);
        const std::span<const float> out = out_of(c.geometry(), outputs, row);
        const double bound = (keys + 2) * std::ldexp(exact.largest_value, -24);
        for (std::size_t x = 0; x < out.size(); ++x) {
          ASSERT_NEAR(out[x], exact.out[x], bound) << to_string(row) << ", element " << x;
        }
        if (exact.visible_keys > 0) {
          ASSERT_TRUE(std::isnan(outputs.lse.data()[c.geometry().lse(row)])) << to_string(row);
        }
        const proof::KeyRange seen = c.geometry().visible(row);
        bool one_value = false;
        for (std::int64_t j = seen.begin; j < seen.end; ++j) {
          one_value |= c.v()[c.geometry().v(row, j)] == out[0];
        }
        rows_with_ties += seen.begin < seen.end && !one_value;
      }
      const std::vector<Row> rows = c.geometry().rows();
      expect_oracle_rows(c.geometry(), c.inputs(), outputs, rows, proof::arithmetic_of(isa));
    }
    EXPECT_TRUE(keys < 300 || rows_with_ties > 0);
  }
}

// Uniform weights: the mean of the visible values, in order, and the logarithm of their number,
// which is rounded once (2^−22 for numbers from 4 to 8) and may be one ULP further off.
TEST(AttentionEdges, InfiniteTemperatureAveragesTheVisibleValues) {
  CaseSpec spec = small_case(40, 600);
  spec.config.temperature = kInfinity;
  spec.config.window_left = 300;
  spec.config.causal = true;
  const Case c(spec);
  for (const std::string_view isa : f32_isas()) {
    SCOPED_TRACE(isa);
    const Outputs outputs = run_case(c, on(isa, 2));
    for (const Row& row : c.geometry().rows()) {
      const proof::ReferenceRow exact = proof::reference_row(c.geometry(), c.inputs(), row);
      ASSERT_EQ(exact.visible_keys, 301);
      ASSERT_NEAR(outputs.lse.data()[c.geometry().lse(row)], std::log(301.0), std::ldexp(3.0, -22));
      const std::span<const float> out = out_of(c.geometry(), outputs, row);
      const double bound = (256 + 3 + 2) * std::ldexp(exact.largest_value, -24);
      for (std::size_t x = 0; x < out.size(); ++x) ASSERT_NEAR(out[x], exact.out[x], bound);
    }
  }
}

}  // namespace
}  // namespace heed::tests
