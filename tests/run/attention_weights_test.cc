// Weights of attention: the probabilities against the outputs of a run whose values are the rows of
// a unit matrix, and what they tell against the probabilities, in float64.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "tests/proof/numbers.h"
#include "tests/support/attention_run.h"
#include "tests/support/paged_case.h"
#include "tests/support/typed_run.h"

namespace heed::tests {
namespace {

using proof::Case;
using proof::CaseSpec;
using proof::Form;
using proof::GuardedBuffer;
using proof::Pattern;
using proof::Row;

using proof::kEpsilon;
using proof::kInfinity;
constexpr std::int32_t kTop = 5;

/// Additions that touch a term of a sum of weights, at most: 16 columns of a partition, each of 16
/// keys, and those of the partitions; a run has those of canonical rows.
constexpr double kAdditions = 16 + 16 + 4 + 256 + 4;

/// Sequences whose values are unit vectors, so that outputs are weights.
CaseSpec unit_spec(std::vector<std::int32_t> queries, std::vector<std::int32_t> keys) {
  CaseSpec spec = spec_of(std::move(queries), std::move(keys));
  spec.config.head_dim = 32;
  spec.config.value_head_dim = *std::ranges::max_element(spec.keys);
  return spec;
}

CaseSpec mixed() {
  CaseSpec spec = unit_spec({1, 2, 60, 0, 150}, {300, 17, 560, 5, 150});
  spec.form = Form::padded;
  spec.distribution = proof::Distribution::sharp;
  return spec;
}

void set_unit_values(Case& c) {
  const std::int64_t dims = c.geometry().value_head_dim();
  for (std::int64_t b = 0; b < c.geometry().sequences(); ++b) {
    for (std::int64_t j = 0; j < c.geometry().keys().length(b); ++j) {
      for (std::int64_t h = 0; h < c.config().query_heads; ++h) {
        float* const v = c.v() + c.geometry().v({b, 0, h}, j);
        for (std::int64_t x = 0; x < dims; ++x) v[x] = x == j ? 1.0F : 0.0F;
      }
    }
  }
  c.narrow();
}

/// The answers for a case, with guard pages around them, in contiguous layouts.
struct Answers {
  std::int64_t heads, queries, keys;
  GuardedBuffer weights, entropy, top_weights, top_keys, mass;

  explicit Answers(const Case& c)
      : heads(c.config().query_heads),
        queries(longest(c.spec().queries)),
        keys(longest(c.spec().keys)),
        weights(size(c.geometry().sequences() * heads * queries * keys)),
        entropy(c.lse_size()),
        top_weights(c.lse_size() * kTop),
        top_keys(c.lse_size() * kTop),
        mass(size(c.geometry().sequences() * heads * keys)) {}

  AttentionWeights asked() {
    AttentionWeights asked;
    asked.weights = weights.data();
    asked.entropy = entropy.data();
    asked.top_weights = top_weights.data();
    asked.top_keys = reinterpret_cast<std::int32_t*>(top_keys.data());
    asked.top = kTop;
    asked.mass = mass.data();
    return asked;
  }
  const float* weights_of(const Row& row) const {
    return weights.data() + ((row.sequence * heads + row.head) * queries + row.token) * keys;
  }
  const float* mass_of(const Row& row) const {
    return mass.data() + (row.sequence * heads + row.head) * keys;
  }

 private:
  static std::size_t size(std::int64_t count) { return static_cast<std::size_t>(count); }
  static std::int64_t longest(const std::vector<std::int32_t>& lengths) {
    return *std::ranges::max_element(lengths);
  }
};

/// attention_weights in a workspace of its own.
Status explain(const Plan& plan, const AttentionTensors& tensors, const AttentionWeights& asked) {
  Workspace workspace;
  const Status status = workspace.reserve(plan, asked);
  fill_with_nan(workspace);
  return status.ok() ? attention_weights(plan, tensors, asked, workspace) : status;
}

/// The weight of a row's sink: what is left of 1.
double sink_weight(const Case& c, const Outputs& outputs, const Row& row) {
  const float* const sinks = c.inputs().modifiers.sinks;
  if (sinks == nullptr || c.config().temperature == 0) return 0;
  const double sink = sinks[row.head], lse = outputs.lse.data()[c.geometry().lse(row)];
  return sink == -kInfinity ? 0 : std::exp(sink / c.config().temperature - lse);
}

void expect_row(const Case& c, const Outputs& outputs, const Answers& answers, const Row& row) {
  const float* const weights = answers.weights_of(row);
  const float* const out = outputs.out.data() + c.geometry().out(row);
  const auto keys = static_cast<std::size_t>(c.geometry().keys().length(row.sequence));
  double entropy = 0;
  for (std::size_t j = 0; j < keys; ++j) {
    const double bound = 2 * kAdditions * kEpsilon * out[j] + 0x1p-100;
    ASSERT_NEAR(weights[j], out[j], bound) << to_string(row) << " key " << j;
    if (weights[j] > 0) entropy -= weights[j] * std::log(static_cast<double>(weights[j]));
  }
  const double sink = sink_weight(c, outputs, row);
  if (sink > 0) entropy -= sink * std::log(sink);
  const std::int64_t number = c.geometry().lse(row);
  // Weights and logits err by as much as sums do, the entropy by as much of it and of 1; the
  // log-sum-exp that the sink's weight comes from by 2^-22 of its size.
  const double bound = (4 * kAdditions * kEpsilon + 0x1p-20) * (1 + entropy) + 1e-5;
  if (c.config().temperature != 0 || c.inputs().modifiers.sinks == nullptr) {
    ASSERT_NEAR(answers.entropy.data()[number], entropy, bound) << to_string(row);
  }
  std::vector<std::size_t> order(keys);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return weights[a] > weights[b]; });
  const auto* const top_keys =
      reinterpret_cast<const std::int32_t*>(answers.top_keys.data()) + number * kTop;
  for (std::size_t i = 0; i < kTop; ++i) {
    const bool there = i < keys && weights[order[i]] > 0;
    ASSERT_EQ(top_keys[i], there ? static_cast<std::int32_t>(order[i]) : -1) << to_string(row);
    ASSERT_EQ(answers.top_weights.data()[number * kTop + static_cast<std::int64_t>(i)],
              there ? weights[order[i]] : 0.0F);
  }
}

void expect_mass(const Case& c, const Answers& answers) {
  for (std::int64_t b = 0; b < c.geometry().sequences(); ++b) {
    for (std::int64_t h = 0; h < c.config().query_heads; ++h) {
      for (std::int64_t j = 0; j < c.geometry().keys().length(b); ++j) {
        double sum = 0;
        const std::int64_t queries = c.geometry().queries().length(b);
        for (std::int64_t i = 0; i < queries; ++i) sum += answers.weights_of({b, i, h})[j];
        // What a unit of rows adds is rounded to multiples of 2^-52 of the number of queries.
        const double rounding = 0x1p-50 * static_cast<double>(c.geometry().rows().size());
        ASSERT_NEAR(answers.mass_of({b, 0, h})[j], sum,
                    static_cast<double>(queries) * kEpsilon * sum + rounding)
            << b << " " << h << " " << j;
      }
    }
  }
}

void check(const CaseSpec& spec) {
  SCOPED_TRACE(to_string(spec));
  Case c(spec);
  set_unit_values(c);
  for (const std::string_view isa : supported_isas()) {
    SCOPED_TRACE(isa);
    const Plan plan = plan_case(c, on(isa, 3));
    const Outputs outputs = run_plan(c, plan);
    Answers answers(c);
    AttentionTensors tensors = c.inputs();
    tensors.v = nullptr;
    const Status status = explain(plan, tensors, answers.asked());
    ASSERT_TRUE(status.ok()) << status.message();
    for (const Row& row : c.geometry().rows()) {
      expect_row(c, outputs, answers, row);
      if (testing::Test::HasFailure()) return;
    }
    expect_mass(c, answers);
    if (testing::Test::HasFailure()) return;
  }
}

TEST(AttentionWeights, AreTheOutputsOfUnitValues) {
  for (const bool causal : {false, true}) {
    CaseSpec spec = mixed();
    spec.config.causal = causal;
    check(spec);
    if (HasFailure()) return;
  }
}

TEST(AttentionWeights, WithEveryTemperature) {
  for (const float temperature : {0.0F, 0.25F, 3.0F, kInfinity}) {
    CaseSpec spec = mixed();
    spec.config.temperature = temperature;
    check(spec);
    if (HasFailure()) return;
  }
}

TEST(AttentionWeights, WithMasksAndWindows) {
  for (const Pattern pattern :
       {Pattern::random, Pattern::tree, Pattern::documents, Pattern::blocks, Pattern::lists}) {
    for (const bool per_head : {false, true}) {
      CaseSpec spec = mixed();
      spec.config.window_left = 100;
      spec.config.keep_first = 5;
      spec.mask = {.pattern = pattern, .per_head = per_head};
      check(spec);
      if (HasFailure()) return;
    }
  }
}

TEST(AttentionWeights, WithModifiers) {
  for (const proof::Biases biases : {proof::Biases::none, proof::Biases::all}) {
    CaseSpec spec = mixed();
    spec.modifiers = {.softcap = 4, .alibi = true, .sinks = true, .biases = biases};
    check(spec);
    if (HasFailure()) return;
  }
}

TEST(AttentionWeights, WithTemperaturesOfHeadsAndRows) {
  for (const auto temperatures : {proof::Temperatures::by_head, proof::Temperatures::by_row}) {
    CaseSpec spec = mixed();
    spec.modifiers = {.softcap = 6, .alibi = true, .temperatures = temperatures};
    check(spec);
    if (HasFailure()) return;
  }
}

TEST(AttentionWeights, WithEveryTypeOfKeys) {
  for (const DType type : {DType::f16, DType::bf16, DType::int8, DType::q8_0}) {
    check(with_types(mixed(), {DType::f32, type, DType::f32, DType::f32}));
    if (HasFailure()) return;
  }
}

/// The answers of a plan, as floats: weights, entropy, largest and masses.
std::vector<float> all_answers(const Case& c, const Plan& plan, const AttentionTensors& tensors) {
  Answers answers(c);
  for (GuardedBuffer* buffer : {&answers.weights, &answers.mass}) {
    std::ranges::fill(buffer->span(), 0.0F);
  }
  const Status status = explain(plan, tensors, answers.asked());
  EXPECT_TRUE(status.ok()) << status.message();
  std::vector<float> all;
  for (const GuardedBuffer* buffer :
       {&answers.weights, &answers.entropy, &answers.top_weights, &answers.mass}) {
    all.insert(all.end(), buffer->data(), buffer->data() + buffer->size());
  }
  return all;
}

/// The bits of floats, of NaN those of one.
std::vector<std::uint32_t> bits_of(const std::vector<float>& floats) {
  std::vector<std::uint32_t> bits;
  bits.reserve(floats.size());
  for (const float x : floats) {
    bits.push_back(std::isnan(x) ? 0x7FC00000U : std::bit_cast<std::uint32_t>(x));
  }
  return bits;
}

// The workers leave no trace, also where several of them add to the same masses.
TEST(AttentionWeights, AreTheSameForAllWorkers) {
  for (const DType type : {DType::f32, DType::bf16}) {
    CaseSpec spec = with_types(unit_spec({340, 3}, {500, 500}), {type, type, type, DType::f32});
    spec.form = Form::padded;
    const Case c(spec);
    for (const std::string_view isa : supported_isas()) {
      const auto one = bits_of(all_answers(c, plan_case(c, on(isa, 1)), c.inputs()));
      EXPECT_EQ(one, bits_of(all_answers(c, plan_case(c, on(isa, 4)), c.inputs()))) << isa;
      EXPECT_EQ(one, bits_of(all_answers(c, plan_case(c, on(isa, 3)), c.inputs()))) << isa;
    }
  }
}

// The sizes of tiles leave a trace in entropies alone, whose sums begin afresh with each tile.
TEST(AttentionWeights, AreTheSameForAllTiles) {
  const Case c(unit_spec({40, 3}, {500, 500}));
  for (const std::string_view isa : supported_isas()) {
    Answers large(c), small(c);
    for (GuardedBuffer* buffer : {&large.weights, &small.weights}) {
      std::ranges::fill(buffer->span(), 0.0F);
    }
    ASSERT_TRUE(explain(plan_case(c, on(isa, 1, 128)), c.inputs(), large.asked()).ok());
    ASSERT_TRUE(explain(plan_case(c, on(isa, 1, 16)), c.inputs(), small.asked()).ok());
    EXPECT_TRUE(std::ranges::equal(large.weights.span(), small.weights.span())) << isa;
    EXPECT_TRUE(std::ranges::equal(large.top_weights.span(), small.top_weights.span())) << isa;
    EXPECT_TRUE(std::ranges::equal(large.mass.span(), small.mass.span())) << isa;
  }
}

/// Expects the outputs of a case from the pass that answers to have the bits of a run's.
void expect_outputs_of_run(const CaseSpec& spec) {
  SCOPED_TRACE(to_string(spec));
  const Case c(spec);
  for (const std::string_view isa : supported_isas()) {
    const Plan plan = plan_case(c, on(isa, 3));
    const Outputs run = run_plan(c, plan);
    Outputs own = fresh_outputs(c);
    Answers answers(c);
    const Status status = explain(plan, own.with(c.inputs()), answers.asked());
    ASSERT_TRUE(status.ok()) << status.message();
    expect_exactly_rows_written(c.geometry(), own);
    for (const Row& row : c.geometry().rows()) {
      const auto at = static_cast<std::size_t>(c.geometry().lse(row));
      ASSERT_TRUE(same_bits(run.lse.data()[at], own.lse.data()[at])) << isa << to_string(row);
      for (std::int64_t x = 0; x < c.geometry().value_head_dim(); ++x) {
        const std::int64_t place = c.geometry().out(row) + x;
        ASSERT_TRUE(same_bits(run.out.data()[place], own.out.data()[place]))
            << isa << to_string(row) << x;
      }
    }
  }
}

TEST(AttentionWeights, AndOutputsOfOnePassAreThoseOfRuns) {
  CaseSpec spec = spec_of({1, 2, 60, 0, 450}, {300, 17, 560, 5, 700});
  spec.form = Form::padded;
  spec.config.causal = true;
  expect_outputs_of_run(spec);
  spec.config.window_left = 100;
  spec.config.keep_first = 5;
  for (const Pattern pattern : {Pattern::random, Pattern::blocks, Pattern::lists}) {
    spec.mask = {.pattern = pattern, .per_head = true};
    expect_outputs_of_run(spec);
  }
  spec.mask = {};
  spec.modifiers = {.softcap = 4, .alibi = true, .sinks = true, .biases = proof::Biases::all};
  expect_outputs_of_run(spec);
  spec.modifiers = {.sinks = true, .temperatures = proof::Temperatures::by_row};
  expect_outputs_of_run(spec);
  expect_outputs_of_run(with_types(spec, {DType::bf16, DType::bf16, DType::bf16, DType::f32}));
  spec.config.temperature = 0;
  spec.modifiers = {};
  expect_outputs_of_run(spec);
}

// Infinite values of hidden keys make the kernel do an item again, without a trace in the answers.
TEST(AttentionWeights, AreTheSameBesideOutputs) {
  CaseSpec spec = unit_spec({200}, {300});
  spec.config.causal = true;
  Case c(spec);
  for (std::int64_t j = 150; j < 300; j += 7) c.v()[c.geometry().v({0, 0, 0}, j)] = kInfinity;
  for (const std::string_view isa : supported_isas()) {
    const Plan plan = plan_case(c, on(isa, 2));
    Outputs outputs = fresh_outputs(c);
    EXPECT_EQ(bits_of(all_answers(c, plan, outputs.with(c.inputs()))),
              bits_of(all_answers(c, plan, c.inputs())))
        << isa;
    const Outputs run = run_plan(c, plan);
    EXPECT_TRUE(std::ranges::equal(outputs.out.span(), run.out.span(), same_bits)) << isa;
  }
}

// Rows of many partitions, which are summed in sections: the weights of each add up to 1.
TEST(AttentionWeights, AndOutputsOfLongRows) {
  const CaseSpec spec = spec_of({70}, {20000});
  expect_outputs_of_run(spec);
  const Case c(spec);
  std::vector<float> mass(static_cast<std::size_t>(c.config().query_heads) * 20000);
  AttentionWeights asked;
  asked.mass = mass.data();
  const auto rows = static_cast<double>(70 * c.config().query_heads);
  // Additions that touch a term of a row's sum: in its partition, its section and after, and to
  // the mass of a key.
  const double additions = 256 + 64 + 2 + 70;
  for (const std::string_view isa : supported_isas()) {
    ASSERT_TRUE(explain(plan_case(c, on(isa)), c.inputs(), asked).ok());
    EXPECT_NEAR(std::accumulate(mass.begin(), mass.end(), 0.0), rows,
                2 * rows * additions * kEpsilon)
        << isa;
  }
}

// One largest weight is looked for on another way than several, and masses of groups that divide a
// vector are summed on another than those of others.
TEST(AttentionWeights, OfGroupsAndOneLargest) {
  for (const auto& [group, temperature] :
       {std::pair(1, 1.0F), {3, 1.0F}, {4, kInfinity}, {4, 1.0F}, {20, 0.0F}}) {
    CaseSpec spec = unit_spec({70, 33}, {150, 150});
    spec.config.query_heads = 2 * group;
    spec.config.causal = true;
    spec.config.temperature = temperature;  // where infinite, all keys weigh the same
    check(spec);
    const Case c(spec);
    for (const std::string_view isa : supported_isas()) {
      const Plan plan = plan_case(c, on(isa));
      Answers several(c), one(c);
      AttentionWeights asked = one.asked();
      asked.weights = nullptr;
      asked.top = 1;
      ASSERT_TRUE(explain(plan, c.inputs(), several.asked()).ok());
      ASSERT_TRUE(explain(plan, c.inputs(), asked).ok());
      for (const Row& row : c.geometry().rows()) {
        const std::int64_t number = c.geometry().lse(row);
        ASSERT_EQ(asked.top_weights[number], several.top_weights.data()[number * kTop]);
        ASSERT_EQ(asked.top_keys[number], several.asked().top_keys[number * kTop]);
      }
      EXPECT_TRUE(std::ranges::equal(one.mass.span(), several.mass.span()));
      EXPECT_TRUE(std::ranges::equal(one.entropy.span(), several.entropy.span()));
    }
  }
}

// However far logits lie apart, and from 0, entropies are those of the weights.
TEST(AttentionWeights, OfTheSmallestTemperatures) {
  for (const float temperature : {1e-6F, 1e-20F, 1e-34F}) {
    CaseSpec spec = unit_spec({50}, {300});
    spec.config.temperature = temperature;
    check(spec);
  }
}

TEST(AttentionWeights, OfPairsAddUpToOne) {
  CaseSpec spec =
      with_types(unit_spec({70}, {333}), {DType::bf16, DType::bf16, DType::bf16, DType::f32});
  spec.config.window_left = 50;
  const Case c(spec);
  for (const std::string_view isa : supported_isas()) {
    Answers answers(c);
    ASSERT_TRUE(explain(plan_case(c, on(isa)), c.inputs(), answers.asked()).ok());
    for (const Row& row : c.geometry().rows()) {
      double sum = 0;
      for (std::int64_t j = 0; j < 333; ++j) {
        const float weight = answers.weights_of(row)[j];
        sum += weight;
        ASSERT_EQ(weight > 0, c.geometry().sees(row, j)) << to_string(row) << " " << j;
      }
      ASSERT_NEAR(sum, 1, 2 * kAdditions * kEpsilon) << to_string(row);
    }
  }
}

TEST(AttentionWeights, InPages) {
  CaseSpec spec = unit_spec({30, 2}, {300, 45});
  spec.form = Form::ragged;
  spec.config.window_left = 90;
  spec.config.keep_first = 20;
  const Case c(spec);
  const PagedCase paged(c, 16, Pool::bshd);
  Plan plan;
  ASSERT_TRUE(plan_attention(c.config(), paged.batch(), on({}, 2), plan).ok());
  EXPECT_EQ(all_answers(c, plan, paged.tensors(true)),
            all_answers(c, plan_case(c, on({}, 2)), c.inputs()));
}

TEST(AttentionWeights, NarrowTypesAndStrides) {
  const Case c(unit_spec({7}, {33}));
  const Plan plan = plan_case(c, on({}));
  Answers answers(c);
  ASSERT_TRUE(explain(plan, c.inputs(), answers.asked()).ok());
  std::vector<Float16> halves(4 * 7 * 40);
  AttentionWeights asked;
  asked.weights = halves.data();
  asked.layout = WeightLayout{0, 40, 4 * 40};  // [query, head, key], with gaps
  ASSERT_TRUE(explain(plan, c.inputs(), asked).ok());
  for (const Row& row : c.geometry().rows()) {
    for (std::int64_t j = 0; j < 33; ++j) {
      float own = 0;
      const Float16& half = halves[static_cast<std::size_t>((row.token * 4 + row.head) * 40 + j)];
      ASSERT_TRUE(convert(&half, &own, 1, {}).ok());
      ASSERT_NEAR(own, answers.weights_of(row)[j], 0x1p-11 * own + 0x1p-25);
    }
  }
}

// NaN in a key makes its rows' answers NaN; rows that do not see it have theirs.
TEST(AttentionWeights, NanTouchesItsRowsOnly) {
  CaseSpec spec = unit_spec({20}, {20});
  Case c(spec);
  c.k()[c.geometry().k({0, 0, 0}, 10)] = std::numeric_limits<float>::quiet_NaN();
  const Plan plan = plan_case(c, on({}));
  Answers answers(c);
  ASSERT_TRUE(explain(plan, c.inputs(), answers.asked()).ok());
  for (const Row& row : c.geometry().rows()) {
    const bool touched = c.geometry().group() > row.head && row.token >= 10;
    EXPECT_EQ(std::isnan(answers.entropy.data()[c.geometry().lse(row)]), touched) << to_string(row);
  }
}

TEST(AttentionWeights, FaultsAreSentences) {
  const Case c(unit_spec({7}, {33}));
  const Plan plan = plan_case(c, on({}));
  Answers answers(c);
  const auto refused = [&](const std::string& part, auto change) {
    AttentionWeights asked = answers.asked();
    AttentionTensors tensors = c.inputs();
    change(asked, tensors);
    const Status status = explain(plan, tensors, asked);
    EXPECT_EQ(status.code(), StatusCode::invalid_argument);
    EXPECT_NE(status.message().find(part), std::string::npos) << status.message();
  };
  refused("top (17) must be", [](auto& asked, auto&) { asked.top = 17; });
  refused("top (0) must be", [](auto& asked, auto&) { asked.top = 0; });
  refused("top_weights and top_keys belong together",
          [](auto& asked, auto&) { asked.top_keys = nullptr; });
  refused("q is null", [](auto&, auto& tensors) { tensors.q = nullptr; });
  refused("k is null", [](auto&, auto& tensors) { tensors.k = nullptr; });
  refused("weights are of int8", [](auto& asked, auto&) {
    asked.weights = {asked.weights.data(), DType::int8};
  });
  refused("weights", [](auto& asked, auto&) { asked.layout = WeightLayout{0, 0, 33}; });
  refused("mass", [](auto& asked, auto&) { asked.mass_layout = MassLayout{0, 1}; });
  refused("entropy", [](auto& asked, auto&) { asked.entropy = asked.mass; });
  EXPECT_FALSE(explain(Plan(), c.inputs(), answers.asked()).ok());
  refused("out", [&](auto&, auto& tensors) { tensors.out = answers.mass.data(); });
  refused("v is null", [&](auto&, auto& tensors) {
    tensors.out = answers.mass.data();
    tensors.v = nullptr;
  });
  Workspace small;
  ASSERT_TRUE(small.reserve(plan).ok());
  const Status status = attention_weights(plan, c.inputs(), answers.asked(), small);
  EXPECT_EQ(status.code(), StatusCode::invalid_argument);
  EXPECT_NE(status.message().find("Workspace::reserve(plan, weights)"), std::string::npos);
}

TEST(AttentionWeights, WithoutQueriesKeysHaveNoMass) {
  CaseSpec spec = unit_spec({0}, {9});
  const Case c(spec);
  std::vector<float> mass(4 * 9, 7.0F);
  AttentionWeights asked;
  asked.mass = mass.data();
  ASSERT_TRUE(explain(plan_case(c, on({})), {}, asked).ok());
  EXPECT_EQ(mass, std::vector<float>(4 * 9, 0.0F));
}

}  // namespace
}  // namespace heed::tests
