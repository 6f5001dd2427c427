// A row's bits depend on its query, its keys and values and the configuration, and on nothing else.

#include <array>
#include <cstdlib>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "runtime/cpu/core_traits.h"
#include "runtime/cpu/machine.h"
#include "runtime/plan/plan_data.h"
#include "tests/support/attention_run.h"
#include "tests/support/float_control.h"

namespace heed::tests {
namespace {

using proof::Case;
using proof::CaseSpec;
using proof::Distribution;
using proof::Form;
using proof::Geometry;
using proof::Row;
using proof::Storage;

/// Two sequences, grouped heads, several partitions of keys, enough work for several workers.
CaseSpec prompt() {
  CaseSpec spec;
  spec.config.query_heads = 6;
  spec.config.kv_heads = 2;
  spec.config.head_dim = 40;
  spec.config.value_head_dim = 24;
  spec.config.causal = true;
  spec.form = Form::ragged;
  spec.queries = {130, 61};
  spec.keys = {300, 530};
  spec.distribution = Distribution::sharp;
  return spec;
}

/// One token against many keys: what only a split of the keys can spread over workers.
CaseSpec decode() {
  CaseSpec spec;
  spec.config.query_heads = 4;
  spec.config.head_dim = 64;
  spec.queries = {1};
  spec.keys = {6000};
  spec.distribution = Distribution::sharp;
  return spec;
}

void expect_same(const Case& c, const Outputs& a, const Outputs& b) {
  expect_same_rows(c.geometry(), a, c.geometry(), b);
}

/// The number that `label` introduces in the plan's description.
int described(const Plan& plan, const std::string& label) {
  const std::string text = plan.describe();
  const std::size_t at = text.find(label);
  return at == std::string::npos ? -1 : std::atoi(text.c_str() + at + label.size());
}

TEST(AttentionInvariance, NumberOfWorkersAndExecutor) {
  const Case c(prompt());
  Executor executor;
  ASSERT_TRUE(Executor::create(3, executor).ok());
  for (const std::string_view isa : f32_isas()) {
    const Outputs expected = run_case(c, on(isa));
    for (int workers = 1; workers <= 8; ++workers) {
      SCOPED_TRACE(std::string(isa) + " workers " + std::to_string(workers));
      const Plan plan = plan_case(c, on(isa, workers));
      expect_same(c, expected, run_plan(c, plan));
      expect_same(c, expected, run_plan(c, plan, &executor));
      if (HasFailure()) return;
    }
  }
}

/// Runs all shares of a run, in threads of their own or one after the other, the last one first.
Outputs run_all_shares(const Case& c, const Plan& plan, int nth, bool threads) {
  Outputs outputs = fresh_outputs(c);
  Workspace workspace;
  EXPECT_TRUE(workspace.reserve(plan).ok());
  const AttentionTensors tensors = outputs.with(c.inputs());
  for (int repeat = 0; repeat < 2; ++repeat) {
    std::vector<std::thread> pool;
    for (int ith = nth - 1; ith >= 0; --ith) {
      const auto share = [&, ith] {
        EXPECT_TRUE(run_share(plan, tensors, workspace, ith, nth).ok());
      };
      threads ? void(pool.emplace_back(share)) : share();
    }
    for (std::thread& thread : pool) thread.join();
  }
  expect_exactly_rows_written(c.geometry(), outputs);
  return outputs;
}

TEST(AttentionInvariance, SharesOfAHostsOwnThreads) {
  for (const CaseSpec& spec : {prompt(), decode()}) {
    const Case c(spec);
    for (const std::string_view isa : f32_isas()) {
      const Outputs expected = run_case(c, on(isa));
      const Plan plan = plan_case(c, on(isa, 8));
      for (int nth = 1; nth <= 8; ++nth) {
        for (const bool threads : {false, true}) {
          SCOPED_TRACE(std::string(isa) + " nth " + std::to_string(nth) +
                       (threads ? " in threads" : " in sequence"));
          expect_same(c, expected, run_all_shares(c, plan, nth, threads));
          if (HasFailure()) return;
        }
      }
    }
  }
}

TEST(AttentionInvariance, SplitKeys) {
  CaseSpec windowed = decode();
  windowed.queries = {3};
  windowed.config.causal = true;
  windowed.config.window_left = 3000;
  CaseSpec argmax = decode();
  argmax.config.temperature = 0;
  for (const CaseSpec& spec : {decode(), windowed, argmax}) {
    const Case c(spec);
    for (const std::string_view isa : f32_isas()) {
      const Plan whole = plan_case(c, on(isa, 1));
      ASSERT_EQ(described(whole, "splits: "), 0) << whole.describe();
      const Outputs expected = run_plan(c, whole);
      for (const int workers : {2, 3, 8, 64}) {
        SCOPED_TRACE(std::string(isa) + " workers " + std::to_string(workers));
        const Plan plan = plan_case(c, on(isa, workers));
        ASSERT_GT(described(plan, "splits: "), 0) << plan.describe();
        expect_same(c, expected, run_plan(c, plan));
        if (HasFailure()) return;
      }
    }
  }
}

/// Runs the plan in a workspace that a run of the case with NaN keys and no mask has used before.
Outputs run_in_dirty_workspace(const CaseSpec& spec, const Case& c, const Plan& plan) {
  CaseSpec unmasked = spec;
  unmasked.config.causal = false;
  Case dirt(unmasked);
  const Row first{0, 0, 0};
  for (std::int64_t j = 0; j < spec.keys.front(); ++j) {
    dirt.k()[dirt.geometry().k(first, j)] = std::numeric_limits<float>::quiet_NaN();
  }
  const Plan dirty_plan = plan_case(dirt, on(plan.isa(), plan.workers()));
  Workspace workspace;
  EXPECT_TRUE(workspace.reserve(dirty_plan).ok());
  EXPECT_TRUE(workspace.reserve(plan).ok());
  Outputs outputs = fresh_outputs(dirt);
  EXPECT_TRUE(run(dirty_plan, outputs.with(dirt.inputs()), workspace).ok());
  outputs = fresh_outputs(c);
  EXPECT_TRUE(run(plan, outputs.with(c.inputs()), workspace).ok());
  return outputs;
}

// The first sequence's rows are several blocks of one item, and a causal mask hides its last
// partition, keys 5120 to 5129, from the first of them. The others make up enough work for whole
// items.
TEST(AttentionInvariance, SplitsWhosePartitionsSomeBlocksDoNotSee) {
  CaseSpec spec;
  spec.config.head_dim = 16;
  spec.config.causal = true;
  spec.form = Form::ragged;
  spec.queries.assign(41, 97);
  spec.keys.assign(41, 20);
  spec.keys.front() = 5130;
  const Case c(spec);
  for (const std::string_view isa : f32_isas()) {
    SCOPED_TRACE(isa);
    const Outputs expected = run_case(c, on(isa));
    const Plan plan = plan_case(c, on(isa, 2));
    // All rows of the first sequence are in each part.
    ASSERT_EQ(described(plan, "items: "), 40 + described(plan, "splits: 1 into "))
        << plan.describe();
    expect_same(c, expected, run_in_dirty_workspace(spec, c, plan));
  }
}

TEST(AttentionInvariance, KeysPerTile) {
  for (const CaseSpec& spec : {prompt(), decode()}) {
    const Case c(spec);
    for (const std::string_view isa : f32_isas()) {
      const Outputs expected = run_case(c, on(isa));
      for (const int tile_keys : {16, 32, 64, 128, 256}) {
        SCOPED_TRACE(std::string(isa) + " tile_keys " + std::to_string(tile_keys));
        expect_same(c, expected, run_case(c, on(isa, 3, tile_keys)));
        if (HasFailure()) return;
      }
    }
  }
}

// One vector of rows, a few, whole blocks and parts of one, and as many as there are.
TEST(AttentionInvariance, RowsPerItem) {
  for (const CaseSpec& spec : {prompt(), decode()}) {
    const Case c(spec);
    for (const std::string_view isa : f32_isas()) {
      const Outputs expected = run_case(c, on(isa));
      for (const int item_rows : {1, 20, 48, 100, 384}) {
        SCOPED_TRACE(std::string(isa) + " item_rows " + std::to_string(item_rows));
        PlanOptions options = on(isa);
        options.item_rows = item_rows;
        const Plan plan = plan_case(c, options);
        const int widest_vector = 16;
        EXPECT_LT(described(plan, "items of up to "), item_rows + widest_vector);
        expect_same(c, expected, run_plan(c, plan));
        if (HasFailure()) return;
      }
    }
  }
}

/// Some query tokens of one sequence against its first `keys` keys.
struct Part {
  std::int64_t sequence, first_token, tokens, keys;
};

/// Runs a part of the case as a batch of its own, on the case's tensors and into its outputs.
void run_part(const Case& c, const Part& part, const PlanOptions& options, Outputs& outputs) {
  const Geometry& g = c.geometry();
  Batch batch;
  batch.query.length = part.tokens;
  batch.key.length = part.keys;
  batch.q = g.q_layout();
  batch.k = g.k_layout();
  batch.v = g.v_layout();
  batch.out = g.out_layout();
  batch.lse = g.lse_layout();
  Plan plan;
  const Status status = plan_attention(c.config(), batch, options, plan);
  ASSERT_TRUE(status.ok()) << status.message();
  const Row first{part.sequence, part.first_token, 0};
  AttentionTensors tensors = outputs.with(c.inputs());
  tensors.q += g.q(first);
  tensors.k += g.k(first, 0);
  tensors.v += g.v(first, 0);
  tensors.out += g.out(first);
  tensors.lse += g.lse(first);
  Workspace workspace;
  ASSERT_TRUE(workspace.reserve(plan).ok());
  ASSERT_TRUE(run(plan, tensors, workspace).ok());
}

// Cores differ in that. Rows of one KV head lie without gaps, those of two have some; of 20 and 300
// floats they are no whole vectors, and longer than is added at once.
TEST(AttentionInvariance, WhetherDecodeReadsLinesInTheirOrder) {
  const bool better =
      detail::core_traits(detail::machine_vendor(), detail::machine_features()).reads_in_order;
  for (const std::int32_t query_heads : {1, 2, 4}) {
    for (const std::int32_t dim : {20, 64, 128, 300}) {
      CaseSpec spec = decode();
      spec.config.query_heads = query_heads;
      spec.config.kv_heads = query_heads == 2 ? 2 : 1;
      spec.config.head_dim = spec.config.value_head_dim = dim;
      spec.keys = {1003};
      const Case c(spec);
      for (const std::string_view isa : supported_isas()) {
        SCOPED_TRACE(to_string(spec) + " on " + std::string(isa));
        Outputs outputs[2] = {fresh_outputs(c), fresh_outputs(c)};
        for (const bool in_order : {false, true}) {
          const Plan plan = plan_case(c, on(isa));
          ASSERT_NE(plan.data(), nullptr);
          EXPECT_EQ(plan.data()->shape.reads_in_order, better);
          const_cast<detail::PlanData*>(plan.data())->shape.reads_in_order = in_order;
          Workspace workspace;
          ASSERT_TRUE(workspace.reserve(plan).ok());
          ASSERT_TRUE(run(plan, outputs[in_order].with(c.inputs()), workspace).ok());
        }
        expect_same(c, outputs[0], outputs[1]);
      }
    }
  }
}

TEST(AttentionInvariance, OtherSequencesOfTheBatch) {
  CaseSpec spec = prompt();
  spec.queries = {130, 1, 61, 7};
  spec.keys = {300, 20, 530, 0};
  const Case c(spec);
  for (const std::string_view isa : f32_isas()) {
    SCOPED_TRACE(isa);
    const Outputs expected = run_case(c, on(isa, 2));
    Outputs alone = fresh_outputs(c);
    for (std::int64_t b = 0; b < c.geometry().sequences(); ++b) {
      const Part part{b, 0, c.geometry().queries().length(b), c.geometry().keys().length(b)};
      run_part(c, part, on(isa, 1), alone);
    }
    expect_same(c, expected, alone);
  }
}

// A prompt in chunks: each sees the keys up to its own last token, as the causal mask has it.
TEST(AttentionInvariance, PromptsCutIntoChunks) {
  CaseSpec windowed = prompt();
  windowed.config.window_left = 100;
  for (const CaseSpec& spec : {prompt(), windowed}) {
    const Case c(spec);
    const Geometry& g = c.geometry();
    for (const std::string_view isa : f32_isas()) {
      const Outputs expected = run_case(c, on(isa));
      for (const std::int64_t chunk : {1, 7, 32, 100}) {
        SCOPED_TRACE(std::string(isa) + " chunks of " + std::to_string(chunk));
        Outputs chunked = fresh_outputs(c);
        for (std::int64_t b = 0; b < g.sequences(); ++b) {
          const std::int64_t n = g.queries().length(b), before = g.keys().length(b) - n;
          for (std::int64_t i = 0; i < n; i += chunk) {
            const std::int64_t tokens = std::min(chunk, n - i);
            run_part(c, {b, i, tokens, before + i + tokens}, on(isa), chunked);
          }
        }
        expect_same(c, expected, chunked);
        if (HasFailure()) return;
      }
    }
  }
}

TEST(AttentionInvariance, OneRowAlone) {
  const Case c(prompt());
  const Geometry& g = c.geometry();
  const std::vector<Row> rows = g.rows();
  for (const std::string_view isa : f32_isas()) {
    SCOPED_TRACE(isa);
    const Outputs expected = run_case(c, on(isa));
    for (std::size_t i = 0; i < rows.size(); i += 37) {
      const Row& row = rows[i];
      AttentionConfig config = c.config();
      config.query_heads = config.kv_heads = 1;
      Batch batch;
      batch.query.length = 1;
      batch.key.length = g.visible(row).end;
      batch.k = g.k_layout();
      batch.v = g.v_layout();
      Plan plan;
      ASSERT_TRUE(plan_attention(config, batch, on(isa), plan).ok());
      Workspace workspace;
      ASSERT_TRUE(workspace.reserve(plan).ok());
      AttentionTensors tensors = c.inputs();
      tensors.q += g.q(row);
      tensors.k += g.k(row, 0);
      tensors.v += g.v(row, 0);
      std::vector<float> out(static_cast<std::size_t>(g.value_head_dim()));
      float lse = 0;
      tensors.out = out.data();
      tensors.lse = &lse;
      ASSERT_TRUE(run(plan, tensors, workspace).ok());
      const float* const whole = expected.out.data() + g.out(row);
      ASSERT_TRUE(std::equal(out.begin(), out.end(), whole, same_bits)) << to_string(row);
      ASSERT_TRUE(same_bits(lse, expected.lse.data()[g.lse(row)])) << to_string(row);
    }
  }
}

// Cases of one seed hold the same numbers whatever their form and storage.
TEST(AttentionInvariance, FormsAndStorages) {
  for (const bool equal_lengths : {true, false}) {
    CaseSpec spec = prompt();
    if (equal_lengths) {
      spec.queries = {70, 70};
      spec.keys = {300, 300};
    }
    const Case ragged(spec);
    for (const std::string_view isa : f32_isas()) {
      const Outputs expected = run_case(ragged, on(isa));
      for (const Form form : {Form::dense, Form::padded, Form::ragged}) {
        if (form == Form::dense && !equal_lengths) continue;
        for (const Storage storage : {Storage::bshd, Storage::bhsd, Storage::interleaved,
                                      Storage::spaced, Storage::pages}) {
          spec.form = form;
          spec.storage = storage;
          SCOPED_TRACE(to_string(spec) + " on " + std::string(isa));
          const Case c(spec);
          const Outputs outputs = run_case(c, on(isa));
          expect_same_rows(ragged.geometry(), expected, c.geometry(), outputs);
          if (HasFailure()) return;
        }
      }
    }
  }
}

TEST(AttentionInvariance, FusedIsasAgreeOnEveryRow) {
  for (const Distribution distribution :
       {Distribution::normal, Distribution::sharp, Distribution::tiny, Distribution::huge}) {
    CaseSpec spec = prompt();
    spec.distribution = distribution;
    const Case c(spec);
    std::vector<Outputs> fused;
    for (const std::string_view isa : f32_isas()) {
      if (proof::arithmetic_of(isa) == proof::Arithmetic::fused) {
        fused.push_back(run_case(c, on(isa)));
      }
    }
    for (const Outputs& outputs : fused) expect_same(c, fused.front(), outputs);
  }
}

/// Runs as a host would that has set the floating-point control register to `control`; checks that
/// it finds it unchanged.
Outputs run_under(FloatControl control, const Case& c, const PlanOptions& options) {
  Outputs outputs = fresh_outputs(c);
  Workspace workspace;
  Plan plan;
  const FloatControl before = float_control();
  set_float_control(control);
  const Status planned = plan_attention(c.config(), c.batch(), options, plan);
  const Status reserved = workspace.reserve(plan);
  const Status done = run(plan, outputs.with(c.inputs()), workspace);
  const FloatControl after = float_control();
  set_float_control(before);
  EXPECT_TRUE(planned.ok() && reserved.ok() && done.ok()) << planned.message() << done.message();
  EXPECT_EQ(settings(after), settings(control));
  return outputs;
}

// Tiny inputs have subnormal logits, which flushing would turn into zeros; prompts have sums that
// every other rounding changes.
TEST(AttentionInvariance, HostsThatFlushOrRoundOtherwise) {
  CaseSpec tiny = prompt();
  tiny.distribution = Distribution::tiny;
  tiny.queries = {33, 20};
  tiny.keys = {40, 70};
  for (const CaseSpec& spec : {prompt(), tiny, decode()}) {
    const Case c(spec);
    for (const std::string_view isa : f32_isas()) {
      const Outputs expected = run_case(c, on(isa));
      for (const FloatControl mode :
           {kFlush, kRoundDown, kRoundUp, kRoundToZero, kRoundToZero | kFlush}) {
        for (const int workers : {1, 4}) {
          SCOPED_TRACE(std::string(isa) + " control " + std::to_string(mode) + " workers " +
                       std::to_string(workers));
          expect_same(c, expected, run_under(kPlain | mode, c, on(isa, workers)));
          if (HasFailure()) return;
        }
      }
    }
  }
}

TEST(AttentionInvariance, ConcurrentRunsOfOnePlan) {
  for (const CaseSpec& spec : {prompt(), decode()}) {
    const Case c(spec);
    const Plan plan = plan_case(c, on({}, 4));
    const Outputs expected = run_plan(c, plan);
    std::vector<Outputs> outputs;
    outputs.reserve(4);
    for (int i = 0; i < 4; ++i) outputs.push_back(fresh_outputs(c));
    std::vector<std::thread> threads;
    threads.reserve(outputs.size());
    for (Outputs& mine : outputs) {
      threads.emplace_back([&c, &plan, &mine] {
        Workspace workspace;
        EXPECT_TRUE(workspace.reserve(plan).ok());
        for (int repeat = 0; repeat < 10; ++repeat) {
          EXPECT_TRUE(run(plan, mine.with(c.inputs()), workspace).ok());
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    for (const Outputs& mine : outputs) expect_same(c, expected, mine);
  }
}

// One Plan and one Workspace through a changing sequence of batches, as a server uses them.
TEST(AttentionInvariance, PlansAndWorkspacesUsedAgain) {
  const Case cases[] = {Case(prompt()), Case(decode())};
  for (const std::string_view isa : f32_isas()) {
    Plan plan;
    Workspace workspace;
    for (const std::size_t i : {0, 1, 0, 0, 1, 1, 0}) {
      const Case& c = cases[i];
      SCOPED_TRACE(std::string(isa) + " case " + std::to_string(i));
      ASSERT_TRUE(plan_attention(c.config(), c.batch(), on(isa, 4), plan).ok());
      ASSERT_TRUE(workspace.reserve(plan).ok());
      for (int repeat = 0; repeat < 2; ++repeat) {
        Outputs outputs = fresh_outputs(c);
        ASSERT_TRUE(run(plan, outputs.with(c.inputs()), workspace).ok());
        expect_same(c, run_case(c, on(isa)), outputs);
        if (HasFailure()) return;
      }
    }
  }
}

}  // namespace
}  // namespace heed::tests
