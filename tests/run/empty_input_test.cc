// Every public function with nothing to do: no sequences, tokens, keys, rows or elements, and null
// for whatever is not there. Sanitizers see that nothing is computed from null.
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "tests/support/attention_run.h"

namespace heed::tests {
namespace {

constexpr std::int64_t kHuge = std::numeric_limits<std::int64_t>::max();

void expect_ok(const Status& status) { EXPECT_TRUE(status.ok()) << status.message(); }

AttentionConfig config() {
  AttentionConfig config;
  config.query_heads = 4;
  config.kv_heads = 2;
  config.head_dim = 8;
  return config;
}

/// A batch without queries or without keys, in some form.
struct Empty {
  const char* name;
  Batch batch;
};

std::vector<Empty> without_queries() {
  static constexpr std::array<std::int32_t, 3> zeros = {0, 0, 0};
  static constexpr std::array<std::int32_t, 3> keys = {0, 5, 300};
  const PagedLayout pages = PagedLayout::bshd(7, 16, 2, 8);
  std::vector<Empty> all = {
      {"no sequences", {.sequences = 0}},
      {"no sequences of many tokens",
       {.sequences = 0, .query = {.length = 100}, .key = {.length = 100}}},
      {"no queries", {.sequences = 2, .key = {.length = 300}}},
      {"no queries in slots",
       {.sequences = 3, .query = {.length = 4, .lengths = zeros}, .key = {.length = 300}}},
      {"ragged, no queries",
       {.sequences = 2, .query = {.offsets = zeros}, .key = {.offsets = keys}}},
      {"ragged, nothing", {.sequences = 2, .query = {.offsets = zeros}, .key = {.offsets = zeros}}},
      {"ragged, no sequences",
       {.sequences = 0,
        .query = {.offsets = std::span(zeros).first(1)},
        .key = {.offsets = std::span(zeros).first(1)}}},
      {"shard", {.sequences = 2, .key = {.length = 256}, .shard = KeyShard{.whole_length = 512}}},
      {"nothing at all", {.sequences = 2}},
  };
  Empty paged{"pages", {.sequences = 3, .key = {.length = 300}}};
  paged.batch.pages = pages;
  paged.batch.shared_prefixes = zeros;
  all.push_back(paged);
  return all;
}

// The tensors are null throughout.
TEST(EmptyInput, AttentionWithoutQueries) {
  for (const Empty& empty : without_queries()) {
    SCOPED_TRACE(empty.name);
    Plan plan;
    Workspace workspace;
    expect_ok(workspace.reserve(plan));
    ASSERT_TRUE(plan_attention(config(), empty.batch, on({}, 2), plan).ok());
    EXPECT_FALSE(plan.describe().empty());
    EXPECT_EQ(plan.visible_scores(), 0);
    expect_ok(workspace.reserve(plan));
    expect_ok(run(plan, {}, workspace));
    expect_ok(run_share(plan, {}, workspace, 0, 1));
    const StateShape shape = state_shape(plan);
    std::vector<float> memory(shape.floats());
    const PartialStates null{.partitions = shape.partitions};
    for (const PartialStates& states : {null, PartialStates::in(memory.data(), shape)}) {
      if (shape.rows > 0 && states.m == nullptr) continue;
      expect_ok(run_partial(plan, {}, states, workspace));
      expect_ok(run_partial_share(plan, {}, states, workspace, 0, 1));
      expect_ok(clear(plan, states));
      const std::array<ConstPartialStates, 2> shards = {states, ConstPartialStates()};
      std::vector<float> out(static_cast<std::size_t>(shape.rows * 8));
      expect_ok(merge(plan, shards, out.data()));
      expect_ok(merge(plan, {}, out.data(), nullptr));
    }
    PartialStates total{.partitions = 1};
    if (shape.rows == 0) expect_ok(merge_into(plan, total, ConstPartialStates()));
  }
}

TEST(EmptyInput, AttentionWithoutKeys) {
  static constexpr std::array<std::int32_t, 3> offsets = {0, 2, 3};
  static constexpr std::array<std::int32_t, 3> zeros = {0, 0, 0};
  std::vector<Batch> batches = {
      {.sequences = 1, .query = {.length = 3}},
      {.sequences = 2, .query = {.offsets = offsets}, .key = {.offsets = zeros}},
      {.sequences = 3, .query = {.length = 1}, .key = {.length = 9, .lengths = zeros}},
  };
  batches.push_back(batches.back());
  batches.back().pages = PagedLayout::bhsd(1, 4, 2, 8);
  for (const Batch& batch : batches) {
    Plan plan;
    ASSERT_TRUE(plan_attention(config(), batch, on({}, 2), plan).ok());
    Workspace workspace;
    expect_ok(workspace.reserve(plan));
    const std::vector<float> q(96, 1.0F);
    std::vector<float> out(96, 7.0F), lse(12, 7.0F);
    AttentionTensors tensors{.q = q.data(), .out = out.data(), .lse = lse.data()};
    expect_ok(run(plan, tensors, workspace));
    EXPECT_EQ(out, std::vector<float>(96, 0.0F));
    EXPECT_EQ(lse, std::vector<float>(12, -INFINITY));
    out.assign(96, 7.0F);
    expect_ok(run_share(plan, tensors, workspace, 0, 1));
    EXPECT_EQ(out, std::vector<float>(96, 0.0F));
    tensors.out = tensors.lse = nullptr;
    const PartialStates none{.partitions = 0};
    expect_ok(run_partial(plan, tensors, none, workspace));
    expect_ok(clear(plan, none));
    out.assign(96, 7.0F);
    lse.assign(12, 7.0F);
    const std::array<ConstPartialStates, 1> shards = {none};
    expect_ok(merge(plan, shards, out.data(), lse.data()));
    EXPECT_EQ(out, std::vector<float>(96, 0.0F));
    EXPECT_EQ(lse, std::vector<float>(12, -INFINITY));
    expect_ok(merge(plan, {}, out.data(), lse.data()));
    std::vector<float> memory(12 * 10);
    const PartialStates total = PartialStates::in(memory.data(), {1, 12, 8});
    expect_ok(clear(plan, total));
    expect_ok(merge_into(plan, total, none));
  }
}

TEST(EmptyInput, Softmax) {
  for (const float temperature : {1.0F, 0.0F, INFINITY}) {
    const SoftmaxOptions options{.temperature = temperature, .workers = 2};
    for (const std::int64_t rows : {std::int64_t{0}, std::int64_t{1}, std::int64_t{300}, kHuge}) {
      for (const std::int64_t length : {std::int64_t{0}, std::int64_t{5}}) {
        if (rows > 0 && length > 0) continue;
        const ConstRows in{nullptr, rows, length, 9};
        const Rows out{nullptr, rows, length, 9};
        if (rows == kHuge) {  // a stride that its rows leave room for
          expect_ok(softmax({nullptr, rows, 0, 0}, {nullptr, rows, 0, 0}, options));
          expect_ok(log_softmax({nullptr, rows, 0, 0}, {nullptr, rows, 0, 0}, options));
          if (temperature == 0) continue;
          const ConstRows none{nullptr, rows, 0, 0};
          expect_ok(softmax_gradient(none, none, {nullptr, rows, 0, 0}, options));
          expect_ok(log_softmax_gradient(none, none, {nullptr, rows, 0, 0}, options));
          continue;
        }
        expect_ok(softmax(in, out, options));
        expect_ok(log_softmax(in, out, options));
        std::vector<float> lse(static_cast<std::size_t>(rows), 7.0F);
        expect_ok(log_sum_exp(in, lse.data(), options));
        EXPECT_EQ(lse, std::vector<float>(lse.size(), -INFINITY));
        if (temperature == 0) continue;
        expect_ok(softmax_gradient(in, in, out, options));
        expect_ok(log_softmax_gradient(in, in, out, options));
      }
    }
  }
}

TEST(EmptyInput, RotaryAndAppend) {
  Rotary rotary;
  ASSERT_TRUE(Rotary::create({.rotary_dim = 4, .positions = 4}, rotary).ok());
  expect_ok(rotate(rotary, {.head_dim = 4}));
  expect_ok(rotate(rotary, {.heads = 3, .head_dim = 9, .x_layout = Layout{1, 2, 3}}));
  const PagedLayout layout = PagedLayout::bshd(2, 3, 2, 5);
  expect_ok(append(layout, {}, {}));
  const NewTokens none{.rotary = &rotary};
  expect_ok(append(layout, {}, none, {.workers = 2}));
  const std::array<std::int64_t, 2> skipped = {-1, -5};
  std::array<float, 60> k{}, v{};
  const std::array<float, 20> x{};
  expect_ok(append(layout, {k.data(), v.data()}, {.k = x.data(), .v = x.data(), .slots = skipped}));
}

TEST(EmptyInput, CachesThatAreEmpty) {
  PagedSequences none, sequences;
  expect_ok(none.block_table({}, 0, {}));
  expect_ok(none.shared_prefixes({}, {}));
  std::array<std::int32_t, 1> indptr = {7};
  expect_ok(none.page_lists({}, indptr, {}));
  EXPECT_EQ(indptr[0], 0);
  EXPECT_TRUE(none.pages(0).empty());
  ASSERT_TRUE(
      PagedSequences::create({.pages = 2, .page_tokens = 2, .sequences = 2}, sequences).ok());
  std::int32_t id = -1, child = -1;
  PageCopy copy;
  expect_ok(sequences.add(id));
  expect_ok(sequences.extend(id, {}, copy));
  EXPECT_EQ(copy.tokens, 0);
  expect_ok(sequences.fork(id, 0, child));
  expect_ok(sequences.truncate(child, 0));
  const std::array<std::int32_t, 2> ids = {id, child};
  expect_ok(sequences.block_table(ids, 0, {}));
  std::array<std::int32_t, 2> prefixes = {7, 7};
  expect_ok(sequences.shared_prefixes(ids, prefixes));
  EXPECT_EQ(prefixes[1], 0);
  expect_ok(sequences.remove(id));
  KvCache cache;
  EXPECT_EQ(cache.layer(0).k, nullptr);
  EXPECT_EQ(cache.bytes(), 0U);
  EXPECT_FALSE(cache.extend(0, {}).ok());
}

TEST(EmptyInput, PlansAndWorkspacesThatAreEmpty) {
  Plan plan, other = std::move(plan);
  plan = std::move(other);
  EXPECT_EQ(plan.describe(), "empty");
  EXPECT_EQ(state_shape(plan).floats(), 0U);
  Workspace workspace, moved = std::move(workspace);
  workspace = std::move(moved);
  expect_ok(workspace.reserve(plan));
  Executor executor, taken = std::move(executor);
  EXPECT_EQ(taken.threads(), 0);
  EXPECT_FALSE(run(plan, {}, workspace).ok());
  EXPECT_FALSE(merge(plan, {}, nullptr).ok());
  EXPECT_FALSE(clear(plan, {}).ok());
}

}  // namespace
}  // namespace heed::tests
