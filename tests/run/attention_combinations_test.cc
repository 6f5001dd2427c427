// Everything with everything: of each two of modifiers, masks, layouts, element types and shapes of
// work, every choice of the one meets every choice of the other, on every ISA, against the oracle
// bit for bit and against float64.
//
// A few hundred cases hold all pairs of choices. They are found one by one: each begins with a pair
// that no case has yet, and takes, of some random completions, the one with the most new pairs.
#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <set>
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
using proof::MaskSpec;
using proof::ModifierSpec;
using proof::Pattern;
using proof::Row;
using proof::Storage;
using proof::Temperatures;

using proof::kInfinity;

struct ScoresOf {
  ModifierSpec modifiers;
  float temperature = 1;
};

const std::vector<ScoresOf>& all_scores() {
  static const std::vector<ScoresOf> scores = {
      {{}},
      {{.softcap = 3}},
      {{.alibi = true}},
      {{.sinks = true}},
      {{.biases = Biases::all}},
      {{.biases = Biases::by_key, .bias_type = DType::f16}},
      {{.biases = Biases::by_pair, .bias_type = DType::bf16}},
      {{.biases = Biases::by_row}},
      {{.temperatures = Temperatures::by_head}},
      {{.sinks = true, .temperatures = Temperatures::by_row}},
      {{.softcap = 8, .alibi = true, .sinks = true, .biases = Biases::all}, 2.5F},
      {{}, 0.0F},
      {{.sinks = true, .biases = Biases::by_row}, kInfinity}};
  return scores;
}

struct Seen {
  bool causal = false;
  std::int64_t left = kUnlimited, right = kUnlimited, kept = 0;
  bool prefixes = false;
  MaskSpec mask = {};
};

const std::vector<Seen>& all_seen() {
  static const std::vector<Seen> seen = {
      {},
      {.causal = true},
      {.left = 40, .right = 3},
      {.causal = true, .left = 70, .kept = 5},
      {.causal = true, .left = 100, .prefixes = true},
      {.mask = {.pattern = Pattern::random, .type = MaskType::bytes, .per_head = true}},
      {.causal = true, .mask = {.pattern = Pattern::random, .type = MaskType::bits}},
      {.causal = true, .mask = {.pattern = Pattern::tree, .type = MaskType::bits}},
      {.mask = {.pattern = Pattern::documents, .type = MaskType::f32}},
      {.left = 90, .kept = 9, .mask = {.pattern = Pattern::documents, .type = MaskType::f16}},
      {.mask = {.pattern = Pattern::blocks, .type = MaskType::bf16, .per_head = true}},
      {.causal = true, .mask = {.pattern = Pattern::lists}}};
  return seen;
}

struct Place {
  Form form;
  Storage storage;
  std::int64_t page_tokens = 0;
  Pool pool = Pool::bshd;
  bool shared = false;  ///< sequences begin with the same keys
};

constexpr std::array<Place, 8> kPlaces = {{{Form::dense, Storage::bshd},
                                           {Form::dense, Storage::interleaved},
                                           {Form::padded, Storage::bhsd},
                                           {Form::padded, Storage::pages},
                                           {Form::ragged, Storage::bshd},
                                           {Form::ragged, Storage::bshd, 16, Pool::together},
                                           {Form::ragged, Storage::bshd, 7, Pool::bhsd},
                                           {Form::ragged, Storage::bshd, 16, Pool::bshd, true}}};

struct Elements {
  DType q, kv;
  proof::Scaling scaling = proof::Scaling::token;
  bool zero_points = false;
};

constexpr std::array<Elements, 11> kElements = {
    {{DType::f32, DType::f32},
     {DType::f16, DType::f16},
     {DType::bf16, DType::bf16},
     {DType::f32, DType::bf16},
     {DType::f32, DType::int8},
     {DType::bf16, DType::int8, proof::Scaling::group, true},
     {DType::f16, DType::int4, proof::Scaling::channel},
     {DType::f32, DType::fp8_e4m3},
     {DType::bf16, DType::fp8_e5m2},
     {DType::f32, DType::q8_0},
     {DType::f16, DType::q4_0}}};

/// Lengths of two sequences; equal ones where the form wants it.
struct Work {
  std::array<std::int32_t, 2> queries, keys;
  int workers;
};

constexpr std::array<Work, 5> kWork = {{{{150, 60}, {150, 170}, 2},  // prefill
                                        {{1, 1}, {300, 37}, 1},      // decode
                                        {{1, 1}, {1500, 700}, 8},    // decode of split keys
                                        {{20, 9}, {1300, 900}, 8},   // prefill of split keys
                                        {{70, 1}, {330, 520}, 3}}};  // both together

/// The number of choices of each kind, in the order of a Choice.
std::array<std::size_t, 5> counts() {
  return {all_scores().size(), all_seen().size(), kPlaces.size(), kElements.size(), kWork.size()};
}

/// One choice of each kind, by number.
using Choice = std::array<std::size_t, 5>;

/// Two choices of different kinds: a kind and its choice, then those of the other.
using Pair = std::array<std::size_t, 4>;

/// Calls visit for each two choices of a case.
template <class Visit>
void for_each_pair(const Choice& choice, const Visit& visit) {
  for (std::size_t i = 0; i < choice.size(); ++i) {
    for (std::size_t j = i + 1; j < choice.size(); ++j) visit(Pair{i, choice[i], j, choice[j]});
  }
}

std::set<Pair> all_pairs() {
  std::set<Pair> pairs;
  const auto n = counts();
  for (std::size_t i = 0; i < n.size(); ++i) {
    for (std::size_t j = i + 1; j < n.size(); ++j) {
      for (std::size_t a = 0; a < n[i]; ++a) {
        for (std::size_t b = 0; b < n[j]; ++b) pairs.insert({i, a, j, b});
      }
    }
  }
  return pairs;
}

/// Cases that hold all pairs.
std::vector<Choice> all_choices() {
  constexpr int kTries = 30;
  std::set<Pair> missing = all_pairs();
  std::vector<Choice> choices;
  proof::Random random(11);
  while (!missing.empty()) {
    const Pair first = *missing.begin();
    std::pair<int, Choice> best{-1, {}};
    for (int i = 0; i < kTries; ++i) {
      Choice choice{};
      for (std::size_t kind = 0; kind < choice.size(); ++kind) {
        choice[kind] =
            static_cast<std::size_t>(random.below(static_cast<std::int64_t>(counts()[kind])));
      }
      choice[first[0]] = first[1], choice[first[2]] = first[3];
      int fresh = 0;
      for_each_pair(choice, [&](const Pair& pair) { fresh += missing.contains(pair) ? 1 : 0; });
      best = std::max(best, {fresh, choice});
    }
    for_each_pair(best.second, [&](const Pair& pair) { missing.erase(pair); });
    choices.push_back(best.second);
  }
  return choices;
}

CaseSpec spec_of(const Choice& choice) {
  const ScoresOf& scores = all_scores()[choice[0]];
  const Seen& seen = all_seen()[choice[1]];
  const Place& place = kPlaces[choice[2]];
  const Elements& elements = kElements[choice[3]];
  const Work& work = kWork[choice[4]];
  CaseSpec spec = heed::tests::spec_of({work.queries.begin(), work.queries.end()},
                                       {work.keys.begin(), work.keys.end()});
  if (place.form == Form::dense) {
    spec.queries[1] = spec.queries[0];
    spec.keys[1] = spec.keys[0];
  }
  spec = with_types(spec, {elements.q, elements.kv, elements.kv, DType::f32});
  spec.config.head_dim = spec.config.value_head_dim = 32;
  spec.config.temperature = scores.temperature;
  spec.config.causal = seen.causal;
  spec.config.window_left = seen.left;
  spec.config.window_right = seen.right;
  spec.config.keep_first = seen.kept;
  if (seen.prefixes) spec.visible_prefixes = {35, 20};
  spec.form = place.form;
  spec.storage = place.storage;
  spec.scaling = elements.scaling;
  spec.zero_points = elements.zero_points;
  spec.modifiers = scores.modifiers;
  spec.mask = seen.mask;
  return spec;
}

/// Fails the test where rows whose weights are exponentials lie further from float64 than rounding
/// explains.
void expect_bounds(const TypedRun& typed, const PlanOptions& options) {
  Plan plan;
  ASSERT_TRUE(plan_attention(typed.config, typed.batch, options, plan).ok());
  Workspace workspace;
  ASSERT_TRUE(workspace.reserve(plan).ok());
  fill_with_nan(workspace);
  const proof::Geometry geometry(typed.config, typed.batch, typed.inputs.tables);
  const std::int64_t dims = geometry.value_head_dim();
  std::vector<float> out(static_cast<std::size_t>(
      proof::extent(geometry.queries(), geometry.out_layout(), geometry.sequences(),
                    geometry.config().query_heads, dims)));
  AttentionTensors tensors = typed.inputs;
  tensors.out = out.data();
  ASSERT_TRUE(run(plan, tensors, workspace).ok());
  for (const Row& row : geometry.rows()) {
    if (!(geometry.temperature(tensors.modifiers, row) > 0)) continue;
    const proof::ReferenceRow exact = proof::reference_row(geometry, tensors, row);
    const proof::Bounds bounds =
        proof::error_bounds(exact, typed.config.head_dim, geometry.pairs());
    const float* const have = out.data() + geometry.out(row);
    for (std::size_t x = 0; x < exact.out.size(); ++x) {
      ASSERT_LE(std::abs(have[x] - exact.out[x]), bounds.out) << to_string(row) << ", " << x;
    }
  }
}

void check(const Choice& choice) {
  const CaseSpec spec = spec_of(choice);
  const Place& place = kPlaces[choice[2]];
  const int workers = kWork[choice[4]].workers;
  SCOPED_TRACE(to_string(spec) + " in pages of " + std::to_string(place.page_tokens) + " workers " +
               std::to_string(workers));
  Case c(spec);
  const Prefixes prefixes = place.shared ? Prefixes{0, spec.keys[1] / 2} : Prefixes{};
  if (place.shared) {
    share_prefixes(c, prefixes);
    c.narrow();
  }
  TypedRun typed = typed_run(c);
  std::optional<PagedCase> paged;
  if (place.page_tokens > 0) {
    paged.emplace(c, place.page_tokens, place.pool, prefixes);
    typed.batch = paged->batch();
    typed.inputs = paged->tensors(workers % 2 == 0);
  }
  for (const std::string_view isa : c.geometry().pairs() ? supported_isas() : f32_isas()) {
    expect_oracle(typed, on(isa, workers));
    if (testing::Test::HasFailure()) return;
  }
  expect_bounds(typed, on({}, workers));
}

TEST(AttentionCombinations, OfEachTwoChoices) {
  const std::vector<Choice> choices = all_choices();
  const std::size_t step = thorough() ? 1 : 10;
  for (std::size_t i = 0; i < choices.size(); i += step) {
    check(choices[i]);
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace heed::tests
