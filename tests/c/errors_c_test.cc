// What the C interface says of what is wrong, and of itself.
#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "tests/c/to_c.h"

namespace heed::tests {
namespace {

/// One of everything that functions of the C interface take, all of it usable.
struct Everything {
  Everything() {
    config.head_dim = 2;
    rotary_config.rotary_dim = 2;
    rotary_config.positions = 4;
    EXPECT_DONE(heed_paged_layout_bshd(2, 4, 1, 2, 2, &layout));
    cache_config.layout = &layout;
    cache_config.sequences = budget.sequences = 2;
    budget.pages = budget.page_tokens = 2;
    EXPECT_DONE(heed_plan_create(plan.out()));
    EXPECT_DONE(heed_plan_attention(&config, &batch, nullptr, plan));
    EXPECT_DONE(heed_workspace_create(workspace.out()));
    EXPECT_DONE(heed_executor_create(1, executor.out()));
    EXPECT_DONE(heed_rotary_create(&rotary_config, rotary.out()));
    EXPECT_DONE(heed_paged_sequences_create(&budget, sequences.out()));
    EXPECT_DONE(heed_kv_cache_create(&cache_config, cache.out()));
    EXPECT_DONE(heed_sampling_workspace_create(sampling.out()));
  }

  heed_attention_config config = initialised(heed_attention_config_init);
  heed_batch batch = initialised(heed_batch_init);
  heed_attention_tensors tensors = initialised(heed_attention_tensors_init);
  heed_attention_weights weights = initialised(heed_attention_weights_init);
  heed_paged_layout layout = initialised(heed_paged_layout_init);
  heed_page_budget budget = initialised(heed_page_budget_init);
  heed_kv_cache_config cache_config = initialised(heed_kv_cache_config_init);
  heed_kv_pages pages = initialised(heed_kv_pages_init);
  heed_new_tokens tokens = initialised(heed_new_tokens_init);
  heed_rotary_config rotary_config = initialised(heed_rotary_config_init);
  heed_rotary_tensors rotary_tensors = initialised(heed_rotary_tensors_init);
  heed_rms_norm norm = initialised(heed_rms_norm_init);
  heed_head_tensors head_tensors = initialised(heed_head_tensors_init);
  heed_const_rows in = initialised(heed_const_rows_init);
  heed_rows out = initialised(heed_rows_init);
  heed_logits logits = initialised(heed_logits_init);
  heed_sampling_rule rule = initialised(heed_sampling_rule_init);
  heed_samples samples = initialised(heed_samples_init);
  heed_state_shape shape = {};
  heed_partial_states states = {};
  heed_const_partial_states const_states = {};
  std::array<std::int32_t, 4> ids = {};
  float number = 0;
  OwnedPlan plan;
  OwnedWorkspace workspace;
  OwnedExecutor executor;
  OwnedRotary rotary;
  OwnedSequences sequences;
  OwnedCache cache;
  OwnedSampling sampling;
};

/// A call without one thing that it needs.
struct Lacking {
  const char* what;
  std::function<heed_status()> call;
};

void expect_refused(const std::vector<Lacking>& calls) {
  for (std::size_t i = 0; i < calls.size(); ++i) {
    EXPECT_EQ(calls[i].call(), HEED_INVALID_ARGUMENT) << i << ": " << calls[i].what;
    const std::string sentence = std::string(calls[i].what) + " must not be null";
    EXPECT_EQ(std::string(heed_last_message()).substr(0, sentence.size()), sentence) << i;
  }
}

TEST(NullPointersInC, OfPlansAndRuns) {
  Everything e;
  const heed_output_data out = {&e.number, HEED_F32};
  int n = 0;
  size_t size = 0;
  int64_t number = 0;
  const char* text = nullptr;
  auto forecast = initialised(heed_forecast_init);
  expect_refused({
      {"plan", [&] { return heed_plan_create(nullptr); }},
      {"config", [&] { return heed_plan_attention(nullptr, &e.batch, nullptr, e.plan); }},
      {"batch", [&] { return heed_plan_attention(&e.config, nullptr, nullptr, e.plan); }},
      {"plan", [&] { return heed_plan_attention(&e.config, &e.batch, nullptr, nullptr); }},
      {"plan", [&] { return heed_plan_describe(nullptr, nullptr, 0, &size); }},
      {"text", [&] { return heed_plan_describe(e.plan, nullptr, 1, &size); }},
      {"plan", [&] { return heed_plan_isa(nullptr, &text); }},
      {"isa", [&] { return heed_plan_isa(e.plan, nullptr); }},
      {"plan", [&] { return heed_plan_workers(nullptr, &n); }},
      {"workers", [&] { return heed_plan_workers(e.plan, nullptr); }},
      {"plan", [&] { return heed_plan_workspace_bytes(nullptr, &size); }},
      {"bytes", [&] { return heed_plan_workspace_bytes(e.plan, nullptr); }},
      {"plan", [&] { return heed_plan_visible_scores(nullptr, &number); }},
      {"scores", [&] { return heed_plan_visible_scores(e.plan, nullptr); }},
      {"plan", [&] { return heed_get_forecast(nullptr, &forecast); }},
      {"forecast", [&] { return heed_get_forecast(e.plan, nullptr); }},
      {"workspace", [&] { return heed_workspace_create(nullptr); }},
      {"workspace", [&] { return heed_workspace_reserve(nullptr, e.plan); }},
      {"plan", [&] { return heed_workspace_reserve(e.workspace, nullptr); }},
      {"workspace", [&] { return heed_workspace_bytes(nullptr, &size); }},
      {"bytes", [&] { return heed_workspace_bytes(e.workspace, nullptr); }},
      {"plan", [&] { return heed_run(nullptr, &e.tensors, e.workspace, nullptr); }},
      {"tensors", [&] { return heed_run(e.plan, nullptr, e.workspace, nullptr); }},
      {"workspace", [&] { return heed_run(e.plan, &e.tensors, nullptr, nullptr); }},
      {"plan", [&] { return heed_run_share(nullptr, &e.tensors, e.workspace, 0, 1); }},
      {"tensors", [&] { return heed_run_share(e.plan, nullptr, e.workspace, 0, 1); }},
      {"workspace", [&] { return heed_run_share(e.plan, &e.tensors, nullptr, 0, 1); }},
      {"slopes", [&] { return heed_alibi_slopes(nullptr, 2); }},
      {"workspace", [&] { return heed_workspace_reserve_weights(nullptr, e.plan, &e.weights); }},
      {"plan", [&] { return heed_workspace_reserve_weights(e.workspace, nullptr, &e.weights); }},
      {"weights", [&] { return heed_workspace_reserve_weights(e.workspace, e.plan, nullptr); }},
      {"plan",
       [&] {
         return heed_get_attention_weights(nullptr, &e.tensors, &e.weights, e.workspace, nullptr);
       }},
      {"tensors",
       [&] {
         return heed_get_attention_weights(e.plan, nullptr, &e.weights, e.workspace, nullptr);
       }},
      {"weights",
       [&] {
         return heed_get_attention_weights(e.plan, &e.tensors, nullptr, e.workspace, nullptr);
       }},
      {"workspace",
       [&] {
         return heed_get_attention_weights(e.plan, &e.tensors, &e.weights, nullptr, nullptr);
       }},
      {"plan", [&] { return heed_get_state_shape(nullptr, &e.shape); }},
      {"shape", [&] { return heed_get_state_shape(e.plan, nullptr); }},
      {"shape", [&] { return heed_state_shape_floats(nullptr, &size); }},
      {"floats", [&] { return heed_state_shape_floats(&e.shape, nullptr); }},
      {"memory", [&] { return heed_partial_states_in(nullptr, &e.shape, &e.states); }},
      {"shape", [&] { return heed_partial_states_in(&e.number, nullptr, &e.states); }},
      {"states", [&] { return heed_partial_states_in(&e.number, &e.shape, nullptr); }},
      {"plan", [&] { return heed_run_partial(nullptr, &e.tensors, &e.states, e.workspace, {}); }},
      {"tensors", [&] { return heed_run_partial(e.plan, nullptr, &e.states, e.workspace, {}); }},
      {"states", [&] { return heed_run_partial(e.plan, &e.tensors, nullptr, e.workspace, {}); }},
      {"workspace", [&] { return heed_run_partial(e.plan, &e.tensors, &e.states, nullptr, {}); }},
      {"states",
       [&] { return heed_run_partial_share(e.plan, &e.tensors, nullptr, e.workspace, 0, 1); }},
      {"plan", [&] { return heed_merge(nullptr, nullptr, 0, out, nullptr, nullptr, nullptr); }},
      {"shards", [&] { return heed_merge(e.plan, nullptr, 1, out, nullptr, nullptr, nullptr); }},
      {"plan", [&] { return heed_merge_into(nullptr, &e.states, &e.const_states, {}, {}); }},
      {"total", [&] { return heed_merge_into(e.plan, nullptr, &e.const_states, {}, {}); }},
      {"states", [&] { return heed_merge_into(e.plan, &e.states, nullptr, {}, {}); }},
      {"plan", [&] { return heed_clear(nullptr, &e.states); }},
      {"states", [&] { return heed_clear(e.plan, nullptr); }},
  });
}

/// Those that heed_paged_sequences and heed_kv_cache have in common; `handle` is what both are
/// called.
#define HEED_SEQUENCE_CALLS(type, name, handle)                                              \
  {name, [&] { return type##_add(nullptr, &id); }},                                          \
      {name, [&] { return type##_begin(nullptr, &id, 1, &id, &number); }},                   \
      {"tokens", [&] { return type##_begin(handle, nullptr, 1, &id, &number); }},            \
      {"id", [&] { return type##_begin(handle, &id, 1, nullptr, &number); }},                \
      {"found", [&] { return type##_begin(handle, &id, 1, &id, nullptr); }},                 \
      {name, [&] { return type##_publish(nullptr, 0, &id, 1); }},                            \
      {"tokens", [&] { return type##_publish(handle, 0, nullptr, 1); }},                     \
      {name, [&] { return type##_forget(nullptr, 0, 0, 0); }},                               \
      {"id", [&] { return type##_add(handle, nullptr); }},                                   \
      {name, [&] { return type##_fork(nullptr, 0, 0, &id); }},                               \
      {"child", [&] { return type##_fork(handle, 0, 0, nullptr); }},                         \
      {name, [&] { return type##_truncate(nullptr, 0, 0); }},                                \
      {name, [&] { return type##_remove(nullptr, 0); }},                                     \
      {name, [&] { return type##_tokens(nullptr, 0, &number); }},                            \
      {"tokens", [&] { return type##_tokens(handle, 0, nullptr); }},                         \
      {name, [&] { return type##_pages(nullptr, 0, &pages, &size); }},                       \
      {"pages", [&] { return type##_pages(handle, 0, nullptr, &size); }},                    \
      {"pages_count", [&] { return type##_pages(handle, 0, &pages, nullptr); }},             \
      {name, [&] { return type##_free_pages(nullptr, &number); }},                           \
      {"pages", [&] { return type##_free_pages(handle, nullptr); }},                         \
      {name, [&] { return type##_block_table(nullptr, e.ids.data(), 0, 1, &id, 1); }},       \
      {"ids", [&] { return type##_block_table(handle, nullptr, 1, 1, &id, 1); }},            \
      {"table", [&] { return type##_block_table(handle, e.ids.data(), 1, 1, nullptr, 1); }}, \
      {name, [&] { return type##_page_lists(nullptr, e.ids.data(), 0, &id, &id, 1); }},      \
      {"ids", [&] { return type##_page_lists(handle, nullptr, 1, &id, &id, 1); }},           \
      {"indptr", [&] { return type##_page_lists(handle, nullptr, 0, nullptr, &id, 1); }},    \
      {"indices", [&] { return type##_page_lists(handle, nullptr, 0, &id, nullptr, 1); }},   \
      {name, [&] { return type##_shared_prefixes(nullptr, e.ids.data(), 0, &id); }},         \
      {"ids", [&] { return type##_shared_prefixes(handle, nullptr, 1, &id); }}, {            \
    "prefixes", [&] { return type##_shared_prefixes(handle, e.ids.data(), 1, nullptr); }     \
  }

TEST(NullPointersInC, OfCaches) {
  Everything e;
  std::int32_t id = 0;
  std::int64_t number = 0;
  size_t size = 0;
  const std::int32_t* pages = nullptr;
  heed_page_copy copy;
  heed_dtype type;
  heed_kv_cache_config no_layout = initialised(heed_kv_cache_config_init);
  expect_refused({
      {"budget", [&] { return heed_paged_sequences_create(nullptr, e.sequences.out()); }},
      {"sequences", [&] { return heed_paged_sequences_create(&e.budget, nullptr); }},
      {"sequences", [&] { return heed_paged_sequences_extend(nullptr, 0, &number, 1, &copy); }},
      {"slots", [&] { return heed_paged_sequences_extend(e.sequences, 0, nullptr, 1, &copy); }},
      {"copy", [&] { return heed_paged_sequences_extend(e.sequences, 0, &number, 1, nullptr); }},
      HEED_SEQUENCE_CALLS(heed_paged_sequences, "sequences", e.sequences),
      {"config", [&] { return heed_kv_cache_create(nullptr, e.cache.out()); }},
      {"config.layout", [&] { return heed_kv_cache_create(&no_layout, e.cache.out()); }},
      {"cache", [&] { return heed_kv_cache_create(&e.cache_config, nullptr); }},
      {"cache", [&] { return heed_kv_cache_extend(nullptr, 0, &number, 1); }},
      {"slots", [&] { return heed_kv_cache_extend(e.cache, 0, nullptr, 1); }},
      HEED_SEQUENCE_CALLS(heed_kv_cache, "cache", e.cache),
      {"cache", [&] { return heed_kv_cache_layout(nullptr, &e.layout); }},
      {"layout", [&] { return heed_kv_cache_layout(e.cache, nullptr); }},
      {"cache", [&] { return heed_kv_cache_layers(nullptr, &number); }},
      {"layers", [&] { return heed_kv_cache_layers(e.cache, nullptr); }},
      {"cache", [&] { return heed_kv_cache_k_type(nullptr, &type); }},
      {"type", [&] { return heed_kv_cache_k_type(e.cache, nullptr); }},
      {"cache", [&] { return heed_kv_cache_v_type(nullptr, &type); }},
      {"type", [&] { return heed_kv_cache_v_type(e.cache, nullptr); }},
      {"cache", [&] { return heed_kv_cache_layer(nullptr, 0, &e.pages); }},
      {"pages", [&] { return heed_kv_cache_layer(e.cache, 0, nullptr); }},
      {"cache", [&] { return heed_kv_cache_bytes(nullptr, &size); }},
      {"bytes", [&] { return heed_kv_cache_bytes(e.cache, nullptr); }},
      {"layout", [&] { return heed_append(nullptr, &e.pages, &e.tokens, nullptr); }},
      {"pages", [&] { return heed_append(&e.layout, nullptr, &e.tokens, nullptr); }},
      {"tokens", [&] { return heed_append(&e.layout, &e.pages, nullptr, nullptr); }},
      {"layout", [&] { return heed_paged_layout_bshd(1, 1, 1, 1, 1, nullptr); }},
      {"layout", [&] { return heed_paged_layout_bhsd(1, 1, 1, 1, 1, nullptr); }},
      {"layout", [&] { return heed_paged_layout_together(nullptr); }},
  });
}

TEST(NullPointersInC, OfEverythingElse) {
  Everything e;
  OwnedExecutor unused;
  const auto spread = [](void*, int, heed_task_function, void*) {};
  int n = 0;
  size_t size = 0;
  const double* numbers = nullptr;
  double factor = 0;
  heed_rotary_config lacking = e.rotary_config, scaled = e.rotary_config;
  lacking.frequencies_count = 1;
  auto scaling = initialised(heed_rotary_scaling_init);
  scaling.long_factors_count = 1;
  scaled.scaling = &scaling;
  expect_refused({
      {"info", [&] { return heed_get_dtype_info(HEED_F32, nullptr); }},
      {"count", [&] { return heed_isas(nullptr); }},
      {"info", [&] { return heed_get_isa_info(0, nullptr); }},
      {"name", [&] { return heed_chosen_isa(nullptr); }},
      {"info", [&] { return heed_get_cpu_info(nullptr); }},
      {"text", [&] { return heed_cpu_features(nullptr, 1, nullptr); }},
      {"executor", [&] { return heed_executor_create(1, nullptr); }},
      {"executor", [&] { return heed_executor_adopt(1, spread, nullptr, nullptr); }},
      {"parallel_for", [&] { return heed_executor_adopt(1, nullptr, nullptr, unused.out()); }},
      {"task", [&] { return heed_parallel_for(1, nullptr, nullptr, nullptr); }},
      {"executor", [&] { return heed_executor_threads(nullptr, &n); }},
      {"threads", [&] { return heed_executor_threads(e.executor, nullptr); }},
      {"config", [&] { return heed_rotary_create(nullptr, e.rotary.out()); }},
      {"rotary", [&] { return heed_rotary_create(&e.rotary_config, nullptr); }},
      {"rotary", [&] { return heed_get_rotary_config(nullptr, &e.rotary_config); }},
      {"config", [&] { return heed_get_rotary_config(e.rotary, nullptr); }},
      {"rotary", [&] { return heed_rotary_frequencies(nullptr, &numbers, &size); }},
      {"frequencies", [&] { return heed_rotary_frequencies(e.rotary, nullptr, &size); }},
      {"frequencies_count", [&] { return heed_rotary_frequencies(e.rotary, &numbers, nullptr); }},
      {"rotary", [&] { return heed_rotary_attention_factor(nullptr, &factor); }},
      {"factor", [&] { return heed_rotary_attention_factor(e.rotary, nullptr); }},
      {"config.frequencies", [&] { return heed_rotary_create(&lacking, e.rotary.out()); }},
      {"config.scaling.long_factors", [&] { return heed_rotary_create(&scaled, e.rotary.out()); }},
      {"rotary", [&] { return heed_rotate(nullptr, &e.rotary_tensors, nullptr); }},
      {"tensors", [&] { return heed_rotate(e.rotary, nullptr, nullptr); }},
      {"norm", [&] { return heed_normalise_heads(nullptr, &e.head_tensors, nullptr); }},
      {"tensors", [&] { return heed_normalise_heads(&e.norm, nullptr, nullptr); }},
      {"x", [&] { return heed_softmax(nullptr, &e.out, nullptr); }},
      {"y", [&] { return heed_softmax(&e.in, nullptr, nullptr); }},
      {"x", [&] { return heed_log_softmax(nullptr, &e.out, nullptr); }},
      {"y", [&] { return heed_log_softmax(&e.in, nullptr, nullptr); }},
      {"x", [&] { return heed_log_sum_exp(nullptr, &e.number, nullptr); }},
      {"y", [&] { return heed_softmax_gradient(nullptr, &e.in, &e.out, nullptr, nullptr); }},
      {"dy", [&] { return heed_softmax_gradient(&e.in, nullptr, &e.out, nullptr, nullptr); }},
      {"dx", [&] { return heed_softmax_gradient(&e.in, &e.in, nullptr, nullptr, nullptr); }},
      {"dx", [&] { return heed_log_softmax_gradient(&e.in, &e.in, nullptr, nullptr, nullptr); }},
      {"workspace", [&] { return heed_sampling_workspace_create(nullptr); }},
      {"workspace", [&] { return heed_sampling_workspace_reserve(nullptr, 1, 1); }},
      {"workspace", [&] { return heed_sampling_workspace_bytes(nullptr, &size); }},
      {"bytes", [&] { return heed_sampling_workspace_bytes(e.sampling, nullptr); }},
      {"logits", [&] { return heed_sample(nullptr, &e.rule, 1, {}, 0, &e.samples, {}, {}); }},
      {"rules", [&] { return heed_sample(&e.logits, {}, 1, {}, 0, &e.samples, {}, {}); }},
      {"draws", [&] { return heed_sample(&e.logits, &e.rule, 1, {}, 1, &e.samples, {}, {}); }},
      {"samples", [&] { return heed_sample(&e.logits, &e.rule, 1, {}, 0, nullptr, {}, {}); }},
  });
}

TEST(NullPointersInC, OfTensorsAreFoundByHeed) {
  Everything e;
  e.batch.query.length = e.batch.key.length = 1;
  ASSERT_DONE(heed_plan_attention(&e.config, &e.batch, nullptr, e.plan));
  ASSERT_DONE(heed_workspace_reserve(e.workspace, e.plan));
  EXPECT_EQ(heed_run(e.plan, &e.tensors, e.workspace, nullptr), HEED_INVALID_ARGUMENT);
  EXPECT_STRNE(heed_last_message(), "");
  EXPECT_EQ(heed_softmax(&e.in, &e.out, nullptr), HEED_OK);
  e.in.rows = e.out.rows = e.in.length = e.out.length = 1;
  EXPECT_EQ(heed_softmax(&e.in, &e.out, nullptr), HEED_INVALID_ARGUMENT);
  EXPECT_EQ(heed_log_sum_exp(&e.in, nullptr, nullptr), HEED_INVALID_ARGUMENT);
}

TEST(NullPointersInC, MayBeDestroyed) {
  heed_plan_destroy(nullptr);
  heed_workspace_destroy(nullptr);
  heed_executor_destroy(nullptr);
  heed_rotary_destroy(nullptr);
  heed_paged_sequences_destroy(nullptr);
  heed_kv_cache_destroy(nullptr);
  heed_sampling_workspace_destroy(nullptr);
}

TEST(MessagesOfC, AreThoseOfCppAndOfTheLastFailure) {
  Everything e;
  e.config.query_heads = 32;
  e.config.kv_heads = 6;
  EXPECT_EQ(heed_plan_attention(&e.config, &e.batch, nullptr, e.plan), HEED_INVALID_ARGUMENT);
  EXPECT_STREQ(heed_last_message(), "kv_heads (6) must divide query_heads (32)");
  size_t count = 0;
  EXPECT_EQ(heed_isas(&count), HEED_OK);
  EXPECT_STREQ(heed_last_message(), "kv_heads (6) must divide query_heads (32)");
}

TEST(MessagesOfC, BelongToAThread) {
  EXPECT_EQ(heed_isas(nullptr), HEED_INVALID_ARGUMENT);
  std::string at_first, after;
  std::thread([&] {
    at_first = heed_last_message();
    EXPECT_EQ(heed_chosen_isa(nullptr), HEED_INVALID_ARGUMENT);
    after = heed_last_message();
  }).join();
  EXPECT_EQ(at_first, "");
  EXPECT_EQ(after, "name must not be null");
  EXPECT_STREQ(heed_last_message(), "count must not be null");
}

TEST(MessagesOfC, FailuresWriteNothing) {
  auto* untouched = reinterpret_cast<heed_executor*>(0x10);
  heed_executor* executor = untouched;
  EXPECT_EQ(heed_executor_create(0, &executor), HEED_INVALID_ARGUMENT);
  EXPECT_EQ(executor, untouched);
  EXPECT_EQ(heed_executor_adopt(2, nullptr, nullptr, &executor), HEED_INVALID_ARGUMENT);
  EXPECT_EQ(executor, untouched);
  Everything e;
  std::int32_t id = 77;
  EXPECT_EQ(heed_kv_cache_fork(e.cache, 1, 0, &id), HEED_INVALID_ARGUMENT);
  EXPECT_EQ(id, 77);
  std::array<std::int64_t, 9> slots = {};
  EXPECT_DONE(heed_kv_cache_add(e.cache, &id));
  EXPECT_EQ(heed_kv_cache_extend(e.cache, id, slots.data(), slots.size()), HEED_EXHAUSTED);
  EXPECT_EQ(slots, (std::array<std::int64_t, 9>{}));
  heed_page_copy copy = {7, 8, 9};
  EXPECT_EQ(heed_paged_sequences_extend(e.sequences, 0, slots.data(), 1, &copy),
            HEED_INVALID_ARGUMENT);
  EXPECT_EQ(copy.tokens, 9);
}

TEST(MessagesOfC, CodesAreThoseOfCpp) {
  constexpr std::array kNames = {"ok",        "invalid_argument", "unsupported", "out_of_memory",
                                 "exhausted", "internal"};
  EXPECT_EQ(static_cast<int>(HEED_INTERNAL), static_cast<int>(StatusCode::internal));
  EXPECT_EQ(static_cast<int>(HEED_EXHAUSTED), static_cast<int>(StatusCode::exhausted));
  for (std::size_t i = 0; i < kNames.size(); ++i) {
    EXPECT_STREQ(heed_status_name(static_cast<heed_status>(i)), kNames[i]);
  }
  for (const int code : {-1, 6}) {
    EXPECT_STREQ(heed_status_name(static_cast<heed_status>(code)), "unknown");
  }
}

TEST(FactsInC, VersionAndProcessor) {
  EXPECT_EQ(heed_version(), version());
  EXPECT_EQ(heed_abi(), HEED_C_ABI);
  auto info = initialised(heed_cpu_info_init);
  EXPECT_DONE(heed_get_cpu_info(&info));
  EXPECT_EQ(info.vendor, cpu_info().vendor);
  EXPECT_EQ(info.model, cpu_info().model);
  EXPECT_EQ(info.default_workers, cpu_info().default_workers);
  EXPECT_EQ(info.l2_bytes, cpu_info().l2_bytes);
  std::string features;
  for (const std::string_view feature : cpu_info().features) {
    features.append(features.empty() ? "" : " ").append(feature);
  }
  std::vector<char> text(features.size() + 1);
  EXPECT_DONE(heed_cpu_features(text.data(), text.size(), nullptr));
  EXPECT_EQ(text.data(), features);
}

TEST(FactsInC, InstructionSets) {
  size_t count = 0;
  const char* name = nullptr;
  std::string_view chosen;
  EXPECT_DONE(heed_isas(&count));
  EXPECT_DONE(heed_chosen_isa(&name));
  ASSERT_TRUE(chosen_isa(chosen).ok());
  EXPECT_EQ(name, chosen);
  ASSERT_GE(count, 1U);
  // Tests have other lists: one with a toy besides, with sanitizers a short one.
  const std::vector<IsaInfo> all = isas();
  auto info = initialised(heed_isa_info_init);
  for (size_t i = 0; i < count; ++i) {
    EXPECT_DONE(heed_get_isa_info(i, &info));
    EXPECT_EQ(info.chosen, std::string_view(info.name) == name);
    const auto same = std::ranges::find(all, std::string_view(info.name), &IsaInfo::name);
    if (same != all.end()) {
      EXPECT_EQ(info.supported, same->supported);
    }
  }
  EXPECT_EQ(heed_get_isa_info(count, &info), HEED_INVALID_ARGUMENT);
}

TEST(FactsInC, ElementTypes) {
  auto info = initialised(heed_dtype_info_init);
  for (const DTypeInfo& type : kDTypes) {
    EXPECT_DONE(heed_get_dtype_info(static_cast<heed_dtype>(type.type), &info));
    EXPECT_EQ(info.name, type.name);
    EXPECT_EQ(info.block_elements, type.block_elements);
    EXPECT_EQ(info.block_bytes, type.block_bytes);
    EXPECT_EQ(info.alignment, type.alignment);
    EXPECT_EQ(info.computes, type.computes);
    EXPECT_EQ(info.scaled, type.scaled);
  }
  EXPECT_EQ(static_cast<DType>(HEED_Q4_0), kDTypes[std::size(kDTypes) - 1].type);
  EXPECT_EQ(heed_get_dtype_info(static_cast<heed_dtype>(9), &info), HEED_INVALID_ARGUMENT);
  EXPECT_STREQ(heed_last_message(), "type (9) must be from 0 to 8");
}

TEST(NumbersThatAreNoEnumeratorsInC, AreRefused) {
  Everything e;
  const auto refused = [&](auto& member, const char* sentence) {
    const auto good = member;
    member = static_cast<std::remove_reference_t<decltype(member)>>(99);
    EXPECT_EQ(heed_plan_attention(&e.config, &e.batch, nullptr, e.plan), HEED_INVALID_ARGUMENT);
    EXPECT_NE(std::string(heed_last_message()).find(sentence), std::string::npos)
        << heed_last_message();
    member = good;
  };
  refused(e.config.alignment, "alignment");
  refused(e.config.products, "products");
  refused(e.config.q_type, "q_type (99)");
  refused(e.config.k_type, "k_type (99)");
  refused(e.config.v_type, "v_type (99)");
  refused(e.config.out_type, "out_type (99)");
  const std::uint8_t visible = 1;
  auto mask = initialised(heed_key_mask_init);
  mask.data = &visible;
  e.batch.mask = &mask;
  e.batch.query.length = e.batch.key.length = 1;
  refused(mask.type, "mask");
  const auto type = static_cast<heed_dtype>(99);
  e.in.data = {&e.number, type};
  e.in.rows = e.in.length = 1;
  EXPECT_EQ(heed_log_sum_exp(&e.in, &e.number, nullptr), HEED_INVALID_ARGUMENT);
  EXPECT_EQ(heed_convert({&e.number, type}, {&e.number, HEED_F32}, 1, nullptr),
            HEED_INVALID_ARGUMENT);
  e.cache_config.k_type = type;
  EXPECT_EQ(heed_kv_cache_create(&e.cache_config, e.cache.out()), HEED_INVALID_ARGUMENT);
  e.rotary_config.pairs = static_cast<heed_rotary_pairs>(99);
  EXPECT_EQ(heed_rotary_create(&e.rotary_config, e.rotary.out()), HEED_INVALID_ARGUMENT);
  e.rotary_config.pairs = HEED_ROTARY_HALVES;
  auto scaling = initialised(heed_rotary_scaling_init);
  scaling.kind = static_cast<heed_rotary_scaling_kind>(99);
  e.rotary_config.scaling = &scaling;
  EXPECT_EQ(heed_rotary_create(&e.rotary_config, e.rotary.out()), HEED_INVALID_ARGUMENT);
}

}  // namespace
}  // namespace heed::tests
