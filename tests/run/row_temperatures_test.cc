// Temperatures of heads and of rows: against the oracle bit for bit, against runs with one
// temperature for all, and against float64, in both kernels, with all that they can meet; and what
// is refused.
#include <algorithm>
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
using proof::Temperatures;

using proof::kInfinity;

/// Temperatures alone, and with all that has a factor of its own.
std::vector<ModifierSpec> all_temperatures() {
  std::vector<ModifierSpec> all;
  for (const Temperatures temperatures : {Temperatures::by_head, Temperatures::by_row}) {
    all.push_back({.temperatures = temperatures});
    if (thorough()) all.push_back({.softcap = 2, .temperatures = temperatures});
    all.push_back({.softcap = 2,
                   .alibi = true,
                   .sinks = true,
                   .biases = Biases::all,
                   .temperatures = temperatures});
    if (thorough()) {
      all.push_back({.alibi = true, .biases = Biases::by_row, .temperatures = temperatures});
    }
  }
  return all;
}

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

CaseSpec of_pairs(const CaseSpec& spec) {
  return with_types(spec, {DType::bf16, DType::bf16, DType::bf16, DType::f32});
}

TEST(RowTemperatures, AreTheOraclesInBothKernels) {
  for (const ModifierSpec& modifiers : all_temperatures()) {
    expect_oracle_on_all(mixed(modifiers));
    expect_oracle_on_all(of_pairs(mixed(modifiers)));
    if (HasFailure()) return;
  }
}

// A row with T is the row of a run with that T for all, whatever its neighbours have.
TEST(RowTemperatures, HaveTheBitsOfRunsWithOneForAll) {
  for (const ModifierSpec& modifiers : all_temperatures()) {
    for (const CaseSpec& spec : {mixed(modifiers), of_pairs(mixed(modifiers))}) {
      SCOPED_TRACE(to_string(spec));
      const Case c(spec);
      const ScoreModifiers own = c.inputs().modifiers;
      for (const std::string_view isa : c.geometry().pairs() ? supported_isas() : f32_isas()) {
        SCOPED_TRACE(isa);
        const Outputs outputs = run_case(c, on(isa, 2));
        for (const float temperature : {0.0F, 0.3F, 1.0F, kInfinity, 2.5F}) {
          AttentionConfig config = c.config();
          config.temperature = temperature;
          Plan plan;
          Workspace workspace;
          ASSERT_TRUE(plan_attention(config, c.batch(), on(isa), plan).ok());
          ASSERT_TRUE(workspace.reserve(plan).ok());
          Outputs one = fresh_outputs(c);
          AttentionTensors tensors = one.with(c.inputs());
          tensors.modifiers.temperatures = {};
          ASSERT_TRUE(run(plan, tensors, workspace).ok());
          for (const Row& row : c.geometry().rows()) {
            if (c.geometry().temperature(own, row) != temperature) continue;
            expect_same_row(c.geometry(), one, row, c.geometry(), outputs, row);
          }
          if (HasFailure()) return;
        }
      }
    }
  }
}

TEST(RowTemperatures, AreAccurate) {
  for (const ModifierSpec& modifiers : all_temperatures()) {
    const Case c(mixed(modifiers));
    const Outputs outputs = run_case(c, on({}, 2));
    for (const Row& row : c.geometry().rows()) {
      if (c.geometry().temperature(c.inputs().modifiers, row) == 0) continue;
      const proof::ReferenceRow exact = reference_row(c.geometry(), c.inputs(), row);
      const proof::Bounds bounds = error_bounds(exact, c.config().head_dim);
      const std::span<const float> out = out_of(c.geometry(), outputs, row);
      for (std::size_t x = 0; x < out.size(); ++x) {
        ASSERT_NEAR(out[x], exact.out[x], bounds.out) << to_string(row);
      }
      if (std::isinf(exact.lse)) continue;
      ASSERT_NEAR(outputs.lse.data()[c.geometry().lse(row)], exact.lse, bounds.lse);
    }
  }
}

TEST(RowTemperatures, WithMasksAndWindows) {
  for (const ModifierSpec& modifiers : all_temperatures()) {
    for (const proof::Pattern pattern : {proof::Pattern::none, proof::Pattern::random}) {
      CaseSpec spec = mixed(modifiers);
      spec.mask = {.pattern = pattern, .per_head = true};
      spec.config.window_left = 100;
      spec.config.window_right = 3;
      spec.config.keep_first = 5;
      expect_oracle_on_all(spec);
      expect_oracle_on_all(of_pairs(spec));
      if (HasFailure()) return;
    }
  }
}

TEST(RowTemperatures, InEveryFormAndStorage) {
  for (const ModifierSpec& modifiers : all_temperatures()) {
    for (const Form form : {Form::dense, Form::padded, Form::ragged}) {
      for (const proof::Storage storage : {proof::Storage::bhsd, proof::Storage::spaced}) {
        CaseSpec spec = mixed(modifiers);
        spec.form = form;
        spec.storage = storage;
        if (form == Form::dense) spec.queries = {37, 37}, spec.keys = {300, 300};
        expect_oracle_on_all(spec);
        if (HasFailure()) return;
      }
    }
  }
}

TEST(RowTemperatures, WithEveryElementType) {
  for (const DType type : {DType::f16, DType::bf16, DType::int8, DType::q4_0, DType::fp8_e4m3}) {
    for (const DType q : {DType::f32, DType::bf16}) {
      const Temperatures temperatures =
          q == DType::f32 ? Temperatures::by_head : Temperatures::by_row;
      const ModifierSpec modifiers{.softcap = 2, .sinks = true, .temperatures = temperatures};
      expect_oracle_on_all(with_types(mixed(modifiers), {q, type, type, q}));
      if (HasFailure()) return;
    }
  }
}

// Rows of several KV heads in an item, of which each has its own part of the temperatures.
TEST(RowTemperatures, OfSeveralHeadsInAnItem) {
  for (const ModifierSpec& modifiers : all_temperatures()) {
    for (const std::int32_t queries : {1, 2}) {
      CaseSpec spec = small_spec({queries, queries}, {1500, 700}, modifiers);
      spec.form = Form::ragged;
      spec.config.kv_heads = 4;
      spec.config.query_heads = 8;
      for (const int workers : {1, 3}) expect_oracle_on_all(spec, workers);
      expect_oracle_on_all(of_pairs(spec));
      if (HasFailure()) return;
    }
  }
}

// Whatever the workers: states of rows that keys are split for are merged by each row's own rule.
TEST(RowTemperatures, SameBitsForAllWorkers) {
  for (const ModifierSpec& modifiers : all_temperatures()) {
    for (const std::int32_t queries : {1, 12}) {
      CaseSpec spec = small_spec({queries, queries}, {2200, 900}, modifiers);
      spec.config.query_heads = 4;
      spec.config.kv_heads = 2;
      for (const int workers : {2, 8}) {
        expect_oracle_on_all(workers == 2 ? spec : of_pairs(spec), workers);
        if (HasFailure()) return;
      }
    }
  }
}

TEST(RowTemperatures, OfSeveralSections) {
  for (const std::int32_t queries : {1, 12}) {
    CaseSpec spec = small_spec({queries}, {thorough() ? 40'000 : 17'000}, {});
    spec.config.query_heads = 2;
    spec.config.kv_heads = 1;
    spec.config.head_dim = spec.config.value_head_dim = 8;
    spec.config.causal = true;
    spec.modifiers = {.sinks = true, .temperatures = Temperatures::by_row};
    expect_oracle_on_all(spec, 1);
    expect_oracle_on_all(spec, 3);
    if (HasFailure()) return;
  }
}

TEST(RowTemperatures, OfRowsThatSeeNothing) {
  for (const ModifierSpec& modifiers : all_temperatures()) {
    CaseSpec spec = small_spec({50, 3, 1}, {20, 0, 1}, modifiers);
    spec.config.causal = true;
    expect_oracle_on_all(spec);
    if (HasFailure()) return;
  }
}

TEST(RowTemperatures, NanAndInfinityFollowTheFormulas) {
  for (const ModifierSpec& modifiers : all_temperatures()) {
    CaseSpec spec = mixed(modifiers);
    spec.config.causal = true;
    Case c(spec);
    c.q()[0] = kInfinity;
    c.k()[5] = std::numeric_limits<float>::quiet_NaN();
    c.v()[c.geometry().v({2, 0, 0}, 240)] = kInfinity;
    c.v()[c.geometry().v({2, 0, 0}, 250)] = std::numeric_limits<float>::quiet_NaN();
    for (const std::string_view isa : f32_isas()) {
      SCOPED_TRACE(isa);
      expect_oracle(typed_run(c), on(isa, 2));
    }
    if (HasFailure()) return;
  }
}

// Strides of 0 share, and need not be those of whole tensors.
TEST(RowTemperatures, OfSequencesAndOfQueries) {
  const std::vector<float> numbers = [] {
    std::vector<float> all(60);
    for (std::size_t i = 0; i < all.size(); ++i) {
      all[i] = i % 4 == 0 ? 0.0F : 0.2F * static_cast<float>(i);
    }
    return all;
  }();
  CaseSpec spec = mixed({});
  for (const Form form : {Form::padded, Form::ragged}) {
    spec.form = form;
    const Case c(spec);
    for (const RowTemperatures& temperatures :
         {RowTemperatures{numbers.data(), 3, 0, 0}, RowTemperatures{numbers.data(), 0, 0, 1},
          RowTemperatures{numbers.data(), 2, 5, 0}, RowTemperatures{numbers.data() + 59, 0, 0, -1},
          RowTemperatures{numbers.data() + 8, 0, 0, 0}}) {
      for (const std::string_view isa : f32_isas()) {
        TypedRun typed = typed_run(c);
        typed.inputs.modifiers.temperatures = temperatures;
        expect_oracle(typed, on(isa, 3));
        if (HasFailure()) return;
      }
    }
  }
}

// With pairs the kernels' environment takes denormals for zero: of temperatures it must not.
TEST(RowTemperatures, OfDenormalAndOfExtremeNumbers) {
  for (const bool pairs : {false, true}) {
    CaseSpec spec = mixed({.softcap = 1e-3F});
    spec.config.query_heads = 4;
    spec.config.kv_heads = 2;
    spec.config.scale = 1e-5F;
    const Case c(pairs ? of_pairs(spec) : spec);
    const std::array<float, 4> temperatures = {1e-40F, 0.0F, 3e38F, 2e-39F};
    for (const std::string_view isa : pairs ? supported_isas() : f32_isas()) {
      for (const float softcap : {0.0F, 1e-3F}) {
        TypedRun typed = typed_run(c);
        typed.inputs.modifiers.softcap = softcap;
        typed.inputs.modifiers.temperatures = RowTemperatures::per_head(temperatures.data());
        expect_oracle(typed, on(isa, 2));
        if (HasFailure()) return;
      }
    }
  }
}

// In pairs a softcap to base 2 that is denormal is none: for rows of T = 2.5, but not for others.
TEST(RowTemperatures, OfPairsWithASoftcapForSomeRows) {
  for (const Temperatures temperatures : {Temperatures::by_head, Temperatures::by_row}) {
    expect_oracle_on_all(of_pairs(mixed({.softcap = 1.3e-38F, .temperatures = temperatures})));
  }
}

struct SharedBatch {
  Form form;
  std::vector<std::int32_t> queries, keys;
  Prefixes prefixes;
};

TEST(RowTemperatures, OfSharedPrefixesInPages) {
  const std::array<SharedBatch, 2> batches = {
      {{Form::ragged, {1, 3, 1, 2}, {900, 700, 1300, 650}, {0, 600, 512, 520}},
       {Form::dense, {1, 1, 1, 1}, {1100, 1100, 1100, 1100}, {0, 1024, 512, 512}}}};
  for (const SharedBatch& batch : batches) {
    for (const ModifierSpec& modifiers : all_temperatures()) {
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

/// The states of the keys of sequence 0 in two shards, and a plan of the last.
class Shards {
 public:
  Shards(const Case& c, std::int32_t edge, std::string_view isa) : case_(c) {
    for (std::int32_t i = 0; i < 2; ++i) {
      const std::int32_t keys = c.spec().keys.front(), first = i == 0 ? 0 : edge;
      Batch batch = c.batch();
      batch.key = {.length = i == 0 ? edge : keys - edge};
      batch.shard = KeyShard{first, keys, {}, {}};
      AttentionTensors tensors = c.inputs();
      tensors.k = tensors.k + c.geometry().k(Row(), first);
      tensors.v = tensors.v + c.geometry().v(Row(), first);
      ScoreBias& bias = tensors.modifiers.bias;
      if (bias.data != nullptr) bias.data += first * bias.key_stride;
      Workspace workspace;
      EXPECT_TRUE(plan_attention(c.config(), batch, on(isa, 2), plan).ok());
      EXPECT_TRUE(workspace.reserve(plan).ok());
      std::vector<float>& floats = memory_[static_cast<std::size_t>(i)];
      floats.resize(state_shape(plan).floats());
      const PartialStates states = PartialStates::in(floats.data(), state_shape(plan));
      EXPECT_TRUE(run_partial(plan, tensors, states, workspace).ok());
      states_[static_cast<std::size_t>(i)] = states;
    }
  }

  Outputs merged() const {
    Outputs outputs = fresh_outputs(case_);
    EXPECT_TRUE(merge(plan, states_, outputs.out.data(), outputs.lse.data(), modifiers()).ok());
    return outputs;
  }

  /// By way of sums.
  Outputs added() const {
    Outputs outputs = fresh_outputs(case_);
    StateShape shape = state_shape(plan);
    shape.partitions = 1;
    std::vector<float> memory(shape.floats());
    const PartialStates total = PartialStates::in(memory.data(), shape);
    EXPECT_TRUE(clear(plan, total).ok());
    for (const ConstPartialStates& states : states_) {
      EXPECT_TRUE(merge_into(plan, total, states, modifiers()).ok());
    }
    const std::array<ConstPartialStates, 1> all = {total};
    EXPECT_TRUE(merge(plan, all, outputs.out.data(), outputs.lse.data(), modifiers()).ok());
    return outputs;
  }

  Plan plan;

 private:
  ScoreModifiers modifiers() const { return case_.inputs().modifiers; }

  const Case& case_;
  std::array<std::vector<float>, 2> memory_;
  std::array<ConstPartialStates, 2> states_;
};

TEST(RowTemperatures, OfPartialStates) {
  for (const ModifierSpec& modifiers : all_temperatures()) {
    for (const std::int32_t queries : {1, 20}) {
      for (const CaseSpec& spec : {small_spec({queries}, {700}, modifiers),
                                   of_pairs(small_spec({queries}, {700}, modifiers))}) {
        SCOPED_TRACE(to_string(spec));
        const Case c(spec);
        for (const std::string_view isa : supported_isas()) {
          SCOPED_TRACE(isa);
          const Outputs whole = run_case(c, on(isa));
          const Shards shards(c, 256, isa);
          expect_same_rows(c.geometry(), whole, c.geometry(), shards.merged());
          expect_same_rows(c.geometry(), whole, c.geometry(), shards.added());
          if (HasFailure()) return;
        }
      }
    }
  }
}

// Several sequences: states of padded and of ragged ones have temperatures of their own.
TEST(RowTemperatures, OfPartialStatesOfSeveralSequences) {
  for (const ModifierSpec& modifiers : all_temperatures()) {
    for (const Form form : {Form::padded, Form::ragged}) {
      CaseSpec spec = mixed(modifiers);
      spec.form = form;
      SCOPED_TRACE(to_string(spec));
      const Case c(spec);
      for (const std::string_view isa : f32_isas()) {
        const Plan plan = plan_case(c, on(isa, 3));
        Workspace workspace;
        ASSERT_TRUE(workspace.reserve(plan).ok());
        std::vector<float> memory(state_shape(plan).floats());
        const PartialStates states = PartialStates::in(memory.data(), state_shape(plan));
        ASSERT_TRUE(run_partial(plan, c.inputs(), states, workspace).ok());
        Outputs outputs = fresh_outputs(c);
        const std::array<ConstPartialStates, 1> all = {states};
        ASSERT_TRUE(
            merge(plan, all, outputs.out.data(), outputs.lse.data(), c.inputs().modifiers).ok());
        expect_same_rows(c.geometry(), run_case(c, on(isa)), c.geometry(), outputs);
        if (HasFailure()) return;
      }
    }
  }
}

class RowTemperatureErrors : public testing::Test {
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

TEST_F(RowTemperatureErrors, AreSentences) {
  using T = AttentionTensors;
  std::vector<float> numbers(12, 1.0F);
  const RowTemperatures each = RowTemperatures::bhq(numbers.data(), 4, 3);
  const auto expect_number = [&](float number, const std::string& sentence) {
    numbers[7] = number;  // head 2, query 1
    expect_refused([&](T& t) { t.modifiers.temperatures = each; },
                   "modifiers.temperatures of sequence 0, head 2, query 1 (" + sentence);
    numbers[7] = 1;
  };
  expect_number(-1, "-1) must be 0 or more, or infinity");
  expect_number(-kInfinity, "-inf) must be 0 or more, or infinity");
  expect_number(std::numeric_limits<float>::quiet_NaN(), "nan) must be 0 or more, or infinity");
  expect_number(1e-40F,
                "9.99995e-41) with the plan's scale and the other modifiers exceeds the range");
  expect_refused(
      [&](T& t) {
        t.modifiers.temperatures = {numbers.data(), 0, std::int64_t{1} << 61, 0};
      },
      "modifiers.temperatures (sequence 0, head 2305843009213693952, query 0) reaches beyond");
  std::ranges::fill(outputs_.out.span(), 1.0F);
  std::ranges::fill(outputs_.lse.span(), 1.0F);
  expect_refused(
      [](T& t) { t.modifiers.temperatures = RowTemperatures::per_head(t.out.as<float>()); },
      "out must not overlap modifiers.temperatures");
  expect_refused([](T& t) { t.modifiers.temperatures = RowTemperatures::per_head(t.lse); },
                 "lse must not overlap modifiers.temperatures");
  const void* const odd = reinterpret_cast<const char*>(numbers.data()) + 1;
  expect_refused([&](T& t) { t.modifiers.temperatures.data = static_cast<const float*>(odd); },
                 "modifiers.temperatures");
}

// Natural logits are multiplied with 1 / T alone, which may be too large where scale / T is not.
TEST_F(RowTemperatureErrors, OfFactorsThatAreNoFloats) {
  AttentionConfig config = case_.config();
  config.scale = 1e-5F;
  Plan plan;
  Workspace workspace;
  ASSERT_TRUE(plan_attention(config, case_.batch(), on({}), plan).ok());
  ASSERT_TRUE(workspace.reserve(plan).ok());
  const std::vector<float> tiny(4, 1e-40F), numbers(4, 1.0F);
  AttentionTensors tensors = outputs_.with(case_.inputs());
  tensors.modifiers.temperatures = RowTemperatures::per_head(tiny.data());
  EXPECT_TRUE(run(plan, tensors, workspace).ok());
  const auto expect_beyond = [&] {
    const Status status = run(plan, tensors, workspace);
    EXPECT_NE(status.message().find("exceeds the range of float"), std::string::npos)
        << status.message();
  };
  tensors.modifiers.sinks = numbers.data();
  expect_beyond();
  tensors.modifiers.sinks = nullptr;
  tensors.modifiers.softcap = 10;
  expect_beyond();
}

TEST_F(RowTemperatureErrors, OfMerges) {
  std::vector<float> memory(2 * state_shape(plan_).floats());
  const PartialStates states = PartialStates::in(memory.data(), state_shape(plan_));
  ASSERT_EQ(states.partitions, 1);
  const PartialStates total =
      PartialStates::in(memory.data() + state_shape(plan_).floats(), state_shape(plan_));
  ASSERT_TRUE(clear(plan_, states).ok());
  ASSERT_TRUE(clear(plan_, total).ok());
  const std::array<ConstPartialStates, 1> all = {states};
  const auto merged = [&](const float* temperatures) {
    return merge(plan_, all, outputs_.out.data(), outputs_.lse.data(),
                 {.temperatures = RowTemperatures::per_head(temperatures)});
  };
  const auto added = [&](const float* temperatures) {
    return merge_into(plan_, total, states,
                      {.temperatures = RowTemperatures::per_head(temperatures)});
  };
  const auto expect_sentence = [](const Status& status, const std::string& sentence) {
    EXPECT_NE(status.message().find(sentence), std::string::npos) << status.message();
  };
  const std::vector<float> good(4, 1.0F), bad(4, -1.0F);
  EXPECT_TRUE(merged(good.data()).ok());
  EXPECT_TRUE(added(good.data()).ok());
  expect_sentence(merged(bad.data()), "modifiers.temperatures of sequence 0, head 0, query 0");
  expect_sentence(added(bad.data()), "modifiers.temperatures of sequence 0, head 0, query 0");
  expect_sentence(merged(outputs_.lse.data()), "modifiers.temperatures");
  expect_sentence(added(total.l), "total.l must not overlap modifiers.temperatures");
}

TEST_F(RowTemperatureErrors, OfSharesThatDiffer) {
  const Plan plan = plan_case(case_, on({}, 2));
  ASSERT_TRUE(workspace_.reserve(plan).ok());
  const std::vector<float> numbers(100, 1.0F);
  AttentionTensors tensors = outputs_.with(case_.inputs());
  ASSERT_TRUE(run_share(plan, tensors, workspace_, 0, 2).ok());
  tensors.modifiers.temperatures = RowTemperatures::per_head(numbers.data());
  EXPECT_FALSE(run_share(plan, tensors, workspace_, 1, 2).ok());
}

}  // namespace
}  // namespace heed::tests
