// Shards of the keys give states, and these merge to the bits of a run of all keys in one piece.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <numbers>
#include <string>
#include <vector>

#include "tests/proof/numbers.h"
#include "tests/support/attention_run.h"

namespace heed::tests {
namespace {

using proof::Case;
using proof::CaseSpec;
using proof::Form;
using proof::GuardedBuffer;
using proof::Row;

using proof::kInfinity;
using proof::kNan;
constexpr std::int64_t kAllKeys = 1 << 30;

/// The keys first … last − 1 of each sequence of a case, moved to buffers of their own: in one
/// piece, or in pages.
class Shard {
 public:
  Shard(const Case& c, std::int64_t first, std::int64_t last, std::int64_t page_tokens = 0)
      : case_(c), first_(first), page_tokens_(page_tokens) {
    const proof::Tokens& keys = c.geometry().keys();
    for (std::int64_t b = 0; b < c.geometry().sequences(); ++b) {
      const std::int64_t length = keys.length(b);
      const std::int64_t count = std::min(last, length) - std::min(first, length);
      offsets_.push_back(offsets_.back() + static_cast<std::int32_t>(count));
      firsts_.push_back(static_cast<std::int32_t>(first));
      wholes_.push_back(static_cast<std::int32_t>(length));
      if (page_tokens > 0) add_pages(count);
    }
    make_layouts();
    for (std::int64_t b = 0; b < c.geometry().sequences(); ++b) copy_sequence(b);
  }

  Batch batch() const {
    Batch batch = case_.batch();
    batch.key = {.offsets = offsets_};
    batch.k.reset();
    batch.v.reset();
    if (page_tokens_ > 0) batch.pages = pages_;
    batch.shard = KeyShard{.first_keys = firsts_, .whole_lengths = wholes_};
    return batch;
  }

  AttentionTensors tensors() const {
    AttentionTensors tensors = case_.inputs();
    tensors.k = k_.data();
    tensors.v = v_.data();
    if (page_tokens_ > 0) tensors.tables = {.pages = numbers_, .indptr = indptr_};
    return tensors;
  }

 private:
  /// Numbered from the last one down.
  void add_pages(std::int64_t tokens) {
    const std::int64_t count = (tokens + page_tokens_ - 1) / page_tokens_;
    for (std::int64_t i = 0; i < count; ++i) numbers_.insert(numbers_.begin(), indptr_.back());
    indptr_.push_back(indptr_.back() + static_cast<std::int32_t>(count));
    for (std::size_t i = 0; i < numbers_.size(); ++i) {
      numbers_[i] = static_cast<std::int32_t>(numbers_.size() - 1 - i);
    }
  }

  void make_layouts() {
    const AttentionConfig& config = case_.config();
    const std::int64_t pages = page_tokens_ > 0 ? indptr_.back() + 1 : 1;
    const std::int64_t tokens = page_tokens_ > 0 ? page_tokens_ : offsets_.back();
    pages_ = PagedLayout::bshd(pages, tokens, config.kv_heads, config.head_dim,
                               case_.geometry().value_head_dim());
    k_ = GuardedBuffer(static_cast<std::size_t>(pages * pages_.k.page));
    v_ = GuardedBuffer(static_cast<std::size_t>(pages * pages_.v.page));
  }

  void copy_sequence(std::int64_t b) {
    const AttentionTensors whole = case_.inputs();
    const auto i = static_cast<std::size_t>(b);
    for (std::int64_t j = 0; j < offsets_[i + 1] - offsets_[i]; ++j) {
      const std::int64_t page =
          page_tokens_ > 0 ? numbers_[static_cast<std::size_t>(indptr_[i] + j / page_tokens_)] : 0;
      const std::int64_t token = page_tokens_ > 0 ? j % page_tokens_ : offsets_[i] + j;
      for (std::int64_t head = 0; head < pages_.kv_heads; ++head) {
        const Row row{b, 0, head * case_.geometry().group()};
        std::copy_n(
            whole.k.as<float>() + case_.geometry().k(row, first_ + j), pages_.head_dim,
            k_.data() + page * pages_.k.page + token * pages_.k.token + head * pages_.k.head);
        std::copy_n(
            whole.v.as<float>() + case_.geometry().v(row, first_ + j), pages_.value_head_dim,
            v_.data() + page * pages_.v.page + token * pages_.v.token + head * pages_.v.head);
      }
    }
  }

  const Case& case_;
  std::int64_t first_, page_tokens_;
  std::vector<std::int32_t> offsets_ = {0}, firsts_, wholes_, indptr_ = {0}, numbers_;
  PagedLayout pages_;
  mutable GuardedBuffer k_, v_;
};

/// States in guarded memory of their own, with NaN in what nobody has written.
struct Held {
  StateShape shape;
  GuardedBuffer memory;
  PartialStates states;

  explicit Held(const StateShape& of) : shape(of), memory(of.floats()) {
    std::ranges::fill(memory.span(), kNan);
    states = PartialStates::in(memory.data(), shape);
  }
};

/// The number of a row of a case among its states.
std::int64_t number(const Case& c, const Row& row) {
  const proof::Tokens& queries = c.geometry().queries();
  const Layout rows = Layout::bshd(queries.slot(), c.config().query_heads, 1);
  return queries.offset(rows, row.sequence, row.token, row.head);
}

Plan plan_shard(const Case& c, const Shard& shard, const PlanOptions& options) {
  Plan plan;
  const Status status = plan_attention(c.config(), shard.batch(), options, plan);
  EXPECT_TRUE(status.ok()) << status.message();
  return plan;
}

Held run_shard(const Plan& plan, const Shard& shard, int shares = 0) {
  Workspace workspace;
  EXPECT_TRUE(workspace.reserve(plan).ok());
  Held held(state_shape(plan));
  if (shares == 0) {
    const Status status = run_partial(plan, shard.tensors(), held.states, workspace);
    EXPECT_TRUE(status.ok()) << status.message();
  }
  for (int i = 0; i < shares; ++i) {
    EXPECT_TRUE(run_partial_share(plan, shard.tensors(), held.states, workspace, i, shares).ok());
  }
  return held;
}

Outputs merge_all(const Case& c, const Plan& plan, const std::vector<ConstPartialStates>& states) {
  Outputs outputs = fresh_outputs(c);
  const Status status = merge(plan, states, outputs.out.data(), outputs.lse.data());
  EXPECT_TRUE(status.ok()) << status.message();
  expect_exactly_rows_written(c.geometry(), outputs);
  return outputs;
}

/// Runs the case in shards that meet at `edges`, and merges their states.
Outputs run_in_shards(const Case& c, const std::vector<std::int64_t>& edges,
                      const PlanOptions& options, std::int64_t page_tokens = 0) {
  std::vector<Held> held;
  std::vector<ConstPartialStates> states;
  Plan plan;
  for (std::size_t i = 0; i + 1 < edges.size(); ++i) {
    const Shard shard(c, edges[i], edges[i + 1], page_tokens);
    plan = plan_shard(c, shard, options);
    held.push_back(run_shard(plan, shard));
    states.emplace_back(held.back().states);
  }
  return merge_all(c, plan, states);
}

/// Prompts, chunks and single tokens together, one without keys and one with more queries than
/// keys.
CaseSpec mixed() {
  CaseSpec spec = small_case(0, 0);
  spec.config.causal = true;
  spec.form = Form::ragged;
  spec.queries = {70, 1, 3, 130, 1, 5, 300};
  spec.keys = {70, 800, 520, 600, 256, 0, 290};
  spec.distribution = proof::Distribution::sharp;
  return spec;
}

std::vector<CaseSpec> all_masks() {
  std::vector<CaseSpec> specs(8, mixed());
  specs[1].config.causal = false;
  specs[2].config.window_left = 45;
  specs[3].config.causal = false;
  specs[3].config.window_left = 300;
  specs[3].config.window_right = 10;
  specs[4].config.alignment = Alignment::start;
  specs[4].config.window_left = 280;
  specs[5].config.temperature = 0;
  specs[6].form = Form::padded;
  specs[6].config.temperature = kInfinity;
  specs[6].config.head_dim = specs[6].config.value_head_dim = 32;
  for (const std::int32_t keys : specs[7].keys) specs[7].visible_prefixes.push_back(keys / 2);
  return specs;
}

void expect_same(const Case& c, const Outputs& a, const Outputs& b) {
  expect_same_rows(c.geometry(), a, c.geometry(), b);
}

TEST(PartialStates, ShardsHaveTheBitsOfTheWhole) {
  for (const CaseSpec& spec : all_masks()) {
    const Case c(spec);
    for (const std::string_view isa : f32_isas()) {
      SCOPED_TRACE(to_string(spec) + " on " + std::string(isa));
      const Outputs whole = run_case(c, on(isa));
      for (const int workers : {1, 4}) {
        for (const std::int64_t edge : {0, 256, 512, 768, 1024}) {
          expect_same(c, whole, run_in_shards(c, {0, edge, kAllKeys}, on(isa, workers)));
        }
        expect_same(c, whole, run_in_shards(c, {0, 256, 512, 768, kAllKeys}, on(isa, workers)));
      }
      expect_same(c, whole, run_in_shards(c, {0, 256, 768, kAllKeys}, on(isa, 2), 7));
      expect_same(c, whole, run_in_shards(c, {0, 512, kAllKeys}, on(isa, 1), 128));
      if (HasFailure()) return;
    }
  }
}

// One token whose keys are split over workers within each shard.
TEST(PartialStates, ShardsWhoseKeysAreSplit) {
  CaseSpec spec = small_case(1, 6000);
  spec.config.head_dim = 64;
  CaseSpec windowed = spec;
  windowed.queries = {3};
  windowed.config.causal = true;
  windowed.config.window_left = 3000;
  for (const CaseSpec& of : {spec, windowed}) {
    const Case c(of);
    for (const std::string_view isa : f32_isas()) {
      SCOPED_TRACE(isa);
      const Outputs whole = run_case(c, on(isa));
      const Shard first(c, 0, 2560), second(c, 2560, 6000);
      const Plan plan = plan_shard(c, second, on(isa, 8));
      ASSERT_EQ(plan.describe().find("splits: 0"), std::string::npos) << plan.describe();
      const Held a = run_shard(plan_shard(c, first, on(isa, 8)), first);
      for (const int shares : {0, 1, 3}) {
        const Held b = run_shard(plan, second, shares);
        expect_same(c, whole, merge_all(c, plan, {a.states, b.states}));
      }
      if (HasFailure()) return;
    }
  }
}

TEST(PartialStates, RunsOfAShardAloneSeeItsKeysAtTheirPositions) {
  CaseSpec spec = small_case(40, 600);
  spec.config.causal = true;
  const Case c(spec);
  const Shard last(c, 512, kAllKeys);
  const Plan plan = plan_shard(c, last, {});
  Workspace workspace;
  ASSERT_TRUE(workspace.reserve(plan).ok());
  Outputs outputs = fresh_outputs(c);
  ASSERT_TRUE(run(plan, outputs.with(last.tensors()), workspace).ok());
  const Held held = run_shard(plan, last);
  expect_same(c, outputs, merge_all(c, plan, {held.states}));
  EXPECT_NE(plan.describe().find("keys: a shard of longer sequences"), std::string::npos);
  // Token i stands at 560 + i, and sees as many keys of this shard as lie between.
  EXPECT_EQ(plan.visible_scores(), 4 * (40 * 49 + 39 * 40 / 2));
}

TEST(PartialStates, NonFiniteKeysAndValuesReachExactlyTheRowsThatSeeThem) {
  for (const float temperature : {1.0F, 0.0F}) {
    CaseSpec spec = small_case(90, 600);
    spec.config.causal = true;
    spec.config.window_left = 200;
    spec.config.temperature = temperature;
    for (const std::int64_t key : {290, 511, 512, 590}) {
      for (const float number : {kNan, kInfinity, -kInfinity}) {
        for (const bool in_key : {false, true}) {
          Case c(spec);
          const Row row{0, 0, 2};
          (in_key ? c.k()[c.geometry().k(row, key)] : c.v()[c.geometry().v(row, key)]) = number;
          for (const std::string_view isa : f32_isas()) {
            SCOPED_TRACE(std::string(isa) + " key " + std::to_string(key) +
                         (in_key ? " k " : " v ") + std::to_string(number));
            expect_same(c, run_case(c, on(isa)),
                        run_in_shards(c, {0, 256, 512, kAllKeys}, on(isa, 2)));
            if (HasFailure()) return;
          }
        }
      }
    }
  }
}

// What lies in l and o of empty states is not read.
TEST(PartialStates, EmptyStatesChangeNothingOnEitherSide) {
  const Case c(mixed());
  for (const std::string_view isa : f32_isas()) {
    SCOPED_TRACE(isa);
    const Outputs whole = run_case(c, on(isa));
    const Shard shard(c, 0, kAllKeys);
    const Plan plan = plan_shard(c, shard, on(isa));
    const Held all = run_shard(plan, shard);
    Held empty(state_shape(plan));
    ASSERT_TRUE(clear(plan, empty.states).ok());
    const std::int64_t states = empty.shape.partitions * empty.shape.rows;
    ASSERT_EQ(std::count(empty.states.m, empty.states.m + states, -kInfinity), states);
    std::fill_n(empty.states.l, states, kNan);
    std::fill_n(empty.states.o, states * empty.shape.value_head_dim, kNan);
    expect_same(c, whole, merge_all(c, plan, {empty.states, all.states}));
    expect_same(c, whole, merge_all(c, plan, {all.states, empty.states}));
    expect_same(c, whole, merge_all(c, plan, {empty.states, all.states, empty.states}));
    const Outputs none = merge_all(c, plan, {empty.states});
    for (const Row& row : c.geometry().rows()) {
      for (const float x : out_of(c.geometry(), none, row)) EXPECT_EQ(x, 0);
      EXPECT_EQ(none.lse.span()[static_cast<std::size_t>(c.geometry().lse(row))], -kInfinity);
    }
  }
}

// More partitions than a section: those of a row are counted from the first that it sees, wherever
// shards meet.
TEST(PartialStates, ShardsOfLongRowsHaveTheBitsOfTheWhole) {
  for (const std::int64_t window : {kUnlimited, std::int64_t{20000}}) {
    CaseSpec spec = mixed();
    spec.queries = {3, 1, 20};
    spec.keys = {37000, 500, 21000};
    spec.config.window_left = window;
    const Case c(spec);
    for (const std::string_view isa : f32_isas()) {
      SCOPED_TRACE(to_string(spec) + " on " + std::string(isa));
      const Outputs whole = run_case(c, on(isa));
      expect_same(c, whole, run_in_shards(c, {0, 256 * 37, 256 * 101, kAllKeys}, on(isa, 4)));
      if (HasFailure()) return;
    }
  }
}

// Of every row and partition, whether a key is seen.
TEST(PartialStates, AreEmptyExactlyWhereNothingIsSeen) {
  for (const CaseSpec& spec : all_masks()) {
    const Case c(spec);
    for (const std::string_view isa : f32_isas()) {
      SCOPED_TRACE(to_string(spec) + " on " + std::string(isa));
      const Shard shard(c, 0, kAllKeys);
      const Plan plan = plan_shard(c, shard, on(isa, 4));
      const Held held = run_shard(plan, shard);
      ASSERT_EQ(held.shape.partitions, 4);
      for (const Row& row : c.geometry().rows()) {
        const proof::KeyRange keys = c.geometry().visible(row);
        for (std::int64_t p = 0; p < held.shape.partitions; ++p) {
          const bool seen = std::max(keys.begin, p * 256) < std::min(keys.end, p * 256 + 256);
          const std::int64_t i = p * held.shape.rows + number(c, row);
          ASSERT_EQ(held.states.m[i] == -kInfinity, !seen) << to_string(row) << " partition " << p;
          if (seen) continue;
          ASSERT_EQ(held.states.l[i], 0);
          const float* const o = held.states.o + i * held.shape.value_head_dim;
          ASSERT_EQ(std::count(o, o + held.shape.value_head_dim, 0.0F), held.shape.value_head_dim);
        }
      }
    }
  }
}

TEST(PartialStates, AccumulatedAlongARing) {
  CaseSpec argmax = mixed();
  argmax.config.temperature = 0;
  for (const CaseSpec& spec : {mixed(), argmax}) {
    const Case c(spec);
    for (const std::string_view isa : f32_isas()) {
      SCOPED_TRACE(isa);
      StateShape shape = state_shape(plan_shard(c, Shard(c, 0, kAllKeys), on(isa)));
      shape.partitions = 1;
      Held total(shape);
      Plan plan;
      for (const std::int64_t first : {0, 256, 768}) {
        const Shard shard(c, first, first == 0 ? 256 : first == 256 ? 768 : kAllKeys);
        plan = plan_shard(c, shard, on(isa, 3));
        if (first == 0) {
          ASSERT_TRUE(clear(plan, total.states).ok());
        }
        const Held held = run_shard(plan, shard);
        ASSERT_TRUE(merge_into(plan, total.states, held.states).ok());
      }
      expect_same(c, run_case(c, on(isa)), merge_all(c, plan, {total.states}));
      // Empty states, of more partitions than one, leave every bit as it is.
      const std::vector<float> before(total.memory.span().begin(), total.memory.span().end());
      Held empty({.partitions = 3, .rows = shape.rows, .value_head_dim = 12});
      ASSERT_TRUE(clear(plan, empty.states).ok());
      ASSERT_TRUE(merge_into(plan, total.states, empty.states).ok());
      EXPECT_TRUE(std::ranges::equal(before, total.memory.span(), same_bits));
      if (HasFailure()) return;
    }
  }
}

/// The largest difference of outputs and LSEs that are finite.
double difference(const Outputs& a, const Outputs& b) {
  double largest = 0;
  const auto compare = [&](std::span<const float> x, std::span<const float> y) {
    for (std::size_t i = 0; i < x.size(); ++i) {
      if (std::isfinite(x[i])) largest = std::max(largest, std::abs(double{x[i]} - double{y[i]}));
    }
  };
  compare(a.out.span(), b.out.span());
  compare(a.lse.span(), b.lse.span());
  return largest;
}

// Outputs of normal values are below 6 here, and each of three additions rounds once: 3 · 2⁻²⁴ · 6.
TEST(PartialStates, AnotherOrderDiffersByRoundingAlone) {
  const Case c(small_case(30, 700));
  const Plan plan = plan_shard(c, Shard(c, 0, 256), {});
  std::vector<Held> held;
  for (const std::int64_t first : {0, 256, 512}) {
    const Shard shard(c, first, first + 256);
    held.push_back(run_shard(plan_shard(c, shard, {}), shard));
  }
  const Outputs ordered = merge_all(c, plan, {held[0].states, held[1].states, held[2].states});
  const Outputs other = merge_all(c, plan, {held[2].states, held[0].states, held[1].states});
  EXPECT_GT(difference(ordered, other), 0);
  EXPECT_LT(difference(ordered, other), 2e-6);
}

// The second shard's states, as a producer that thinks in natural logarithms would have them.
TEST(PartialStates, FromNaturalLogarithms) {
  const Case c(small_case(30, 700));
  const Shard first(c, 0, 512), second(c, 512, kAllKeys);
  const Plan plan = plan_shard(c, second, {});
  const Held a = run_shard(plan_shard(c, first, {}), first), b = run_shard(plan, second);
  for (std::int64_t i = 0; i < b.shape.rows; ++i) {
    const double maximum = b.states.m[i] * std::numbers::ln2 + 1.37;
    const double from_heed = std::exp(-1.37);
    const double m = std::floor(maximum * std::numbers::log2e);
    const double factor = std::exp(maximum - m * std::numbers::ln2) * from_heed;
    b.states.m[i] = static_cast<float>(m);
    b.states.l[i] = static_cast<float>(b.states.l[i] * factor);
    for (std::int64_t x = 0; x < 12; ++x) {
      float& o = b.states.o[i * 12 + x];
      o = static_cast<float>(o * factor);
    }
  }
  // A multiplication is rounded beside the addition.
  EXPECT_LT(difference(run_case(c, {}), merge_all(c, plan, {a.states, b.states})), 2e-6);
}

/// A description whose shard is wrong is refused with exactly this sentence.
void expect_refused(const Batch& batch, const std::string& sentence) {
  Plan plan;
  const Status status = plan_attention({.head_dim = 16}, batch, {}, plan);
  EXPECT_EQ(status.code(), StatusCode::invalid_argument);
  EXPECT_EQ(status.message(), sentence);
}

TEST(PartialStates, ShardsThatAreNoneAreRefused) {
  const auto batch = [](std::int64_t keys, const KeyShard& shard) {
    return Batch{.sequences = 2, .query = {.length = 1}, .key = {.length = keys}, .shard = shard};
  };
  const std::array<std::int32_t, 2> numbers = {0, 300};
  expect_refused(batch(10, {.first_key = 300, .whole_length = 900}),
                 "shard.first_key (300) of sequence 0 must be a multiple of 256");
  expect_refused(batch(10, {.first_key = -256, .whole_length = 900}),
                 "shard.first_key (-256) must be from 0 to 2147483647");
  expect_refused(batch(10, {.whole_length = -1}),
                 "shard.whole_length (-1) must be from 0 to 2147483647");
  expect_refused(
      batch(10, {.first_key = 256, .whole_length = 265}),
      "shard: the keys of sequence 0, 256 … 265, must lie within its whole_length (265)");
  expect_refused(batch(300, {.whole_length = 301}),
                 "shard: sequence 0 has 300 keys; where it does not end its 301 they must be a "
                 "multiple of 256");
  expect_refused(batch(10, {.whole_length = 10, .first_keys = numbers}),
                 "shard.first_key (300) of sequence 1 must be a multiple of 256");
  expect_refused(batch(10, {.first_key = 256, .first_keys = numbers}),
                 "shard.first_key (256) must be 0 where there is one per sequence");
  expect_refused(batch(10, {.whole_lengths = std::span(numbers).first(1)}),
                 "shard has 1 values of whole_length; it must have one for each of 2 sequences");
  // A sequence that has ended before the shard begins.
  Plan plan;
  EXPECT_TRUE(
      plan_attention({.head_dim = 16}, batch(0, {.first_key = 2560, .whole_length = 10}), {}, plan)
          .ok());
  EXPECT_EQ(state_shape(plan).partitions, 0);
  EXPECT_EQ(state_shape(plan).rows, 2);
}

TEST(PartialStates, StatesThatAreMissingAreRefused) {
  const Case c(small_case(3, 600));
  const Shard shard(c, 0, kAllKeys);
  const Plan plan = plan_shard(c, shard, {});
  Workspace workspace;
  ASSERT_TRUE(workspace.reserve(plan).ok());
  Held held(state_shape(plan));
  ASSERT_EQ(held.shape.floats(), 3U * 12 * 14);
  float out = 0;
  const auto expect_sentence = [](const Status& status, const std::string& sentence) {
    EXPECT_EQ(status.code(), StatusCode::invalid_argument);
    EXPECT_EQ(status.message(), sentence);
  };
  PartialStates states = held.states;
  states.partitions = 2;
  expect_sentence(run_partial(plan, shard.tensors(), states, workspace),
                  "states.partitions (2) must be that of the plan (3)");
  states = held.states;
  states.l = nullptr;
  expect_sentence(run_partial(plan, shard.tensors(), states, workspace), "states.l is null");
  expect_sentence(merge(plan, std::array<ConstPartialStates, 2>{held.states, states}, &out),
                  "shards[1].l is null");
  expect_sentence(merge_into(plan, held.states, held.states), "total.partitions (3) must be 1");
  expect_sentence(clear(plan, states), "states.l is null");
  states.partitions = -1;
  expect_sentence(merge(plan, std::array<ConstPartialStates, 1>{states}, &out),
                  "shards[0].partitions (-1) must be from 0 to 8388608");
  expect_sentence(merge(plan, std::array<ConstPartialStates, 1>{held.states}, nullptr),
                  "out is null");
  expect_sentence(
      merge(plan, std::vector<ConstPartialStates>(257), &out),
      "shards has 257 entries; it may have 256: merge the states of the others into one");
  const std::string no_plan = "the plan is empty: make it with plan_attention first";
  expect_sentence(merge(Plan(), {}, &out), no_plan);
  expect_sentence(merge_into(Plan(), held.states, held.states), no_plan);
  expect_sentence(clear(Plan(), held.states), no_plan);
  expect_sentence(run_partial(Plan(), shard.tensors(), held.states, workspace), no_plan);
  EXPECT_EQ(state_shape(Plan()).floats(), 0U);
  const std::int64_t most = std::numeric_limits<std::int64_t>::max();
  EXPECT_EQ((StateShape{most, most, 1}.floats()), std::numeric_limits<std::size_t>::max());
  for (const float x : held.memory.span()) ASSERT_TRUE(std::isnan(x));
}

}  // namespace
}  // namespace heed::tests
