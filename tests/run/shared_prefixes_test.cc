// Prefixes that are read once for several sequences give the bits that each gives by itself, and
// the tables of a run must have them in common.
#include <algorithm>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "tests/support/attention_run.h"
#include "tests/support/paged_case.h"

namespace heed::tests {
namespace {

using proof::Case;
using proof::CaseSpec;
using proof::Form;
using proof::GuardedBuffer;

/// Sequences whose first keys are those of the ones before them.
struct Family {
  std::string name;
  CaseSpec spec;
  Prefixes prefixes;
  std::size_t groups;  ///< that pay with pages of 16 tokens and vectors of 8 lanes or more
};

CaseSpec tokens(std::vector<std::int32_t> queries, std::vector<std::int32_t> keys) {
  CaseSpec spec = small_case(0, 0);
  spec.config.causal = true;
  spec.form = Form::ragged;
  spec.queries = std::move(queries);
  spec.keys = std::move(keys);
  return spec;
}

CaseSpec singles(const std::vector<std::int32_t>& keys) {
  return tokens(std::vector<std::int32_t>(keys.size(), 1), keys);
}

/// Branches of branches: each sequence has 256 more keys in common with the next one.
Family ladder() {
  Family family{"ladder", {}, {}, 8};
  std::vector<std::int32_t> keys;
  for (std::int32_t b = 0; b < 12; ++b) {
    keys.push_back(256 * (b + 1) + 10);
    family.prefixes.push_back(256 * b);
  }
  family.spec = singles(keys);
  return family;
}

std::vector<Family> families() {
  std::vector<Family> all = {
      {"one prefix", singles({1025, 1300, 1280, 1100, 2000}), {0, 1024, 1024, 1024, 1024}, 1},
      {"branches", singles({1500, 1800, 1600, 900, 700}), {0, 1300, 1000, 600, 512}, 3},
      {"strangers between",
       singles({600, 800, 300, 900, 950, 10, 0}),
       {0, 512, 0, 0, 800, 5, 0},
       2},
      ladder(),
      {"more than a section", singles({17000, 20000, 16700}), {0, 16640, 16640}, 1},
      {"speculation", tokens({3, 1, 5, 2}, {1050, 1300, 1030, 1600}), {0, 1024, 1024, 768}, 2},
      {"within the prefix", tokens({1, 5, 1}, {900, 515, 900}), {0, 512, 512}, 1},
  };
  Family cross{"all keys", singles({1024, 1024, 1024}), {0, 1024, 1024}, 1};
  cross.spec.config.causal = false;
  all.push_back(cross);
  Family dense = all.front();
  dense.name = "single tokens of a dense batch";
  dense.spec.form = Form::dense;
  dense.spec.keys.assign(5, 1300);
  all.push_back(dense);
  Family window{"window", singles({1500, 1550, 1600}), {0, 1400, 1400}, 1};
  window.spec.config.window_left = 1000;
  all.push_back(window);
  for (Family& family : std::vector<Family>(all.begin(), all.begin() + 2)) {
    for (const float temperature : {0.0F, std::numeric_limits<float>::infinity()}) {
      family.name += ", T = " + std::to_string(temperature);
      family.spec.config.temperature = temperature;
      all.push_back(family);
    }
  }
  Family wide = all.front();
  wide.name = "many heads of whole vectors";
  wide.spec.config.query_heads = 12;
  wide.spec.config.kv_heads = 3;
  wide.spec.config.head_dim = wide.spec.config.value_head_dim = 64;
  all.push_back(wide);
  return all;
}

std::size_t groups_of(const Case& c, const PagedCase& paged, const PlanOptions& options) {
  Plan plan;
  const Status status = plan_attention(c.config(), paged.batch(), options, plan);
  EXPECT_TRUE(status.ok()) << status.message();
  const std::string text = plan.describe(), before = "groups: ";
  const std::size_t at = text.find(before);
  EXPECT_NE(at, std::string::npos) << text;
  return at == std::string::npos ? 0 : std::stoul(text.substr(at + before.size()));
}

/// States of a run, merged.
Outputs run_and_merge(const Case& c, const PagedCase& paged, const PlanOptions& options) {
  Outputs outputs = fresh_outputs(c);
  Plan plan;
  EXPECT_TRUE(plan_attention(c.config(), paged.batch(), options, plan).ok());
  Workspace workspace;
  EXPECT_TRUE(workspace.reserve(plan).ok());
  const StateShape shape = state_shape(plan);
  GuardedBuffer memory(shape.floats());
  const PartialStates states = PartialStates::in(memory.data(), shape);
  Status status = run_partial(plan, paged.tensors(true), states, workspace);
  EXPECT_TRUE(status.ok()) << status.message();
  const AttentionTensors to = outputs.with({});
  const ConstPartialStates all = states;
  status = merge(plan, {&all, 1}, to.out, to.lse);
  EXPECT_TRUE(status.ok()) << status.message();
  return outputs;
}

TEST(SharedPrefixes, HaveTheBitsOfSequencesByThemselves) {
  for (const Family& family : families()) {
    Case c(family.spec);
    share_prefixes(c, family.prefixes);
    for (const std::string_view isa : f32_isas()) {
      const Outputs expected = run_case(c, on(isa));
      for (const std::int64_t page_tokens : {16, 100}) {
        const PagedCase paged(c, page_tokens, Pool::bhsd, family.prefixes);
        for (const int workers : {1, 2, 3, 16}) {
          SCOPED_TRACE(family.name + " on " + std::string(isa) + ", pages of " +
                       std::to_string(page_tokens) + ", workers " + std::to_string(workers));
          const PlanOptions options = on(isa, workers);
          const std::size_t groups = groups_of(c, paged, options);
          const bool all = page_tokens == 16 && isa.starts_with("avx");
          EXPECT_TRUE(!all || groups == family.groups) << groups;
          expect_same_rows(c.geometry(), expected, c.geometry(),
                           run_paged(c, paged, options, workers == 2));
          expect_same_rows(c.geometry(), expected, c.geometry(), run_and_merge(c, paged, options));
          if (HasFailure()) return;
        }
      }
    }
  }
}

// What is infinite or NaN in the prefix is so for all, what is so behind it for one.
TEST(SharedPrefixes, SpreadNothingNonFinite) {
  const Family family = families().front();
  Case c(family.spec);
  c.v()[c.geometry().v({0, 0, 0}, 300)] = std::numeric_limits<float>::infinity();
  share_prefixes(c, family.prefixes);
  c.k()[c.geometry().k({1, 0, 0}, 1200)] = std::numeric_limits<float>::quiet_NaN();
  const Outputs expected = run_case(c, {});
  const PagedCase paged(c, 16, Pool::bshd, family.prefixes);
  expect_same_rows(c.geometry(), expected, c.geometry(), run_paged(c, paged, {}, true));
}

// Much is shared by much work, so that workers split the keys of groups.
TEST(SharedPrefixes, SplitBetweenWorkersToo) {
  CaseSpec spec = singles(std::vector<std::int32_t>(24, 2500));
  for (std::size_t b = 0; b < spec.keys.size(); ++b) spec.keys[b] += static_cast<int>(17 * b);
  spec.config.head_dim = spec.config.value_head_dim = 32;
  Case c(spec);
  Prefixes prefixes(24, 2304);
  prefixes[0] = 0;
  share_prefixes(c, prefixes);
  const Outputs expected = run_case(c, {});
  const PagedCase paged(c, 128, Pool::bhsd, prefixes);
  for (const int workers : {1, 2, 8, 31}) {
    expect_same_rows(c.geometry(), expected, c.geometry(),
                     run_paged(c, paged, on("", workers), true));
    expect_same_rows(c.geometry(), expected, c.geometry(),
                     run_and_merge(c, paged, on("", workers)));
  }
}

// However many sequences and heads there are: here more than 16,384 rows are merged.
TEST(SharedPrefixes, OfManySequencesAndHeads) {
  constexpr std::int32_t sequences = 1030;
  AttentionConfig config;
  config.query_heads = config.kv_heads = 16;
  config.head_dim = 4;
  Batch batch;
  batch.sequences = sequences;
  batch.query.length = 1;
  batch.key.length = kPartitionKeys + 20;
  batch.pages = PagedLayout::bhsd(sequences + 1, kPartitionKeys, 16, 4);
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  const auto numbers = [&](std::int64_t count) {
    std::vector<float> list(static_cast<std::size_t>(count));
    std::ranges::generate(list, [&] { return normal(random); });
    return list;
  };
  const std::vector<float> q = numbers(sequences * 64);
  const std::vector<float> pool = numbers((sequences + 1) * batch.pages->k.page);
  std::vector<std::int32_t> table;  // page 0 for all, then one of its own for each
  for (std::int32_t b = 0; b < sequences; ++b) table.insert(table.end(), {0, b + 1});
  const auto outputs = [&](bool shared) {
    Prefixes prefixes(shared ? sequences : 0, kPartitionKeys);
    if (shared) prefixes[0] = 0;
    batch.shared_prefixes = prefixes;
    Plan plan;
    EXPECT_TRUE(plan_attention(config, batch, on({}, 2), plan).ok());
    const bool grouped =
        plan.describe().find("groups: 1, keys read once: 256,") != std::string::npos;
    EXPECT_EQ(grouped, shared) << plan.describe();
    Workspace workspace;
    EXPECT_TRUE(workspace.reserve(plan).ok());
    std::vector<float> out(q.size());
    const AttentionTensors tensors{.q = q.data(),
                                   .k = pool.data(),
                                   .v = pool.data(),
                                   .out = out.data(),
                                   .tables = {.pages = table, .stride = 2}};
    EXPECT_TRUE(run(plan, tensors, workspace).ok());
    return out;
  };
  const std::vector<float> expected = outputs(false);
  EXPECT_TRUE(std::ranges::equal(outputs(true), expected, same_bits));
}

// Rows that fill a block gain nothing, and those of a padded batch do not follow one another.
TEST(SharedPrefixes, AreReadTogetherOnlyWhereThatHelps) {
  CaseSpec chunks = tokens({100, 100}, {1200, 1200});
  const Prefixes prefixes = {0, 1024};
  const auto groups = [&](const CaseSpec& spec) {
    Case c(spec);
    share_prefixes(c, prefixes);
    return groups_of(c, PagedCase(c, 16, Pool::bshd, prefixes), {});
  };
  EXPECT_EQ(groups(chunks), 0U);
  CaseSpec few = tokens({1, 1}, {1200, 1200});
  EXPECT_EQ(groups(few), 1U);
  few.form = Form::padded;
  few.queries = {1, 2};
  EXPECT_EQ(groups(few), 0U);
  CaseSpec apart = tokens({2, 2}, {1200, 1200});
  apart.form = Form::dense;
  // With vectors of four lanes, blocks of two rows cost less than merging what is read together.
  EXPECT_EQ(groups(apart), supported_isas().front().starts_with("avx") ? 1U : 0U);
  apart.storage = proof::Storage::bhsd;
  EXPECT_EQ(groups(apart), 0U);
}

TEST(SharedPrefixes, TablesWithoutThemAreRefused) {
  const Family family = families().front();
  Case c(family.spec);
  share_prefixes(c, family.prefixes);
  PagedCase paged(c, 16, Pool::bshd, family.prefixes);
  const std::int32_t common = paged.page(0, 63), other = paged.page(4, 100);
  paged.page(3, 63) = other;
  Plan plan;
  ASSERT_TRUE(plan_attention(c.config(), paged.batch(), {}, plan).ok());
  Workspace workspace;
  ASSERT_TRUE(workspace.reserve(plan).ok());
  Outputs outputs = fresh_outputs(c);
  const Outputs untouched = fresh_outputs(c);
  const Status status = run(plan, outputs.with(paged.tensors(true)), workspace);
  EXPECT_EQ(status.code(), StatusCode::invalid_argument);
  EXPECT_EQ(status.message(), "tables: page 63 of sequence 3 (" + std::to_string(other) +
                                  ") must be that of sequence 0 (" + std::to_string(common) +
                                  "): by shared_prefixes they have it in common");
  EXPECT_TRUE(std::ranges::equal(outputs.out.span(), untouched.out.span(), same_bits));
}

TEST(SharedPrefixes, ThatCannotBeAreRefused) {
  const Case c(singles({600, 300, 500}));
  const PagedCase paged(c, 16, Pool::bshd);
  const auto message = [&](const Prefixes& prefixes, bool pages = true) {
    Batch batch = pages ? paged.batch() : c.batch();
    batch.shared_prefixes = prefixes;
    Plan plan;
    return plan_attention(c.config(), batch, {}, plan).message();
  };
  EXPECT_EQ(message({0, 300, 300}), "");
  EXPECT_EQ(message({0, 300}),
            "shared_prefixes has 2 entries; it must have one for each of 3 sequences");
  EXPECT_EQ(message({1, 0, 0}),
            "shared_prefixes[0] (1) must be from 0 to 0: there is no sequence before it");
  EXPECT_EQ(message({0, 301, 0}),
            "shared_prefixes[1] (301) must be from 0 to 300, the keys of both sequences");
  EXPECT_EQ(message({0, 0, -1}),
            "shared_prefixes[2] (-1) must be from 0 to 300, the keys of both sequences");
  EXPECT_EQ(message({0, 0, 0}, false), "shared_prefixes need keys and values in pages");
}

}  // namespace
}  // namespace heed::tests
