// Attention through the C interface has the bits that it has through that of C++.
#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "tests/c/to_c.h"
#include "tests/proof/typed_tensors.h"
#include "tests/support/paged_case.h"
#include "tests/support/typed_run.h"

namespace heed::tests {
namespace {

using proof::Case;
using proof::CaseSpec;
using proof::Form;
using proof::Pattern;
using proof::Storage;
using proof::TypedBuffer;

/// Outputs of any type; where nothing was written they are equal too.
struct TypedOutputs {
  explicit TypedOutputs(const Case& c)
      : out(c.config().out_type, static_cast<std::int64_t>(c.out_size())),
        lse(DType::f32, static_cast<std::int64_t>(c.lse_size())) {}

  AttentionTensors with(AttentionTensors tensors) const {
    tensors.out = out.data();
    tensors.lse = static_cast<float*>(lse.data().data());
    return tensors;
  }

  TypedBuffer out, lse;
};

void expect_same_bytes(const TypedBuffer& a, const TypedBuffer& b, const std::string& what) {
  EXPECT_TRUE(std::ranges::equal(a.bytes(), b.bytes())) << what;
}

/// Runs a description both ways.
void expect_same(const Case& c, const Batch& batch, const AttentionTensors& inputs) {
  SCOPED_TRACE(to_string(c.spec()));
  const TypedOutputs expected(c), outputs(c);
  Plan plan;
  Status status = plan_attention(c.config(), batch, {.workers = 2}, plan);
  ASSERT_TRUE(status.ok()) << status.message();
  Workspace workspace;
  ASSERT_TRUE(workspace.reserve(plan).ok());
  status = run(plan, expected.with(inputs), workspace);
  ASSERT_TRUE(status.ok()) << status.message();

  const CPlan planned(c.config(), batch, 2);
  ASSERT_DONE(
      heed_run(planned.plan, CTensors(outputs.with(inputs)).pointer(), planned.workspace, nullptr));
  expect_same_bytes(expected.out, outputs.out, "out");
  expect_same_bytes(expected.lse, outputs.lse, "lse");
}

void expect_same(const CaseSpec& spec) {
  const Case c(spec);
  expect_same(c, c.batch(), c.inputs());
}

CaseSpec dense_spec() {
  CaseSpec spec = spec_of({37, 37}, {300, 300});
  spec.form = Form::dense;
  return spec;
}

TEST(AttentionInC, DensePaddedAndRaggedInAnyStorage) {
  for (const Storage storage : {Storage::bshd, Storage::bhsd, Storage::spaced}) {
    for (const Form form : {Form::dense, Form::padded, Form::ragged}) {
      CaseSpec spec = form == Form::dense ? dense_spec() : mixed_spec();
      spec.form = form;
      spec.storage = storage;
      expect_same(spec);
    }
  }
}

TEST(AttentionInC, EveryMemberOfTheConfiguration) {
  CaseSpec spec = mixed_spec();
  spec.config.alignment = Alignment::start;
  expect_same(spec);
  spec = mixed_spec();
  spec.config.causal = false;
  spec.config.window_left = 40;
  spec.config.window_right = 9;
  spec.config.keep_first = 3;
  spec.config.scale = 0.3F;
  spec.config.temperature = 0.7F;
  expect_same(spec);
  for (const Products products : {Products::automatic, Products::f32, Products::bf16}) {
    const Types types = {DType::bf16, DType::bf16, DType::bf16, DType::f16};
    spec = with_types(mixed_spec(), types);
    spec.config.products = products;
    expect_same(spec);
  }
}

TEST(AttentionInC, EveryElementType) {
  for (const DTypeInfo& type : kDTypes) {
    const DType q = type.computes ? type.type : DType::f32;
    CaseSpec spec = with_types(mixed_spec(), {q, type.type, type.type, q});
    expect_same(spec);
    if (!type.scaled) continue;
    spec.zero_points = true;
    for (const proof::Scaling scaling : {proof::Scaling::group, proof::Scaling::channel}) {
      spec.scaling = scaling;
      expect_same(spec);
    }
  }
}

TEST(AttentionInC, ModifiersAloneAndTogether) {
  CaseSpec spec = mixed_spec();
  spec.modifiers.softcap = 5;
  expect_same(spec);
  for (const proof::Biases biases : {proof::Biases::all, proof::Biases::by_row}) {
    for (const auto temperatures : {proof::Temperatures::by_head, proof::Temperatures::by_row}) {
      spec.modifiers = {.softcap = 2,
                        .alibi = true,
                        .sinks = true,
                        .biases = biases,
                        .bias_type = DType::bf16,
                        .temperatures = temperatures};
      expect_same(spec);
    }
  }
}

TEST(AttentionInC, MasksListsAndVisiblePrefixes) {
  for (const MaskType type : {MaskType::bits, MaskType::bytes, MaskType::f32, MaskType::bf16}) {
    for (const Pattern pattern : {Pattern::random, Pattern::tree, Pattern::blocks}) {
      CaseSpec spec = mixed_spec();
      spec.mask = {.pattern = pattern, .type = type, .per_head = true};
      expect_same(spec);
    }
  }
  CaseSpec spec = mixed_spec();
  spec.mask.pattern = Pattern::lists;
  expect_same(spec);
  spec = mixed_spec();
  spec.visible_prefixes = {7, 17, 40, 5};
  expect_same(spec);
}

TEST(AttentionInC, PagesWithCommonPrefixes) {
  const Prefixes prefixes = {0, 256, 100};
  for (const DType type : {DType::f32, DType::f16, DType::int8}) {
    CaseSpec spec = with_types(spec_of({1, 2, 30}, {300, 280, 270}), {.k = type, .v = type});
    Case c(spec);
    share_prefixes(c, prefixes);
    const PagedCase paged(c, 16, Pool::bhsd, prefixes);
    for (const bool csr : {false, true}) expect_same(c, paged.batch(), paged.tensors(csr));
  }
}

TEST(AttentionInC, SharesAndExecutors) {
  const Case c(mixed_spec());
  const TypedOutputs expected(c), shares(c), executed(c);
  const CPlan planned(c.config(), c.batch(), 2);
  ASSERT_DONE(heed_run(planned.plan, CTensors(expected.with(c.inputs())).pointer(),
                       planned.workspace, nullptr));

  std::array<heed_status, 2> done = {HEED_INTERNAL, HEED_INTERNAL};
  std::vector<std::thread> pool;
  pool.reserve(done.size());
  for (int i = 0; i < 2; ++i) {
    pool.emplace_back([&, i] {
      const CTensors tensors(shares.with(c.inputs()));
      done[static_cast<std::size_t>(i)] =
          heed_run_share(planned.plan, &tensors.c, planned.workspace, i, 2);
    });
  }
  for (std::thread& thread : pool) thread.join();
  EXPECT_EQ(done[0], HEED_OK);
  EXPECT_EQ(done[1], HEED_OK);
  expect_same_bytes(expected.out, shares.out, "shares");

  OwnedExecutor executor;
  ASSERT_DONE(heed_executor_create(2, executor.out()));
  int threads = 0;
  EXPECT_DONE(heed_executor_threads(executor, &threads));
  EXPECT_GE(threads, 1);
  ASSERT_DONE(heed_run(planned.plan, CTensors(executed.with(c.inputs())).pointer(),
                       planned.workspace, executor));
  expect_same_bytes(expected.out, executed.out, "in an executor");
}

/// A host that makes all calls on one thread, the last one first, and counts them.
void call_backwards(void* context, int tasks, heed_task_function task, void* argument) {
  for (int i = tasks - 1; i >= 0; --i) task(argument, i);
  *static_cast<int*>(context) += tasks;
}

TEST(AttentionInC, AHostsThreads) {
  const Case c(mixed_spec());
  const TypedOutputs expected(c), adopted(c);
  const CPlan planned(c.config(), c.batch(), 2);
  ASSERT_DONE(heed_run(planned.plan, CTensors(expected.with(c.inputs())).pointer(),
                       planned.workspace, nullptr));
  int calls = 0, threads = 0;
  OwnedExecutor executor;
  ASSERT_DONE(heed_executor_adopt(7, call_backwards, &calls, executor.out()));
  EXPECT_DONE(heed_executor_threads(executor, &threads));
  EXPECT_EQ(threads, 7);
  ASSERT_DONE(heed_run(planned.plan, CTensors(adopted.with(c.inputs())).pointer(),
                       planned.workspace, executor));
  EXPECT_EQ(calls, 2);
  expect_same_bytes(expected.out, adopted.out, "on a host's threads");

  std::array<int, 5> seen = {};
  const heed_task_function mark = [](void* argument, int index) {
    ++static_cast<std::array<int, 5>*>(argument)->at(static_cast<std::size_t>(index));
  };
  ASSERT_DONE(heed_parallel_for(5, mark, &seen, executor));
  EXPECT_EQ(seen, (std::array<int, 5>{1, 1, 1, 1, 1}));
  ASSERT_DONE(heed_parallel_for(5, mark, &seen, nullptr));
  EXPECT_EQ(seen, (std::array<int, 5>{2, 2, 2, 2, 2}));
  EXPECT_EQ(calls, 7);
  EXPECT_EQ(heed_thread_library(), thread_library());
}

TEST(AttentionInC, FactsOfAPlan) {
  const Case c(mixed_spec());
  Plan plan;
  ASSERT_TRUE(plan_attention(c.config(), c.batch(), {.workers = 2}, plan).ok());
  const CPlan planned(c.config(), c.batch(), 2);
  const char* isa = nullptr;
  int workers = 0;
  size_t bytes = 0, reserved = 0, length = 0;
  int64_t scores = 0;
  EXPECT_DONE(heed_plan_isa(planned.plan, &isa));
  EXPECT_DONE(heed_plan_workers(planned.plan, &workers));
  EXPECT_DONE(heed_plan_workspace_bytes(planned.plan, &bytes));
  EXPECT_DONE(heed_plan_visible_scores(planned.plan, &scores));
  EXPECT_DONE(heed_workspace_bytes(planned.workspace, &reserved));
  EXPECT_EQ(isa, plan.isa());
  EXPECT_EQ(workers, plan.workers());
  EXPECT_EQ(bytes, plan.workspace_bytes());
  EXPECT_GE(reserved, bytes);
  EXPECT_EQ(scores, plan.visible_scores());

  EXPECT_DONE(heed_plan_describe(planned.plan, nullptr, 0, &length));
  std::vector<char> text(length + 1);
  EXPECT_DONE(heed_plan_describe(planned.plan, text.data(), text.size(), nullptr));
  EXPECT_EQ(text.data(), plan.describe());
  std::array<char, 5> little = {'x', 'x', 'x', 'x', 'x'};
  EXPECT_DONE(heed_plan_describe(planned.plan, little.data(), 4, &length));
  EXPECT_EQ(little.data(), plan.describe().substr(0, 3));
  EXPECT_EQ(length, plan.describe().size());
  EXPECT_EQ(little[4], 'x');
}

TEST(AttentionInC, ForecastsAreThoseOfCpp) {
  const Case c(mixed_spec());
  Plan plan;
  ASSERT_TRUE(plan_attention(c.config(), c.batch(), {.workers = 3}, plan).ok());
  Forecast expected;
  ASSERT_TRUE(forecast(plan, expected).ok());
  const CPlan planned(c.config(), c.batch(), 3);
  auto told = initialised(heed_forecast_init);
  ASSERT_DONE(heed_get_forecast(planned.plan, &told));
  EXPECT_GT(told.items, 0);
  EXPECT_EQ(told.items, expected.items);
  EXPECT_EQ(told.splits, expected.splits);
  EXPECT_EQ(told.work, expected.work);
  EXPECT_EQ(told.longest, expected.longest);
  EXPECT_EQ(told.makespan, expected.makespan);

  heed_plan* empty = nullptr;
  ASSERT_DONE(heed_plan_create(&empty));
  EXPECT_EQ(heed_get_forecast(empty, &told), HEED_INVALID_ARGUMENT);
  EXPECT_EQ(told.items, expected.items);
  EXPECT_EQ(told.makespan, expected.makespan);
  heed_plan_destroy(empty);
}

TEST(AttentionInC, APlanIsMadeAgain) {
  const Case first(mixed_spec()), second(dense_spec());
  const CPlan planned(first.config(), first.batch(), 1);
  ASSERT_DONE(heed_plan_attention(CConfig(second.config()).pointer(),
                                  CBatch(second.batch()).pointer(), nullptr, planned.plan));
  Plan plan;
  ASSERT_TRUE(plan_attention(second.config(), second.batch(), {}, plan).ok());
  int64_t scores = 0;
  EXPECT_DONE(heed_plan_visible_scores(planned.plan, &scores));
  EXPECT_EQ(scores, plan.visible_scores());

  CBatch wrong(second.batch());
  wrong.c.sequences = -1;
  EXPECT_EQ(heed_plan_attention(CConfig(second.config()).pointer(), wrong.pointer(), nullptr,
                                planned.plan),
            HEED_INVALID_ARGUMENT);
  scores = 0;
  EXPECT_DONE(heed_plan_visible_scores(planned.plan, &scores));
  EXPECT_EQ(scores, plan.visible_scores());
}

/// States of a plan in memory of their own.
struct States {
  explicit States(const heed_plan* plan) {
    heed_state_shape shape;
    size_t floats = 0;
    EXPECT_DONE(heed_get_state_shape(plan, &shape));
    EXPECT_DONE(heed_state_shape_floats(&shape, &floats));
    memory.resize(floats);
    EXPECT_DONE(heed_partial_states_in(memory.data(), &shape, &c));
    readable = {c.m, c.l, c.o, c.partitions};
  }
  std::vector<float> memory;
  heed_partial_states c;
  heed_const_partial_states readable;
};

/// The keys of a dense case from `first` on, `count` of them, as a shard.
Batch shard_of(const Case& c, std::int64_t first, std::int64_t count) {
  Batch batch = c.batch();
  const std::int64_t whole = batch.key.length;
  batch.k = batch.k.value_or(Layout::bshd(whole, c.config().kv_heads, c.config().head_dim));
  batch.v = batch.v.value_or(Layout::bshd(whole, c.config().kv_heads, c.config().value_head_dim));
  batch.key.length = count;
  batch.shard = KeyShard{.first_key = first, .whole_length = whole};
  return batch;
}

/// Inputs from a key on.
AttentionTensors from_key(const Case& c, std::int64_t key) {
  AttentionTensors tensors = c.inputs();
  tensors.k = tensors.k + key * c.config().kv_heads * c.config().head_dim;
  tensors.v = tensors.v + key * c.config().kv_heads * c.config().value_head_dim;
  return tensors;
}

TEST(AttentionInC, PartialStatesMergeToTheBitsOfOneRun) {
  CaseSpec spec = dense_spec();
  spec.modifiers.sinks = true;
  const Case c(spec);
  const TypedOutputs expected(c), merged(c), added(c);
  const CPlan whole(c.config(), c.batch(), 2);
  const CTensors tensors(expected.with(c.inputs()));
  ASSERT_DONE(heed_run(whole.plan, &tensors.c, whole.workspace, nullptr));

  const CPlan first(c.config(), shard_of(c, 0, 256), 2),
      second(c.config(), shard_of(c, 256, 44), 1);
  const States a(first.plan), b(second.plan);
  ASSERT_DONE(heed_run_partial(first.plan, CTensors(from_key(c, 0)).pointer(), &a.c,
                               first.workspace, nullptr));
  ASSERT_DONE(heed_run_partial_share(second.plan, CTensors(from_key(c, 256)).pointer(), &b.c,
                                     second.workspace, 0, 1));
  const std::array<heed_const_partial_states, 2> shards = {a.readable, b.readable};
  ASSERT_DONE(heed_merge(whole.plan, shards.data(), shards.size(), to_c(merged.out.data()),
                         static_cast<float*>(merged.lse.data().data()), &tensors.modifiers,
                         nullptr));
  expect_same_bytes(expected.out, merged.out, "merged out");
  expect_same_bytes(expected.lse, merged.lse, "merged lse");

  // The sum of all has the shape of a single partition, as the second shard's.
  const States total(second.plan);
  ASSERT_DONE(heed_clear(second.plan, &total.c));
  for (const heed_const_partial_states& shard : shards) {
    ASSERT_DONE(heed_merge_into(second.plan, &total.c, &shard, nullptr, nullptr));
  }
  ASSERT_DONE(heed_merge(second.plan, &total.readable, 1, to_c(added.out.data()),
                         static_cast<float*>(added.lse.data().data()), &tensors.modifiers,
                         nullptr));
  expect_same_bytes(expected.out, added.out, "added out");
  expect_same_bytes(expected.lse, added.lse, "added lse");

  const std::vector<heed_const_partial_states> many(257, a.readable);
  EXPECT_EQ(heed_merge(whole.plan, many.data(), many.size(), to_c(merged.out.data()), nullptr,
                       nullptr, nullptr),
            HEED_INVALID_ARGUMENT);
  EXPECT_STREQ(heed_last_message(), "shards has 257 entries; it may have 256");
}

/// What is asked of weights, with room for it.
struct Asked {
  Asked(std::int64_t rows, std::int64_t keys, std::int64_t heads, std::int64_t top)
      : weights(static_cast<std::size_t>(rows * keys)),
        entropy(static_cast<std::size_t>(rows)),
        top_weights(static_cast<std::size_t>(rows * top)),
        mass(static_cast<std::size_t>(heads * keys)),
        top_keys(static_cast<std::size_t>(rows * top)) {}
  bool operator==(const Asked&) const = default;
  std::vector<float> weights, entropy, top_weights, mass;
  std::vector<std::int32_t> top_keys;
};

TEST(AttentionInC, WhatTheWeightsTell) {
  const Case c(spec_of({9}, {40}));
  constexpr std::int64_t top = 3, heads = 4, rows = 9 * heads, keys = 40;
  Asked expected(rows, keys, heads, top), asked(rows, keys, heads, top);
  Plan plan;
  ASSERT_TRUE(plan_attention(c.config(), c.batch(), {}, plan).ok());
  const WeightLayout layout = {rows * keys, keys, heads * keys};
  const AttentionWeights own = {.weights = expected.weights.data(),
                                .layout = layout,
                                .entropy = expected.entropy.data(),
                                .top_weights = expected.top_weights.data(),
                                .top_keys = expected.top_keys.data(),
                                .top = top,
                                .mass = expected.mass.data(),
                                .mass_layout = MassLayout{heads * keys, keys}};
  Workspace workspace;
  ASSERT_TRUE(workspace.reserve(plan, own).ok());
  const Status status = attention_weights(plan, c.inputs(), own, workspace);
  ASSERT_TRUE(status.ok()) << status.message();

  const CPlan planned(c.config(), c.batch(), 2);
  auto request = initialised(heed_attention_weights_init);
  const heed_weight_layout c_layout = {rows * keys, keys, heads * keys};
  const heed_mass_layout mass_layout = {heads * keys, keys};
  request.weights = {asked.weights.data(), HEED_F32};
  request.layout = &c_layout;
  request.entropy = asked.entropy.data();
  request.top_weights = asked.top_weights.data();
  request.top_keys = asked.top_keys.data();
  request.top = top;
  request.mass = asked.mass.data();
  request.mass_layout = &mass_layout;
  ASSERT_DONE(heed_workspace_reserve_weights(planned.workspace, planned.plan, &request));
  ASSERT_DONE(heed_get_attention_weights(planned.plan, CTensors(c.inputs()).pointer(), &request,
                                         planned.workspace, nullptr));
  EXPECT_TRUE(asked == expected);
}

TEST(AttentionInC, SlopesOfAlibi) {
  std::array<float, 6> expected = {}, slopes = {};
  alibi_slopes(expected);
  EXPECT_DONE(heed_alibi_slopes(slopes.data(), slopes.size()));
  EXPECT_EQ(slopes, expected);
}

}  // namespace
}  // namespace heed::tests
