// Every fault of a description is found while planning, with a sentence that names the field and
// its value; a failure changes nothing.
#include <sys/resource.h>

#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "tests/support/attention_run.h"
#include "tests/support/this_build.h"

namespace heed::tests {
namespace {

constexpr std::int64_t kLargest = std::numeric_limits<std::int64_t>::max();

/// A valid description, with arrays for its lengths.
struct Description {
  AttentionConfig config;
  Batch batch;
  PlanOptions options;
  std::vector<std::int32_t> numbers;

  Description() {
    config.query_heads = 8;
    config.kv_heads = 2;
    config.head_dim = 16;
    batch.sequences = 3;
    batch.query.length = 5;
    batch.key.length = 40;
  }
  std::span<const std::int32_t> list(std::vector<std::int32_t> values) {
    numbers = std::move(values);
    return numbers;
  }
  Status plan(Plan& into) const { return plan_attention(config, batch, options, into); }
};

struct Fault {
  const char* name;
  std::function<void(Description&)> commit;
  std::vector<std::string> named;  ///< what the message must contain
};

void expect_refused(const Fault& fault) {
  SCOPED_TRACE(fault.name);
  Description good;
  Plan plan;
  ASSERT_TRUE(good.plan(plan).ok());
  const std::string before = plan.describe();
  Description bad;
  fault.commit(bad);
  const Status status = bad.plan(plan);
  EXPECT_EQ(status.code(), StatusCode::invalid_argument);
  for (const std::string& part : fault.named) {
    EXPECT_NE(status.message().find(part), std::string::npos)
        << '"' << status.message() << "\" does not say \"" << part << '"';
  }
  EXPECT_EQ(plan.describe(), before);
  Plan empty;
  EXPECT_FALSE(bad.plan(empty).ok());
  EXPECT_EQ(empty.workers(), 0);
}

/// The most memory that this process has had.
std::size_t peak_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::size_t>(usage.ru_maxrss) << 10;
}

void expect_all_refused(const std::vector<Fault>& faults) {
  for (const Fault& fault : faults) expect_refused(fault);
}

TEST(AttentionErrors, TheDescriptionThatFaultsAreMadeFromIsGood) {
  Plan plan;
  const Status status = Description().plan(plan);
  EXPECT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(status.code(), StatusCode::ok);
  EXPECT_TRUE(status.message().empty());
  EXPECT_EQ(plan.visible_scores(), 3 * 8 * 5 * 40);
}

TEST(AttentionErrors, Heads) {
  expect_all_refused({
      {"no query heads", [](auto& d) { d.config.query_heads = 0; }, {"query_heads", "(0)"}},
      {"negative query heads", [](auto& d) { d.config.query_heads = -8; }, {"query_heads", "(-8)"}},
      {"no kv heads", [](auto& d) { d.config.kv_heads = 0; }, {"kv_heads", "(0)"}},
      {"negative kv heads", [](auto& d) { d.config.kv_heads = -2; }, {"kv_heads", "(-2)"}},
      {"no divisor",
       [](auto& d) { d.config.kv_heads = 3; },
       {"kv_heads (3) must divide query_heads (8)"}},
      {"more kv heads",
       [](auto& d) { d.config.kv_heads = 16; },
       {"kv_heads (16) must divide query_heads (8)"}},
      {"no head_dim", [](auto& d) { d.config.head_dim = 0; }, {"head_dim", "(0)", "1024"}},
      {"negative head_dim", [](auto& d) { d.config.head_dim = -1; }, {"head_dim", "(-1)", "1024"}},
      {"large head_dim", [](auto& d) { d.config.head_dim = 1025; }, {"head_dim", "(1025)", "1024"}},
      {"large value_head_dim",
       [](auto& d) { d.config.value_head_dim = 1025; },
       {"value_head_dim", "(1025)", "1024"}},
      {"negative value_head_dim",
       [](auto& d) { d.config.value_head_dim = -7; },
       {"value_head_dim", "(-7)"}},
  });
}

TEST(AttentionErrors, MasksScaleAndTemperature) {
  expect_all_refused({
      {"window_left", [](auto& d) { d.config.window_left = -1; }, {"window_left", "(-1)"}},
      {"window_right", [](auto& d) { d.config.window_right = -3; }, {"window_right", "(-3)"}},
      {"alignment",
       [](auto& d) { d.config.alignment = static_cast<Alignment>(7); },
       {"alignment", "7"}},
      {"NaN scale", [](auto& d) { d.config.scale = std::nanf(""); }, {"scale", "nan"}},
      {"infinite scale", [](auto& d) { d.config.scale = INFINITY; }, {"scale", "inf"}},
      {"negative temperature",
       [](auto& d) { d.config.temperature = -0.5F; },
       {"temperature", "-0.5"}},
      {"NaN temperature",
       [](auto& d) { d.config.temperature = std::nanf(""); },
       {"temperature", "nan"}},
      {"quotient overflow",
       [](auto& d) {
         d.config.scale = 1e30F;
         d.config.temperature = 1e-30F;
       },
       {"scale", "temperature", "1e+30", "1e-30"}},
  });
}

TEST(AttentionErrors, Lengths) {
  expect_all_refused({
      {"sequences", [](auto& d) { d.batch.sequences = -1; }, {"sequences", "(-1)"}},
      {"query length", [](auto& d) { d.batch.query.length = -5; }, {"query.length", "(-5)"}},
      {"key length", [](auto& d) { d.batch.key.length = -5; }, {"key.length", "(-5)"}},
      {"too few lengths",
       [](auto& d) {
         d.batch.key.lengths = d.list({1, 2});
       },
       {"key.lengths", "2", "3"}},
      {"negative entry",
       [](auto& d) {
         d.batch.query.lengths = d.list({1, -2, 3});
       },
       {"query.lengths[1]", "(-2)"}},
      {"entry beyond the slot",
       [](auto& d) {
         d.batch.query.lengths = d.list({1, 2, 6});
       },
       {"query.lengths[2]", "(6)", "(5)"}},
      {"too few offsets",
       [](auto& d) {
         d.batch.key.length = 0;
         d.batch.key.offsets = d.list({0, 1, 2});
       },
       {"key.offsets", "3", "4"}},
      {"offsets not from 0",
       [](auto& d) {
         d.batch.key.length = 0;
         d.batch.key.offsets = d.list({1, 2, 3, 4});
       },
       {"key.offsets[0]", "(1)"}},
      {"falling offsets",
       [](auto& d) {
         d.batch.query.length = 0;
         d.batch.query.offsets = d.list({0, 4, 3, 5});
       },
       {"query.offsets[2]", "(3)", "(4)"}},
      {"a length beside offsets",
       [](auto& d) {
         d.batch.key.offsets = d.list({0, 1, 2, 3});
       },
       {"key.length (40)", "key.offsets"}},
      {"both forms",
       [](auto& d) {
         d.batch.query.lengths = d.list({0, 1, 2, 3});
         d.batch.query.offsets = d.numbers;
       },
       {"query.lengths", "query.offsets"}},
  });
}

TEST(AttentionErrors, SizesBeyond64Bits) {
  expect_all_refused({
      {"sequences", [](auto& d) { d.batch.sequences = kLargest; }, {"sequences"}},
      {"query length", [](auto& d) { d.batch.query.length = kLargest; }, {"query.length"}},
      {"key length", [](auto& d) { d.batch.key.length = kLargest / 2; }, {"key.length"}},
      {"heads",
       [](auto& d) { d.config.query_heads = d.config.kv_heads = kLargest; },
       {"query_heads"}},
      {"product of lengths",
       [](auto& d) {
         d.batch.sequences = kMaxSequences;
         d.batch.key.length = 2'000'000'000;
         d.config.head_dim = 512;
       },
       {"k (16777216 sequences of 2000000000 tokens", "address space"}},
      {"default layout",
       [](auto& d) {
         d.config.query_heads = d.config.kv_heads = d.batch.query.length = 0x7FFFFFFF;
       },
       {"q (", "2147483647 tokens"}},
      {"lowest stride of one sequence",
       [](auto& d) {
         d.batch.sequences = 1;
         d.batch.out = Layout{-kLargest - 1, 128, 16};
       },
       {"of out"}},
      {"q stride",
       [](auto& d) {
         d.batch.q = Layout{kLargest / 2, 128, 16};
       },
       {"of q"}},
      {"k stride",
       [](auto& d) {
         d.batch.k = Layout{1280, kLargest / 8, 16};
       },
       {"of k"}},
      {"v stride",
       [](auto& d) {
         d.batch.v = Layout{1280, 32, -kLargest};
       },
       {"of v"}},
      {"out stride",
       [](auto& d) {
         d.batch.out = Layout{-kLargest - 1, 128, 16};
       },
       {"of out"}},
      {"lse stride",
       [](auto& d) {
         d.batch.lse = Layout{40, kLargest, 5};
       },
       {"of lse"}},
  });
}

TEST(AttentionErrors, RowsBeyond31Bits) {
  expect_refused({"rows",
                  [](auto& d) {
                    d.config.query_heads = 1 << 20;
                    d.config.kv_heads = 1;
                    d.config.head_dim = 1;
                    d.batch.query.length = 1 << 20;
                  },
                  {"queries", "1048576"}});
}

TEST(AttentionErrors, VisiblePrefixes) {
  static constexpr std::array<std::int32_t, 2> none = {0, 0}, large = {3, 11}, negative = {-1, 0};
  const auto two = [](Description& d) {
    d.config = {.query_heads = 1, .kv_heads = 1, .head_dim = 1};
    d.batch.sequences = 2;
    d.batch.query.length = 3;
    d.batch.key.length = 10;
  };
  expect_all_refused({
      {"number",
       [&](auto& d) {
         two(d);
         d.batch.visible_prefixes = std::span(none).first(1);
       },
       {"visible_prefixes has 1 entries; it must have one for each of 2 sequences"}},
      {"too long",
       [&](auto& d) {
         two(d);
         d.batch.visible_prefixes = large;
       },
       {"visible_prefixes[1] (11) must be from 0 to 10, the keys of the sequence"}},
      {"negative",
       [&](auto& d) {
         two(d);
         d.batch.visible_prefixes = negative;
       },
       {"visible_prefixes[0] (-1) must be from 0 to 10"}},
  });
}

// What would take more memory than any plan should is refused before any of it is taken.
TEST(AttentionErrors, MoreThanAPlanMayHave) {
  const std::size_t before = peak_bytes();
  const auto tiny = [](Description& d) {
    d.config = {.query_heads = 1, .kv_heads = 1, .head_dim = 1};
    d.batch.query.length = d.batch.key.length = 1;
  };
  expect_all_refused({
      {"sequences",
       [&](auto& d) {
         tiny(d);
         d.batch.sequences = 0x7FFFFFFF;
       },
       {"sequences (2147483647) must be from 0 to 16777216"}},
      {"heads",
       [&](auto& d) {
         tiny(d);
         d.config.query_heads = d.config.kv_heads = 0x7FFFFFFF;
       },
       {"3 items", "2147483647 KV heads", "16777216"}},
      {"sequences and heads",
       [&](auto& d) {
         tiny(d);
         d.batch.sequences = 1 << 13;
         d.config.query_heads = d.config.kv_heads = 1 << 12;
       },
       {"8192 items", "4096 KV heads", "16777216"}},
      {"small items",
       [&](auto& d) {
         tiny(d);
         d.options.item_rows = 1;
         d.batch.query.length = 0x7FFFF000;
       },
       {"items of up to", "16777216"}},
  });
  EXPECT_LT(peak_bytes() - before, std::size_t{64} << 20);
}

// Many heads or many keys are no fault while their rows fit; strides of 0 need no memory.
TEST(AttentionErrors, NumbersJustBelow31Bits) {
  Description d;
  d.config.kv_heads = 1;
  d.config.query_heads = 10'000'000;
  d.batch.sequences = 1;
  d.batch.query.length = 1;
  d.batch.key.length = 0x7FFFFFFF;
  d.batch.k = d.batch.v = Layout{0, 0, 0};
  d.options.workers = 8;
  Plan plan;
  const Status status = d.plan(plan);
  ASSERT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(plan.visible_scores(), std::int64_t{10'000'000} * 0x7FFFFFFF);
}

/// A description with so many keys, of tensors that need no memory.
Description of_keys(std::int64_t queries, std::int64_t keys, int workers) {
  Description d;
  d.config = {.query_heads = 4, .kv_heads = 2, .head_dim = 8};
  d.batch.sequences = 1;
  d.batch.query.length = queries;
  d.batch.key.length = keys;
  d.batch.k = d.batch.v = Layout{0, 0, 0};
  d.options.workers = workers;
  return d;
}

void expect_scores(const Description& d, std::int64_t scores) {
  Plan plan;
  const Status status = d.plan(plan);
  ASSERT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(plan.visible_scores(), scores);
  EXPECT_NE(plan.describe().find("balance"), std::string::npos);
}

// Lengths around the largest one, with every mask: sanitizers see that no number overflows.
TEST(AttentionErrors, MasksJustBelow31Bits) {
  constexpr std::int64_t largest = 0x7FFFFFFF;
  for (const std::int64_t keys : {largest, largest - 255, largest - 256}) {
    for (const int workers : {1, 64}) {
      for (const std::int64_t queries : {std::int64_t{1}, std::int64_t{100}}) {
        SCOPED_TRACE(std::to_string(keys) + " keys, " + std::to_string(queries) + " queries");
        Description d = of_keys(queries, keys, workers);
        expect_scores(d, 4 * queries * keys);
        d.config.causal = true;
        expect_scores(d, 4 * (queries * keys - queries * (queries - 1) / 2));
        d.config.alignment = Alignment::start;
        expect_scores(d, 4 * queries * (queries + 1) / 2);
        d.config.alignment = Alignment::end;
        d.config.window_left = 1000;
        expect_scores(d, 4 * queries * 1001);
        d.config.window_left = largest - 1;
        expect_scores(d, 4 * (queries * keys - queries * (queries - 1) / 2));
        d.config = {.query_heads = 4, .kv_heads = 2, .head_dim = 8, .window_right = largest};
        expect_scores(d, 4 * queries * keys);
        d.config.window_left = 0;
        expect_scores(d, 4 * queries * (queries + 1) / 2);
        d.batch.shard = KeyShard{.first_key = 0, .whole_length = largest};
        d.batch.key.length = largest / 256 * 256;
        d.config.window_left = kUnlimited;
        expect_scores(d, 4 * queries * (largest / 256 * 256));
      }
    }
  }
}

// As many queries as fit, and as many keys: nearly 2⁶² scores.
TEST(AttentionErrors, RowsJustBelow31Bits) {
  const std::int64_t queries = 0x7FFFFFFF - 384 - 1, keys = 0x7FFFFFFF;
  Description d = of_keys(queries, keys, 1);
  d.config = {.query_heads = 1, .kv_heads = 1, .head_dim = 1, .causal = true};
  expect_scores(d, queries * (keys - queries) + queries * (queries + 1) / 2);
}

// Offsets up to the largest one, prefixes and pages as long as that.
TEST(AttentionErrors, RaggedAndPagedKeysJustBelow31Bits) {
  constexpr std::int32_t largest = 0x7FFFFFFF;
  for (const int workers : {1, 8}) {
    Description d = of_keys(1, 0, workers);
    d.batch.sequences = 2;
    d.batch.key.offsets = d.list({0, largest - 300, largest});
    expect_scores(d, std::int64_t{4} * largest);
    d = of_keys(1, largest, workers);
    d.batch.sequences = 3;
    d.batch.k = d.batch.v = {};
    d.batch.shared_prefixes = d.list({0, largest, largest});
    for (const std::int64_t page_tokens : {std::int64_t{1} << 20, std::int64_t{largest}}) {
      d.batch.pages = PagedLayout::bshd(5000, page_tokens, 2, 8);
      expect_scores(d, std::int64_t{12} * largest);
    }
  }
}

TEST(AttentionErrors, OutputsThatOverlapThemselves) {
  expect_all_refused({
      {"equal heads",
       [](auto& d) {
         d.batch.out = Layout{640, 128, 0};
       },
       {"of out", "overlap"}},
      {"tokens within heads",
       [](auto& d) {
         d.batch.out = Layout{640, 120, 16};
       },
       {"of out", "overlap"}},
      {"sequences within tokens",
       [](auto& d) {
         d.batch.out = Layout{600, 128, 16};
       },
       {"of out", "overlap"}},
      {"lse",
       [](auto& d) {
         d.batch.lse = Layout{40, 1, 4};
       },
       {"of lse", "overlap"}},
  });
}

// A key or value head that all heads share has stride 0, and inputs may overlap as they like.
TEST(AttentionErrors, InputsMayOverlapThemselves) {
  Description d;
  d.batch.k = Layout{0, 16, 0};
  d.batch.v = Layout{0, 0, 0};
  Plan plan;
  const Status status = d.plan(plan);
  EXPECT_TRUE(status.ok()) << status.message();
}

TEST(AttentionErrors, Options) {
  expect_all_refused({
      {"negative workers", [](auto& d) { d.options.workers = -1; }, {"workers", "(-1)"}},
      {"huge workers", [](auto& d) { d.options.workers = 1 << 30; }, {"workers", "(1073741824)"}},
      {"small tile", [](auto& d) { d.options.tile_keys = 8; }, {"tile_keys", "(8)", "16", "256"}},
      {"large tile", [](auto& d) { d.options.tile_keys = 512; }, {"tile_keys", "(512)"}},
      {"odd tile", [](auto& d) { d.options.tile_keys = 48; }, {"tile_keys", "(48)"}},
      {"negative tile", [](auto& d) { d.options.tile_keys = -16; }, {"tile_keys", "(-16)"}},
      {"negative rows", [](auto& d) { d.options.item_rows = -1; }, {"item_rows", "(-1)"}},
      {"many rows", [](auto& d) { d.options.item_rows = 385; }, {"item_rows", "(385)", "0 to 384"}},
      {"unknown ISA",
       [](auto& d) { d.options.isa = "sparc"; },
       {"isa", "sparc", std::string(kTestIsaNames)}},
  });
}

/// A planned case with everything that a run needs.
struct Ready {
  proof::Case c;
  Plan plan;
  Workspace workspace;
  Outputs outputs;
  AttentionTensors tensors;

  Ready() : c(spec()), plan(plan_case(c, options())), outputs(fresh_outputs(c)) {
    EXPECT_TRUE(workspace.reserve(plan).ok());
    tensors = outputs.with(c.inputs());
  }
  static proof::CaseSpec spec() {
    proof::CaseSpec spec;
    spec.config.head_dim = 16;
    spec.queries = {5};
    spec.keys = {40};
    return spec;
  }
  static PlanOptions options() {
    PlanOptions options;
    options.workers = 3;
    return options;
  }
  void expect_refused(const Status& status, const std::vector<std::string>& named) const {
    EXPECT_EQ(status.code(), StatusCode::invalid_argument);
    for (const std::string& part : named) {
      EXPECT_NE(status.message().find(part), std::string::npos)
          << '"' << status.message() << "\" does not say \"" << part << '"';
    }
  }
  void expect_both_refuse(const std::vector<std::string>& named) {
    expect_refused(run(plan, tensors, workspace), named);
    expect_refused(run_share(plan, tensors, workspace, 0, 1), named);
  }
};

TEST(AttentionErrors, RunsWithoutATensor) {
  for (const char* name : {"q", "k", "v", "out"}) {
    SCOPED_TRACE(name);
    Ready ready;
    if (*name == 'q') ready.tensors.q = nullptr;
    if (*name == 'k') ready.tensors.k = nullptr;
    if (*name == 'v') ready.tensors.v = nullptr;
    if (*name == 'o') ready.tensors.out = nullptr;
    ready.expect_both_refuse({name, "null"});
  }
}

TEST(AttentionErrors, RunsWithoutAPlanOrRoom) {
  Ready ready;
  const std::string needed = std::to_string(ready.plan.workspace_bytes());
  ready.workspace = Workspace();
  ready.expect_both_refuse({"workspace", "0 bytes", needed});
  ready.plan = Plan();
  ready.expect_both_refuse({"plan"});
  EXPECT_EQ(ready.plan.workspace_bytes(), 0U);
  EXPECT_EQ(ready.plan.visible_scores(), 0);
  EXPECT_TRUE(ready.plan.isa().empty());
}

TEST(AttentionErrors, SharesThatDoNotExist) {
  Ready ready;
  const auto share = [&](int ith, int nth) {
    return run_share(ready.plan, ready.tensors, ready.workspace, ith, nth);
  };
  ready.expect_refused(share(0, 0), {"nth", "(0)"});
  ready.expect_refused(share(0, -2), {"nth", "(-2)"});
  ready.expect_refused(share(0, 4), {"nth", "(4)", "(3)"});
  ready.expect_refused(share(-1, 2), {"ith", "(-1)"});
  ready.expect_refused(share(2, 2), {"ith", "(2)"});
  EXPECT_TRUE(share(0, 1).ok());
  expect_exactly_rows_written(ready.c.geometry(), ready.outputs);
}

TEST(AttentionErrors, ExecutorsOfNoThreads) {
  Executor executor;
  EXPECT_EQ(executor.threads(), 0);
  for (const int threads : {0, -1}) {
    const Status status = Executor::create(threads, executor);
    EXPECT_EQ(status.code(), StatusCode::invalid_argument);
    EXPECT_NE(status.message().find("threads (" + std::to_string(threads) + ")"),
              std::string::npos);
    EXPECT_EQ(executor.threads(), 0);
  }
}

}  // namespace
}  // namespace heed::tests
