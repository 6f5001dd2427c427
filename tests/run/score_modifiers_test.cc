// Modifiers of scores: each alone and all together, against the oracle bit for bit and against
// float64, in both kernels, with every mask, layout and element type; and what is refused.
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <utility>
#include <vector>

#include "tests/proof/bounds.h"
#include "tests/proof/numbers.h"
#include "tests/proof/reference.h"
#include "tests/support/attention_run.h"
#include "tests/support/paged_case.h"
#include "tests/support/typed_run.h"

namespace heed::tests {
namespace {

using proof::Biases;
using proof::Case;
using proof::CaseSpec;
using proof::Form;
using proof::ModifierSpec;
using proof::Row;

using proof::kInfinity;

/// Each modifier, and some together; these only where sanitizers take their time.
std::vector<ModifierSpec> all_modifiers() {
  std::vector<ModifierSpec> all = {{.softcap = 5}, {.alibi = true}, {.sinks = true}};
  if (!thorough()) all.clear();
  for (const Biases biases : {Biases::all, Biases::by_key, Biases::by_pair, Biases::by_row}) {
    if (thorough()) all.push_back({.biases = biases});
  }
  all.push_back({.biases = Biases::all, .bias_type = DType::f16});
  all.push_back({.biases = Biases::by_row, .bias_type = DType::bf16});
  all.push_back({.softcap = 0.5F,
                 .alibi = true,
                 .sinks = true,
                 .biases = Biases::all,
                 .bias_type = DType::bf16});
  all.push_back({.softcap = 30, .sinks = true, .biases = Biases::by_key});
  return all;
}

/// Sequences of few dimensions, on which modifiers do not depend.
CaseSpec small_spec(std::vector<std::int32_t> queries, std::vector<std::int32_t> keys,
                    const ModifierSpec& modifiers) {
  CaseSpec spec = spec_of(std::move(queries), std::move(keys));
  spec.config.head_dim = spec.config.value_head_dim = 32;
  spec.modifiers = modifiers;
  return spec;
}

/// Decode and prefill of several blocks, against several partitions.
CaseSpec mixed(const ModifierSpec& modifiers) {
  return small_spec({1, 2, 50, 0}, {300, 17, 260, 5}, modifiers);
}

TEST(ScoreModifiers, AreTheOraclesInBothKernels) {
  for (const ModifierSpec& modifiers : all_modifiers()) {
    expect_oracle_on_all(mixed(modifiers));
    if (HasFailure()) return;
  }
}

TEST(ScoreModifiers, WithEveryTemperature) {
  for (const float temperature : {0.0F, 0.25F, 3.0F, kInfinity}) {
    for (const ModifierSpec& modifiers : all_modifiers()) {
      CaseSpec spec = mixed(modifiers);
      spec.config.temperature = temperature;
      expect_oracle_on_all(spec);
      if (HasFailure()) return;
    }
  }
}

TEST(ScoreModifiers, WithWindowsAndStartAlignment) {
  for (const ModifierSpec& modifiers : all_modifiers()) {
    CaseSpec spec = mixed(modifiers);
    spec.config.window_left = 100;
    spec.config.window_right = 3;
    spec.config.causal = false;
    spec.config.alignment = Alignment::start;
    expect_oracle_on_all(spec);
    if (HasFailure()) return;
  }
}

TEST(ScoreModifiers, InEveryFormAndStorage) {
  const ModifierSpec every{.softcap = 2, .alibi = true, .sinks = true, .biases = Biases::all};
  for (const Form form : {Form::dense, Form::padded, Form::ragged}) {
    for (const proof::Storage storage : {proof::Storage::bhsd, proof::Storage::spaced}) {
      CaseSpec spec = mixed(every);
      spec.form = form;
      spec.storage = storage;
      if (form == Form::dense) spec.queries = {37, 37}, spec.keys = {300, 300};
      expect_oracle_on_all(spec);
      if (HasFailure()) return;
    }
  }
}

TEST(ScoreModifiers, WithEveryElementType) {
  for (const DType type : {DType::f16, DType::bf16, DType::int8, DType::q8_0, DType::fp8_e4m3}) {
    for (const DType q : {DType::f32, DType::bf16}) {  // bf16 with bf16: in pairs
      ModifierSpec every{.softcap = 2, .alibi = true, .sinks = true, .biases = Biases::all};
      every.bias_type = q;
      expect_oracle_on_all(with_types(mixed(every), {q, type, type, q}));
      if (HasFailure()) return;
    }
  }
}

// Pairs begin and end anywhere, so that blocks of bf16 have keys that are not the row's.
TEST(ScoreModifiers, OfPairsThatWindowsPart) {
  for (const ModifierSpec& modifiers : all_modifiers()) {
    CaseSpec spec =
        with_types(mixed(modifiers), {DType::bf16, DType::bf16, DType::bf16, DType::f32});
    spec.config.window_left = 36;
    expect_oracle_on_all(spec);
    if (HasFailure()) return;
  }
}

void expect_within(double actual, double exact, double bound, const Row& row) {
  if (actual == exact) return;
  ASSERT_LE(std::abs(actual - exact), bound)
      << to_string(row) << ": " << actual << " where float64 has " << exact;
}

TEST(ScoreModifiers, AreAccurate) {
  for (const ModifierSpec& modifiers : all_modifiers()) {
    for (const float temperature : {0.5F, 1.0F, kInfinity}) {
      CaseSpec spec = mixed(modifiers);
      spec.config.temperature = temperature;
      SCOPED_TRACE(to_string(spec));
      const Case c(spec);
      const Outputs outputs = run_case(c, on({}, 2));
      for (const Row& row : c.geometry().rows()) {
        const proof::ReferenceRow exact = reference_row(c.geometry(), c.inputs(), row);
        const proof::Bounds bounds = error_bounds(exact, spec.config.head_dim);
        const std::span<const float> out = out_of(c.geometry(), outputs, row);
        for (std::size_t x = 0; x < out.size(); ++x) {
          expect_within(out[x], exact.out[x], bounds.out, row);
        }
        expect_within(outputs.lse.data()[c.geometry().lse(row)], exact.lse, bounds.lse, row);
        if (HasFailure()) return;
      }
    }
  }
}

// Softcap of one key's logit is its log-sum-exp: over all magnitudes, and where tanh ends.
TEST(ScoreModifiers, SoftcapIsAccurateOverAllMagnitudes) {
  constexpr std::int64_t queries = 4000;
  std::vector<float> q(queries), k = {1.0F}, v = {1.0F}, out(queries), lse(queries);
  for (std::int64_t i = 0; i < queries; ++i) {
    q[static_cast<std::size_t>(i)] =
        std::ldexp(i % 2 == 0 ? 1.0F : -1.3F, static_cast<int>(i % 50) - 30) *
        (1.0F + static_cast<float>(i) / 4000.0F);
  }
  for (const std::string_view isa : f32_isas()) {
    Plan plan;
    Workspace workspace;
    ASSERT_TRUE(
        plan_attention({.head_dim = 1}, {.query = {queries}, .key = {1}}, on(isa), plan).ok());
    ASSERT_TRUE(workspace.reserve(plan).ok());
    const AttentionTensors tensors{.q = q.data(),
                                   .k = k.data(),
                                   .v = v.data(),
                                   .out = out.data(),
                                   .lse = lse.data(),
                                   .modifiers = {.softcap = 8.0F}};
    ASSERT_TRUE(run(plan, tensors, workspace).ok());
    for (std::size_t i = 0; i < q.size(); ++i) {
      const double exact = 8.0 * std::tanh(static_cast<double>(q[i]) / 8.0);
      // That of tanh and its factor, and of the weight's logarithm.
      ASSERT_NEAR(lse[i], exact, 6e-7 * std::abs(exact) + 4.4 * 0x1p-24) << isa << " " << q[i];
      ASSERT_LE(std::abs(lse[i]), 8.0 * (1 + 0x1p-21));
    }
  }
}

TEST(ScoreModifiers, NanAndInfinityFollowTheFormulas) {
  CaseSpec spec = mixed({.softcap = 3, .sinks = true});
  Case c(spec);
  c.q()[0] = kInfinity;
  c.k()[5] = std::numeric_limits<float>::quiet_NaN();
  c.k()[100] = -kInfinity;
  for (const std::string_view isa : f32_isas()) expect_oracle(typed_run(c), on(isa, 2));
}

TEST(ScoreModifiers, SinksThatAreNoNumbers) {
  const Case c(mixed({.sinks = true}));
  for (const float sink : {kInfinity, std::numeric_limits<float>::quiet_NaN(), -kInfinity, 1e30F,
                           -std::numeric_limits<float>::max()}) {
    for (const float temperature : {0.0F, 1.0F}) {
      TypedRun typed = typed_run(c);
      typed.config.temperature = temperature;
      const std::vector<float> sinks(static_cast<std::size_t>(c.config().query_heads), sink);
      typed.inputs.modifiers.sinks = sinks.data();
      for (const std::string_view isa : f32_isas()) expect_oracle(typed, on(isa, 2));
    }
  }
}

void scale_values(Case& c, float size) {
  const proof::Geometry& geometry = c.geometry();
  for (std::int64_t b = 0; b < geometry.sequences(); ++b) {
    for (std::int64_t key = 0; key < geometry.keys().length(b); ++key) {
      for (std::int64_t h = 0; h < c.config().kv_heads; ++h) {
        float* const v = c.v() + geometry.v({b, 0, h * geometry.group()}, key);
        for (std::int64_t x = 0; x < geometry.value_head_dim(); ++x) v[x] *= size;
      }
    }
  }
  c.narrow();
}

// Nothing is added to the outputs of keys that weigh next to nothing beside the sink: those of
// large values are no floats only far below it, and those of small ones round once.
TEST(ScoreModifiers, SinksFarAboveTheKeys) {
  struct Values {
    float size;
    DType type;
  };
  for (const Values& values : {Values{1.0F, DType::f32}, Values{1e30F, DType::f32},
                               Values{1e-30F, DType::f32}, Values{1.0F, DType::bf16}}) {
    CaseSpec spec = small_spec({1, 20}, {300, 280}, {.sinks = true});
    spec.form = Form::ragged;
    Case c(with_types(spec, {values.type, values.type, values.type, DType::f32}));
    scale_values(c, values.size);
    for (const float sink : {7.0F, 20.0F, 30.0F, 60.0F, 90.0F, 200.0F, -300.0F}) {
      TypedRun typed = typed_run(c);
      const std::vector<float> sinks(static_cast<std::size_t>(c.config().query_heads), sink);
      typed.inputs.modifiers.sinks = sinks.data();
      for (const std::string_view isa : c.geometry().pairs() ? supported_isas() : f32_isas()) {
        expect_oracle(typed, on(isa, 3));
        if (HasFailure()) return;
      }
    }
  }
}

// Rows that see no key have their sink's log-sum-exp, and rows that biases hide nothing of their
// own.
TEST(ScoreModifiers, OfRowsThatSeeNothing) {
  for (const ModifierSpec& modifiers : all_modifiers()) {
    for (const float temperature : {0.0F, 2.0F}) {
      CaseSpec spec = small_spec({50, 3, 1}, {20, 0, 1}, modifiers);
      spec.config.causal = true;
      spec.config.temperature = temperature;
      expect_oracle_on_all(spec);
      if (HasFailure()) return;
    }
  }
}

// Several sections, the last of which is not merged before the sink.
TEST(ScoreModifiers, OfSeveralSections) {
  for (const std::int32_t queries : {1, 12}) {
    CaseSpec spec = spec_of({queries}, {thorough() ? 40'000 : 17'000});
    spec.config.query_heads = 2;
    spec.config.kv_heads = 1;
    spec.config.head_dim = spec.config.value_head_dim = 8;
    spec.config.causal = true;
    spec.modifiers = {.softcap = 4, .alibi = true, .sinks = true, .biases = Biases::by_key};
    expect_oracle_on_all(spec, 1);
    expect_oracle_on_all(spec, 3);
    if (HasFailure()) return;
  }
}

// In pairs denormal numbers are zeros: of the softcap to base 2 too, which then is none.
TEST(ScoreModifiers, OfPairsWithTinyFactors) {
  CaseSpec spec = with_types(mixed({.softcap = 0.5F, .sinks = true}),
                             {DType::bf16, DType::bf16, DType::bf16, DType::f32});
  spec.config.temperature = 1e38F;
  spec.config.scale = 0.1F;
  expect_oracle_on_all(spec);
}

// Whatever the workers, tiles and items: rows that keys are split for meet their sink once.
TEST(ScoreModifiers, SameBitsForAllWorkersAndSizes) {
  for (const ModifierSpec& modifiers : all_modifiers()) {
    const CaseSpec spec = small_spec({1, 1}, {5000, 900}, modifiers);
    for (const int workers : {1, 2, 8}) {
      expect_oracle_on_all(spec, workers);
      if (HasFailure()) return;
    }
  }
}

struct SharedBatch {
  Form form;
  std::vector<std::int32_t> queries, keys;
  Prefixes prefixes;
};

// Items of a common prefix have rows of several sequences, each at a position of its own.
TEST(ScoreModifiers, OfSharedPrefixes) {
  const std::array<SharedBatch, 3> batches = {
      {{Form::ragged, {1, 3, 1, 2}, {900, 700, 1300, 650}, {0, 600, 512, 520}},
       {Form::dense, {1, 1, 1, 1}, {1100, 1100, 1100, 1100}, {0, 1024, 512, 512}},
       {Form::ragged, {3, 3, 3}, {1100, 900, 1200}, {0, 512, 768}}}};
  for (const SharedBatch& batch : batches) {
    for (const ModifierSpec& modifiers : all_modifiers()) {
      CaseSpec spec = small_spec(batch.queries, batch.keys, modifiers);
      spec.form = batch.form;
      SCOPED_TRACE(to_string(spec));
      Case c(spec);
      share_prefixes(c, batch.prefixes);
      const PagedCase paged(c, 16, Pool::bshd, batch.prefixes);
      const AttentionTensors tensors = paged.tensors(true);
      for (const std::string_view isa : f32_isas()) {
        SCOPED_TRACE(isa);
        Plan plan;
        ASSERT_TRUE(plan_attention(c.config(), paged.batch(), on(isa), plan).ok());
        EXPECT_NE(plan.describe().find("shared"), std::string::npos) << plan.describe();
        const Outputs outputs = run_paged(c, paged, on(isa, 4), true);
        expect_oracle_rows(proof::Geometry(c.config(), paged.batch(), tensors.tables), tensors,
                           outputs, c.geometry().rows(), proof::arithmetic_of(isa));
        if (HasFailure()) return;
      }
    }
  }
}

/// The outputs of two shards of one sequence's keys, merged with these sinks.
Outputs merged_shards(const Case& c, std::int32_t edge, std::string_view isa, const float* sinks) {
  Outputs outputs = fresh_outputs(c);
  std::array<std::vector<float>, 2> memory;
  std::array<ConstPartialStates, 2> shards;
  Plan plan;
  for (std::int32_t i = 0; i < 2; ++i) {
    const std::int32_t keys = c.spec().keys.front(), first = i == 0 ? 0 : edge;
    Batch batch = c.batch();
    batch.key = {.length = i == 0 ? edge : keys - edge};
    batch.shard = KeyShard{first, keys, {}, {}};
    AttentionTensors tensors = c.inputs();
    const proof::Row row;
    tensors.k = tensors.k + c.geometry().k(row, first);
    tensors.v = tensors.v + c.geometry().v(row, first);
    ScoreBias& bias = tensors.modifiers.bias;
    if (bias.data != nullptr) bias.data += first * bias.key_stride;
    Workspace workspace;
    EXPECT_TRUE(plan_attention(c.config(), batch, on(isa, 2), plan).ok());
    EXPECT_TRUE(workspace.reserve(plan).ok());
    std::vector<float>& floats = memory[static_cast<std::size_t>(i)];
    floats.resize(state_shape(plan).floats());
    const PartialStates states = PartialStates::in(floats.data(), state_shape(plan));
    EXPECT_TRUE(run_partial(plan, tensors, states, workspace).ok());
    shards[static_cast<std::size_t>(i)] = states;
  }
  EXPECT_TRUE(merge(plan, shards, outputs.out.data(), outputs.lse.data(), {.sinks = sinks}).ok());
  return outputs;
}

// Partial states have no sink; merge adds it, once. Positions are those of the whole sequence.
TEST(ScoreModifiers, OfPartialStates) {
  for (const ModifierSpec& modifiers : all_modifiers()) {
    for (const float temperature : {0.0F, 1.0F}) {
      for (const DType type : {DType::f32, DType::bf16}) {
        CaseSpec spec =
            with_types(small_spec({20}, {700}, modifiers), {type, type, type, DType::f32});
        spec.config.temperature = temperature;
        SCOPED_TRACE(to_string(spec));
        const Case c(spec);
        for (const std::string_view isa : supported_isas()) {
          expect_same_rows(c.geometry(), run_case(c, on(isa)), c.geometry(),
                           merged_shards(c, 256, isa, c.inputs().modifiers.sinks));
          if (HasFailure()) return;
        }
      }
    }
  }
}

// Far below a sink outputs are denormal, and with pairs zeros, in merges too.
TEST(ScoreModifiers, OfPartialStatesFarBelowTheSink) {
  CaseSpec spec =
      with_types(spec_of({20}, {700}), {DType::bf16, DType::bf16, DType::bf16, DType::f32});
  spec.modifiers.sinks = true;
  const Case c(spec);
  const std::vector<float> sinks(static_cast<std::size_t>(c.config().query_heads), 93.0F);
  for (const std::string_view isa : supported_isas()) {
    const Plan plan = plan_case(c, on(isa));
    Workspace workspace;
    ASSERT_TRUE(workspace.reserve(plan).ok());
    Outputs whole = fresh_outputs(c);
    AttentionTensors tensors = whole.with(c.inputs());
    tensors.modifiers.sinks = sinks.data();
    ASSERT_TRUE(run(plan, tensors, workspace).ok());
    expect_same_rows(c.geometry(), whole, c.geometry(), merged_shards(c, 256, isa, sinks.data()));
  }
}

TEST(ScoreModifiers, SlopesOfAlibi) {
  std::array<float, 8> eight;
  alibi_slopes(eight);
  for (std::size_t h = 0; h < 8; ++h) {
    EXPECT_EQ(eight[h], std::ldexp(1.0F, -static_cast<int>(h) - 1));
  }
  std::array<float, 12> twelve;
  alibi_slopes(twelve);
  for (std::size_t h = 0; h < 8; ++h) EXPECT_EQ(twelve[h], eight[h]);
  for (std::size_t h = 8; h < 12; ++h) {
    EXPECT_FLOAT_EQ(twelve[h], std::exp2(-0.5F - static_cast<float>(h - 8)));
  }
  alibi_slopes({});
}

class ScoreModifierErrors : public testing::Test {
 protected:
  void expect_refused(const std::function<void(AttentionTensors&)>& change,
                      const std::string& sentence) {
    AttentionTensors tensors = outputs_.with(case_.inputs());
    change(tensors);
    const Status status = run(plan_, tensors, workspace_);
    EXPECT_FALSE(status.ok());
    EXPECT_NE(status.message().find(sentence), std::string::npos) << status.message();
  }
  void SetUp() override { ASSERT_TRUE(workspace_.reserve(plan_).ok()); }

  Case case_{small_case(3, 50)};
  Plan plan_ = plan_case(case_, on({}));
  Workspace workspace_;
  Outputs outputs_ = fresh_outputs(case_);
};

TEST_F(ScoreModifierErrors, AreSentences) {
  using T = AttentionTensors;
  std::vector<float> numbers(10000);
  std::vector<std::int8_t> codes(10000);
  for (const float softcap : {-1.0F, kInfinity, std::numeric_limits<float>::quiet_NaN()}) {
    expect_refused([&](T& t) { t.modifiers.softcap = softcap; }, ") must be finite and at least 0");
  }
  expect_refused([](T& t) { t.modifiers.softcap = 1e-40F; }, "exceeds the range of float");
  expect_refused([](T& t) { t.modifiers.softcap = 3e38F; }, "exceeds the range of float");
  expect_refused([&](T& t) { t.modifiers.bias = {.data = codes.data()}; },
                 "modifiers.bias is of int8; it must be of f32, f16 or bf16");
  expect_refused([&](T& t) { t.modifiers.bias = {.data = numbers.data(), .key_stride = 2}; },
                 "modifiers.bias.key_stride (2) must be 1, or 0");
  expect_refused(
      [&](T& t) {
        t.modifiers.bias = {.data = numbers.data(), .head_stride = std::int64_t{1} << 61};
      },
      "modifiers.bias (sequence 0, head 2305843009213693952, query 0) reaches beyond");
  expect_refused([](T& t) { t.modifiers.sinks = t.out.as<float>(); },
                 "out must not overlap modifiers.sinks");
  expect_refused([](T& t) { t.modifiers.alibi_slopes = t.lse; },
                 "lse must not overlap modifiers.alibi_slopes");
  expect_refused([](T& t) { t.modifiers.bias.data = t.out.as<float>(); },
                 "out must not overlap modifiers.bias");
  const void* const odd = reinterpret_cast<const char*>(numbers.data()) + 1;
  expect_refused([&](T& t) { t.modifiers.bias.data = {odd, DType::f16}; }, "modifiers.bias");
  expect_refused([&](T& t) { t.modifiers.sinks = static_cast<const float*>(odd); },
                 "modifiers.sinks");
}

TEST_F(ScoreModifierErrors, OfSharesThatDiffer) {
  const Plan plan = plan_case(case_, on({}, 2));
  ASSERT_TRUE(workspace_.reserve(plan).ok());
  const std::vector<float> numbers(10000);
  AttentionTensors tensors = outputs_.with(case_.inputs());
  ASSERT_TRUE(run_share(plan, tensors, workspace_, 0, 2).ok());
  const auto expect_others = [&](const ScoreModifiers& modifiers) {
    tensors.modifiers = modifiers;
    EXPECT_FALSE(run_share(plan, tensors, workspace_, 1, 2).ok());
  };
  expect_others({.softcap = 4});
  expect_others({.alibi_slopes = numbers.data()});
  expect_others({.bias = {.data = numbers.data()}});
  expect_others({.sinks = numbers.data()});
}

}  // namespace
}  // namespace heed::tests
