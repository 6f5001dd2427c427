// What `heed bench` is made of: its workloads, their inputs, and its clock.
#include "bench/bench.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <fstream>
#include <numeric>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "bench/attention_case.h"
#include "bench/cache_pages.h"
#include "bench/memory.h"
#include "bench/timing.h"
#include "bench/workloads.h"
#include "tests/bench/bench_workload.h"
#include "tests/proof/numbers.h"

namespace heed::tests {
namespace {

using bench::AttentionCase;
using bench::AttentionWorkload;
using bench::Pool;
using bench::SoftmaxWorkload;
using bench::TensorLayout;
using bench::Workload;
using Lengths32 = std::vector<std::int32_t>;

using proof::kNan;

TEST(BenchWorkloads, Attention) {
  const AttentionWorkload w = attention("name b=3 hq=8 hkv=2 q=5 kv=7 d=64 causal");
  EXPECT_EQ(w.query_heads, 8);
  EXPECT_EQ(w.kv_heads, 2);
  EXPECT_EQ(w.head_dim, 64);
  EXPECT_EQ(w.query_lengths, (Lengths32{5, 5, 5}));
  EXPECT_EQ(w.kv_lengths, (Lengths32{7, 7, 7}));
  EXPECT_TRUE(w.causal);
  EXPECT_FALSE(w.sharp);
  EXPECT_EQ(w.layout, TensorLayout::usual);
  EXPECT_TRUE(w.cached());
  EXPECT_FALSE(attention("name b=3 hq=8 hkv=2 q=5 kv=5 d=64").causal);
}

TEST(BenchWorkloads, WordsInAnyOrderMostOfThemLeftOut) {
  const AttentionWorkload w = attention("name causal d=64 q=5 hq=8");
  EXPECT_EQ(w.query_heads, 8);
  EXPECT_EQ(w.kv_heads, 8);
  EXPECT_EQ(w.query_lengths, (Lengths32{5}));
  EXPECT_EQ(w.kv_lengths, w.query_lengths);
  EXPECT_TRUE(w.causal);
  EXPECT_FALSE(w.cached());
}

TEST(BenchWorkloads, LengthsOfEachSequence) {
  const AttentionWorkload w = attention("name hq=8 hkv=2 q=2*256+1+9 d=64");
  EXPECT_EQ(w.query_lengths, (Lengths32{256, 256, 1, 9}));
  EXPECT_EQ(w.kv_lengths, w.query_lengths);
  EXPECT_FALSE(w.cached());
  EXPECT_EQ(attention("name b=3 hq=8 q=1 kv=3*7 d=64").kv_lengths, (Lengths32{7, 7, 7}));
  EXPECT_EQ(attention("name hq=8 q=1 kv=5+6+7 d=64").query_lengths, (Lengths32{1, 1, 1}));
}

/// name, then shape, of each workload of a line.
std::vector<std::pair<std::string, std::string>> shapes_of(const std::string& line) {
  std::vector<std::pair<std::string, std::string>> shapes;
  for (const Workload& workload : parse(line)) shapes.emplace_back(workload.name, workload.shape);
  return shapes;
}

TEST(BenchWorkloads, ListsAndRangesAreSeveralWorkloads) {
  using Shapes = std::vector<std::pair<std::string, std::string>>;
  EXPECT_EQ(shapes_of("x hq=2,4 q=1 kv-type=f16,f32 d=8 beside=y"),
            (Shapes{{"x-hq2-kv-type-f16", "hq=2 q=1 kv-type=f16 d=8"},
                    {"x-hq2-kv-type-f32", "hq=2 q=1 kv-type=f32 d=8"},
                    {"x-hq4-kv-type-f16", "hq=4 q=1 kv-type=f16 d=8"},
                    {"x-hq4-kv-type-f32", "hq=4 q=1 kv-type=f32 d=8"}}));
  EXPECT_EQ(shapes_of("hq=1 q=3..20,7 d=8"), (Shapes{{"hq1-q3-d8", "hq=1 q=3 d=8"},
                                                     {"hq1-q6-d8", "hq=1 q=6 d=8"},
                                                     {"hq1-q12-d8", "hq=1 q=12 d=8"},
                                                     {"hq1-q7-d8", "hq=1 q=7 d=8"}}));
  EXPECT_EQ(shapes_of("x hq=1 q=5..11:3 d=8 causal"), (Shapes{{"x-q5", "hq=1 q=5 d=8 causal"},
                                                              {"x-q8", "hq=1 q=8 d=8 causal"},
                                                              {"x-q11", "hq=1 q=11 d=8 causal"}}));
  EXPECT_EQ(shapes_of("causal hq=1 q=5+6 d=8"),
            (Shapes{{"causal-hq1-q5+6-d8", "causal hq=1 q=5+6 d=8"}}));
  EXPECT_EQ(parse("x hq=1 q=1..1000:1 d=8").size(), 1000U);
}

TEST(BenchWorkloads, InputsAndLayout) {
  const std::vector<std::pair<std::string, std::pair<bool, TensorLayout>>> options = {
      {"", {false, TensorLayout::usual}},         {"sharp", {true, TensorLayout::usual}},
      {"bshd", {false, TensorLayout::bshd}},      {"bhsd", {false, TensorLayout::bhsd}},
      {"sharp bshd", {true, TensorLayout::bshd}}, {"bhsd sharp", {true, TensorLayout::bhsd}},
  };
  for (const auto& [words, expected] : options) {
    const AttentionWorkload w = attention("name hq=2 q=8 d=64 " + words);
    EXPECT_EQ(w.sharp, expected.first) << words;
    EXPECT_EQ(w.layout, expected.second) << words;
  }
}

TEST(BenchWorkloads, Pages) {
  const AttentionWorkload dense = attention("name b=2 hq=2 hkv=2 q=1 kv=64+70 d=64");
  EXPECT_FALSE(dense.paged());
  EXPECT_EQ(dense.shared_keys, 0);
  const AttentionWorkload paged = attention("name b=2 hq=2 hkv=2 q=1 kv=64+70 d=64 pages=16");
  EXPECT_TRUE(paged.paged());
  EXPECT_EQ(paged.page_tokens, 16);
  EXPECT_EQ(paged.shared_keys, 0);
  const AttentionWorkload all = attention(
      "name b=2 hq=2 hkv=2 q=1 kv=64+70 d=64 sharp bshd pages=16 shared=64 q-type=bf16 "
      "kv-type=q8_0");
  EXPECT_TRUE(all.sharp);
  EXPECT_EQ(all.layout, TensorLayout::bshd);
  EXPECT_EQ(all.page_tokens, 16);
  EXPECT_EQ(all.shared_keys, 64);
  EXPECT_EQ(all.q_type, DType::bf16);
  EXPECT_EQ(all.kv_type, DType::q8_0);
}

TEST(BenchWorkloads, WindowsAndModifiers) {
  const AttentionWorkload plain = attention("x b=1 hq=2 hkv=2 q=9 kv=9 d=8 causal");
  EXPECT_EQ(plain.window, 0);
  EXPECT_EQ(proof::to_string(plain.modifiers), "");
  const AttentionWorkload all =
      attention("x b=1 hq=2 hkv=2 q=9 kv=9 d=8 causal window=4 softcap=50 alibi sinks bias=pair");
  EXPECT_EQ(all.window, 4);
  EXPECT_EQ(all.modifiers.softcap, 50.0F);
  EXPECT_TRUE(all.modifiers.alibi);
  EXPECT_TRUE(all.modifiers.sinks);
  EXPECT_EQ(all.modifiers.biases, proof::Biases::by_pair);
  const AttentionCase c(all);
  EXPECT_EQ(c.config().window_left, 3);
  EXPECT_NE(c.modifiers().bias.data, nullptr);
  EXPECT_NE(c.modifiers().sinks, nullptr);
  EXPECT_EQ(c.layout(), "bshd; softcap 50.000000 alibi sinks f32 biases by pair");
  const AttentionWorkload decode = attention("x b=1 hq=2 hkv=2 q=1 kv=9 d=8 causal window=4");
  EXPECT_EQ(AttentionCase(decode).needed_bytes(), 4 * 2 * 8 * 2 * 4);
}

TEST(BenchWorkloads, Softmax) {
  const Workload plain = parse_one("name rows=12 length=34");
  const Workload resident = parse_one("name rows=12 length=34 resident");
  const auto& softmax = std::get<SoftmaxWorkload>(plain.what);
  EXPECT_EQ(plain.kind(), "softmax");
  EXPECT_EQ(softmax.rows, 12);
  EXPECT_EQ(softmax.length, 34);
  EXPECT_FALSE(softmax.resident);
  EXPECT_TRUE(std::get<SoftmaxWorkload>(resident.what).resident);
}

TEST(BenchWorkloads, KindsOfAttention) {
  EXPECT_EQ(parse_one("name b=2 hq=8 hkv=2 q=1 kv=7 d=64").kind(), "decode");
  EXPECT_EQ(parse_one("name b=2 hq=8 hkv=2 q=1+2 kv=7 d=64").kind(), "prefill");
  EXPECT_EQ(parse_one("name b=2 hq=8 hkv=2 q=7 kv=7 d=64").kind(), "prefill");
}

TEST(BenchWorkloads, CommentsAndEmptyLines) {
  const std::vector<Workload> workloads =
      parse("# head\n\n  \na hq=1 q=1 d=1\r\n#\nb rows=1 length=1\n");
  ASSERT_EQ(workloads.size(), 2U);
  EXPECT_EQ(workloads[0].name, "a");
  EXPECT_EQ(workloads[1].name, "b");
}

TEST(BenchWorkloads, Faults) {
  const std::vector<std::pair<std::string, std::string>> faults = {
      {"name", "q is missing"},
      {"name q=1 d=8", "hq is missing"},
      {"name q=1 hq=2", "d is missing"},
      {"name q=1 d=8 hq=0", "hq (0) must be a whole number of at least 1"},
      {"name q=1 d=8 hq=2 hkv=-1", "hkv (-1) must be"},
      {"name q=1 hq=2 d=64.5", "d (64.5) must be"},
      {"name q=1 hq=2 d=8 kv=99999999999", "kv (99999999999) must be"},
      {"name q=9..5 hq=2 d=8", "q (9..5) must be a whole number"},
      {"name q=1..8:0 hq=2 d=8", "q (1..8:0) must be a whole number"},
      {"name b=2 hq=2 q=8+9+10 d=8",
       "q must be one length, or 2 with plus signs between: one for each sequence"},
      {"name b=2 hq=2 q=8 kv=3*8 d=8", "kv must be one length, or 2 with plus signs"},
      {"name hq=2 q=8+9 kv=8+9+10 d=8", "q must be one length, or 3 with plus signs"},
      {"name hq=2 q=x*8 d=8", "q (x) must be"},
      {"name hq=2 q=2* d=8", "q () must be"},
      {"name hq=2 q=99999999*8 d=8", "q must have at most 16777216 sequences"},
      {"name b=99999999 hq=2 q=8 d=8", "b (99999999) must be at most 16777216"},
      {"name hq=2 q=8 d=8 cusal",
       "'cusal' does not belong here; words are b, hq, hkv, q, kv, d, causal, sharp, bshd, bhsd, "
       "pages, shared, q-type, kv-type, window, softcap, alibi, sinks, bias, visible, explained "
       "and beside"},
      {"name hq=2 q=8 d=8 bshd bhsd", "'bhsd' does not belong here"},
      {"name hq=2 q=8 d=8 page=4", "'page=4' does not belong here"},
      {"name hq=2 q=8 d=8 causal causal", "'causal' stands twice"},
      {"name hq=2 q=8 d=8 hq=4", "'hq' stands twice"},
      {"name hq=2 q=8 d=8 window=4", "window (4) needs causal"},
      {"name hq=2 q=8 d=8 causal pages=4 shared=4 window=4",
       "window (4) and shared exclude each other"},
      {"name hq=2 q=8 d=8 bias=some", "bias (some) must be all, key, pair or row"},
      {"name hq=2 q=8 d=8 bias=none", "bias (none) must be all, key, pair or row"},
      {"name hq=2 q=8 d=8 visible=half", "visible (half) must be padding, tree or blocks"},
      {"name hq=2 q=8+9 d=8 visible=padding", "visible needs sequences of one length"},
      {"name hq=2 q=8 d=8 pages=0", "pages (0) must be a whole number of at least 1"},
      {"name hq=2 q=8 d=8 pages=", "pages () must be a whole number of at least 1"},
      {"name hq=2 q=8 d=8 shared=4", "shared (4) needs keys and values in pages: pages=N"},
      {"name hq=2 q=8 d=8 pages=4 shared=6",
       "shared (6) must be a multiple of the 4 tokens of a page"},
      {"name hq=2 q=1 kv=16+11+16 d=8 pages=4 shared=12",
       "shared (12) must be at most 11, the keys of the shortest sequence"},
      {"name hq=2 q=8 d=8 q-type=q8_0", "q-type (q8_0) must be f32, f16 or bf16"},
      {"name hq=2 q=8 d=8 kv-type=f8", "kv-type (f8) must be an element type"},
      {"name hq=1000000 q=1000000 d=8",
       "queries, keys, masks and biases must each have at most 2^40 numbers"},
      {"name hq=1000 q=100000 d=8 bias=key", "queries, keys, masks and biases must"},
      {"name hq=1..2000:1 q=8 d=8", "lists and ranges must stand for at most 1000 workloads"},
      {"name hq=1,2 q=8 d=1..1000:1 kv=1..1000:1", "lists and ranges must stand for at most"},
      {"name rows=3", "length is missing"},
      {"name rows=3 length=4 present",
       "'present' does not belong here; words are rows, length and resident"},
      {"name rows=3 length=4 causal", "'causal' does not belong here"},
      {"name rows=2000000 length=2000000", "rows and length must have at most 2^40 numbers"},
  };
  for (const auto& [line, part] : faults) {
    std::vector<Workload> workloads;
    const Status status =
        bench::parse_workloads("mine", "\n# two lines before\n" + line, workloads);
    EXPECT_EQ(status.code(), StatusCode::invalid_argument) << line;
    EXPECT_TRUE(status.message().starts_with("mine, line 3: " + part)) << status.message();
    EXPECT_TRUE(workloads.empty()) << line;
  }
}

TEST(BenchWorkloads, Selection) {
  std::vector<Workload> all, some;
  EXPECT_TRUE(bench::parse_built_in(all).ok());
  EXPECT_TRUE(bench::check_names(all).ok());
  some = all;
  EXPECT_TRUE(bench::select_workloads("^softmax-", some).ok());
  EXPECT_EQ(some.size(), 2U);
  EXPECT_GT(all.size(), some.size());
  all.push_back(all.front());
  EXPECT_EQ(bench::check_names(all).message(), "two workloads have the name bert-base-b8-s128");
}

TEST(BenchWorkloads, TypesOfAllOfThem) {
  std::vector<Workload> some = parse("x hq=2 q=8 kv-type=f16 d=8\ny rows=2 length=3");
  bench::set_types(DType::bf16, DType::int8, some);
  EXPECT_EQ(std::get<AttentionWorkload>(some[0].what).q_type, DType::bf16);
  EXPECT_EQ(std::get<AttentionWorkload>(some[0].what).kv_type, DType::int8);
  EXPECT_EQ(some[0].shape, "hq=2 q=8 d=8 q-type=bf16 kv-type=int8");
  EXPECT_EQ(some[1].shape, "rows=2 length=3");
}

TEST(BenchWorkloads, BuiltInOnesCanBePlanned) {
  std::vector<Workload> workloads;
  ASSERT_TRUE(bench::parse_built_in(workloads).ok());
  for (const Workload& workload : workloads) {
    const auto* const what = std::get_if<AttentionWorkload>(&workload.what);
    if (what == nullptr) continue;
    const AttentionCase c(*what);
    Plan plan;
    const Status status = plan_attention(c.config(), c.batch(), {.workers = 2}, plan);
    EXPECT_TRUE(status.ok()) << workload.name << ": " << status.message();
  }
}

// Columns: name batch query_heads kv_heads query_len kv_len head_dim mask.
TEST(BenchWorkloads, ContainThoseOfThePeers) {
  std::ifstream peers(HEED_SHARED_DIR "/peers/workloads.txt");
  if (!peers) GTEST_SKIP() << "no shared/peers/workloads.txt";
  std::vector<Workload> all;
  ASSERT_TRUE(bench::parse_built_in(all).ok());
  for (std::string line; std::getline(peers, line);) {
    if (line.empty() || line.front() == '#') continue;
    std::istringstream columns(line);
    std::string name, mask;
    std::int32_t batch = 0, hq = 0, hkv = 0, q = 0, kv = 0, d = 0;
    columns >> name >> batch >> hq >> hkv >> q >> kv >> d >> mask;
    const auto ours = std::ranges::find(all, name, &Workload::name);
    ASSERT_NE(ours, all.end()) << line;
    const auto& what = std::get<AttentionWorkload>(ours->what);
    const auto sequences = static_cast<std::size_t>(batch);
    EXPECT_EQ(what.query_heads, hq) << line;
    EXPECT_EQ(what.kv_heads, hkv) << line;
    EXPECT_EQ(what.query_lengths, Lengths32(sequences, q)) << line;
    EXPECT_EQ(what.kv_lengths, Lengths32(sequences, kv)) << line;
    EXPECT_EQ(what.head_dim, d) << line;
    EXPECT_EQ(what.causal, mask == "causal") << line;
    EXPECT_EQ(ours->shape.find("type"), std::string::npos) << line;
  }
}

struct LayoutCase {
  std::string line, name;
  Layout query, key;
};

bool same(const Layout& a, const Layout& b) {
  return a.sequence_stride == b.sequence_stride && a.token_stride == b.token_stride &&
         a.head_stride == b.head_stride;
}

// Two query heads and one KV head of 8 numbers, so that no two strides agree by chance.
TEST(BenchAttentionCase, Layouts) {
  const auto bshd = Layout::bshd, bhsd = Layout::bhsd;
  const std::vector<LayoutCase> cases = {
      {"x b=3 hq=2 hkv=1 q=5 kv=5 d=8", "bshd", bshd(5, 2, 8), bshd(5, 1, 8)},
      {"x b=3 hq=2 hkv=1 q=5 kv=5 d=8 bhsd", "bhsd", bhsd(5, 2, 8), bhsd(5, 1, 8)},
      {"x b=3 hq=2 hkv=1 q=5 kv=7 d=8", "q bshd, kv bhsd", bshd(5, 2, 8), bhsd(7, 1, 8)},
      {"x b=3 hq=2 hkv=1 q=5 kv=7 d=8 bshd", "bshd", bshd(5, 2, 8), bshd(7, 1, 8)},
      {"x b=3 hq=2 hkv=1 q=5 kv=7 d=8 bhsd", "bhsd", bhsd(5, 2, 8), bhsd(7, 1, 8)},
      {"x b=2 hq=2 hkv=1 q=5+6 d=8", "ragged shd", bshd(11, 2, 8), bshd(11, 1, 8)},
      {"x b=2 hq=2 hkv=1 q=5+6 d=8 bhsd", "ragged hsd", bhsd(11, 2, 8), bhsd(11, 1, 8)},
      {"x b=2 hq=2 hkv=1 q=5+6 kv=9+7 d=8", "q ragged shd, kv bhsd", bshd(11, 2, 8), bhsd(9, 1, 8)},
      {"x b=2 hq=2 hkv=1 q=5+6 kv=9+7 d=8 bshd", "q ragged shd, kv bshd", bshd(11, 2, 8),
       bshd(9, 1, 8)},
  };
  for (const LayoutCase& expected : cases) {
    SCOPED_TRACE(expected.line);
    const AttentionWorkload workload = attention(expected.line);
    const AttentionCase c(workload);
    const proof::Geometry geometry = c.geometry();
    EXPECT_EQ(c.layout(), expected.name);
    EXPECT_TRUE(same(geometry.q_layout(), expected.query));
    EXPECT_TRUE(same(geometry.out_layout(), expected.query));
    EXPECT_TRUE(same(geometry.k_layout(), expected.key));
    EXPECT_TRUE(same(geometry.v_layout(), expected.key));
  }
}

bool same(const PageStrides& a, const PageStrides& b) {
  return a.page == b.page && a.token == b.token && a.head == b.head;
}

struct PagedLayoutCase {
  std::string line, name;
  Layout query;
  PagedLayout pages;
};

// Pages lie by head unless they are said not to; the rest as without them.
TEST(BenchAttentionCase, LayoutsOfPages) {
  const auto bshd = Layout::bshd, bhsd = Layout::bhsd;
  const auto by_token = PagedLayout::bshd, by_head = PagedLayout::bhsd;
  const std::vector<PagedLayoutCase> cases = {
      {"x b=3 hq=2 hkv=1 q=5 kv=7 d=8 pages=4", "q bshd, kv bhsd in pages of 4", bshd(5, 2, 8),
       by_head(6, 4, 1, 8, 8)},
      {"x b=3 hq=2 hkv=1 q=5 d=8 pages=4", "q bshd, kv bhsd in pages of 4", bshd(5, 2, 8),
       by_head(6, 4, 1, 8, 8)},
      {"x b=3 hq=2 hkv=1 q=5 kv=7 d=8 bshd pages=4", "q bshd, kv bshd in pages of 4", bshd(5, 2, 8),
       by_token(6, 4, 1, 8, 8)},
      {"x b=3 hq=2 hkv=1 q=5 kv=7 d=8 bhsd pages=4", "q bhsd, kv bhsd in pages of 4", bhsd(5, 2, 8),
       by_head(6, 4, 1, 8, 8)},
      {"x b=2 hq=2 hkv=1 q=5+6 d=8 pages=2", "q ragged shd, kv bhsd in pages of 2", bshd(11, 2, 8),
       by_head(6, 2, 1, 8, 8)},
      {"x b=3 hq=2 hkv=1 q=1 kv=9+10+8 d=8 pages=4 shared=8",
       "q bshd, kv bhsd in pages of 4, the first 8 keys shared", bshd(1, 2, 8),
       by_head(4, 4, 1, 8, 8)},
  };
  for (const PagedLayoutCase& expected : cases) {
    SCOPED_TRACE(expected.line);
    const AttentionWorkload workload = attention(expected.line);
    const AttentionCase c(workload);
    const Batch& batch = c.batch();
    EXPECT_EQ(c.layout(), expected.name);
    EXPECT_TRUE(same(c.geometry().q_layout(), expected.query));
    EXPECT_TRUE(same(c.geometry().out_layout(), expected.query));
    ASSERT_TRUE(batch.pages);
    EXPECT_FALSE(batch.k || batch.v);
    EXPECT_EQ(batch.pages->pages, expected.pages.pages);
    EXPECT_EQ(batch.pages->page_tokens, expected.pages.page_tokens);
    EXPECT_EQ(batch.pages->kv_heads, 1);
    EXPECT_TRUE(same(batch.pages->k, expected.pages.k));
    EXPECT_TRUE(same(batch.pages->v, expected.pages.v));
  }
}

TEST(BenchAttentionCase, SaysWhatSequencesShare) {
  const AttentionWorkload shared = attention("x b=3 hq=2 hkv=2 q=1 kv=9+10+8 d=8 pages=4 shared=8");
  const AttentionWorkload apart = attention("x b=3 hq=2 hkv=2 q=1 kv=9+10+8 d=8 pages=4");
  EXPECT_TRUE(
      std::ranges::equal(AttentionCase(shared).batch().shared_prefixes, Lengths32{0, 8, 8}));
  EXPECT_TRUE(AttentionCase(apart).batch().shared_prefixes.empty());
}

TEST(BenchAttentionCase, SizesOfPages) {
  const AttentionWorkload workload =
      attention("x b=3 hq=2 hkv=2 q=1 kv=9+10+8 d=8 pages=4 shared=8");
  const AttentionCase c(workload);
  EXPECT_EQ(c.key_floats(), 4U * 4 * 2 * 8);
  EXPECT_EQ(c.needed_bytes(), (8 + 1 + 2) * 2 * 8 * 2 * 4);
}

TEST(BenchAttentionCase, Sizes) {
  const AttentionWorkload workload = attention("x b=2 hq=2 hkv=1 q=5+6 kv=9+7 d=8");
  const AttentionCase c(workload);
  EXPECT_EQ(c.query_floats(), 11U * 2 * 8);
  EXPECT_EQ(c.key_floats(), (9U + 7) * 8);
  EXPECT_EQ(c.kv_copy_floats(), 2 * c.value_offset());
  EXPECT_EQ(c.needed_bytes(), (9 + 7) * 8 * 2 * 4);
}

using bench::CachePages;

std::vector<std::int32_t> numbers_of(const CachePages& pages) {
  const auto numbers = pages.tables().pages;
  return {numbers.begin(), numbers.end()};
}

TEST(BenchCachePages, AreAllInUseInNoOrderButAlwaysTheSame) {
  const CachePages pages({100, 64, 37}, 1, 0);
  std::vector<std::int32_t> numbers = numbers_of(pages);
  EXPECT_EQ(pages.count(), 201);
  EXPECT_EQ(numbers, numbers_of(CachePages({100, 64, 37}, 1, 0)));
  EXPECT_FALSE(std::ranges::is_sorted(numbers));
  std::ranges::sort(numbers);
  std::vector<std::int32_t> all(201);
  std::iota(all.begin(), all.end(), 0);
  EXPECT_EQ(numbers, all);
}

TEST(BenchCachePages, BlockTablesWhereSequencesHaveAsManyPages) {
  const CachePages equal({9, 12, 10}, 4, 0), unequal({9, 13, 10}, 4, 0);
  EXPECT_EQ(equal.tables().stride, 3);
  EXPECT_TRUE(equal.tables().indptr.empty());
  EXPECT_EQ(equal.tables().pages.size(), 9U);
  EXPECT_TRUE(std::ranges::equal(unequal.tables().indptr, Lengths32{0, 3, 7, 10}));
  EXPECT_EQ(unequal.tables().pages.size(), 10U);
  EXPECT_TRUE(CachePages().tables().pages.empty());
}

TEST(BenchCachePages, OfAPrefixAreThoseOfAllSequences) {
  const CachePages pages({20, 13, 12}, 4, 12);
  const std::vector<std::int32_t> numbers = numbers_of(pages);
  EXPECT_EQ(pages.count(), 3 + 2 + 1);
  EXPECT_TRUE(std::ranges::equal(pages.tables().indptr, Lengths32{0, 5, 9, 12}));
  for (const std::size_t first : {5, 9}) {
    EXPECT_TRUE(std::equal(&numbers[0], &numbers[3], &numbers[first])) << first;
  }
  EXPECT_EQ(std::set(numbers.begin(), numbers.end()).size(), 6U);
}

TEST(BenchInputs, QueriesKeysAndValuesDiffer) {
  // Of the last ones the keys are as many as the numbers that repeat.
  for (const char* const line :
       {"x b=1 hq=2 hkv=2 q=16 kv=16 d=64", "x b=1 hq=2 hkv=2 q=16 kv=16 d=64 sharp",
        "x b=1 hq=8 hkv=8 q=8191 kv=8191 d=64", "x b=1 hq=8 hkv=8 q=8191 d=64 sharp"}) {
    SCOPED_TRACE(line);
    const AttentionWorkload workload = attention(line);
    const AttentionCase c(workload);
    const Tensors tensors(c);
    const std::size_t n = c.key_floats();
    const float* const q = tensors.all.q.as<float>();
    const float* const k = tensors.all.k.as<float>();
    EXPECT_FALSE(std::equal(q, q + n, k));
    EXPECT_FALSE(std::equal(q, q + n, tensors.all.v.as<float>()));
    EXPECT_FALSE(std::equal(k, k + n, tensors.all.v.as<float>()));
  }
}

TEST(BenchInputs, SameSeedSameNumbers) {
  std::array<Pool, 3> pools;
  for (Pool& pool : pools) {
    ASSERT_TRUE(Pool::create(1000, bench::Pages::usual, pool).ok());
  }
  const auto a = pools[0].inputs({.seed = 5}), b = pools[1].inputs({.seed = 5});
  const auto other = pools[2].inputs({.seed = 6});
  EXPECT_TRUE(std::ranges::equal(a, b));
  EXPECT_FALSE(std::ranges::equal(a, other));
}

TEST(BenchInputs, AreMadeAgainWhereAnotherSeedIsAskedForOrThePoolWasWrittenTo) {
  Pool pool;
  ASSERT_TRUE(Pool::create(1000, bench::Pages::usual, pool).ok());
  const float first = pool.inputs({.seed = 5})[0];
  EXPECT_NE(pool.inputs({.seed = 6})[0], first);
  pool.scratch()[0] = kNan;
  EXPECT_NE(pool.inputs({.seed = 6})[0], first);
  EXPECT_EQ(pool.inputs({.seed = 5})[0], first);
}

TEST(BenchCopies, FillTheStreamButNoMoreThanTheRoom) {
  EXPECT_EQ(bench::copies_for(10, 100, 1000), 10U);
  EXPECT_EQ(bench::copies_for(10, 101, 1000), 11U);
  EXPECT_EQ(bench::copies_for(10, 1000, 55), 5U);
  EXPECT_EQ(bench::copies_for(10, 3, 1000), 1U);
  EXPECT_EQ(bench::copies_for(10, 0, 1000), 1U);
  EXPECT_EQ(bench::copies_for(10, 100, 9), 1U);
}

TEST(BenchCopies, ThePoolHasRoomForThem) {
  const std::size_t stream = 10000;
  const Workload softmax = parse_one("x rows=70 length=90"), tiny = parse_one("x rows=7 length=9");
  const Workload attention = parse_one("x b=1 hq=2 hkv=2 q=80 kv=80 d=64");
  const std::size_t copy =
      AttentionCase(std::get<AttentionWorkload>(attention.what)).kv_copy_floats();
  const bench::Setting cold{.stream_floats = stream};
  const bench::Setting warm{.warm = true, .stream_floats = stream};
  EXPECT_EQ(bench::pool_floats(attention, cold), copy + stream);
  EXPECT_EQ(bench::pool_floats(attention, warm), copy);
  EXPECT_EQ(bench::pool_floats(softmax, cold), 2 * 70 * 90 + stream);
  EXPECT_EQ(bench::pool_floats(softmax, warm), 2U * 70 * 90);
  EXPECT_EQ(bench::pool_floats(tiny, warm), bench::kLeastStreamFloats);
}

/// Repeats a sleep and returns the runs that it was called with.
std::vector<std::int64_t> repeat_sleep(double seconds, std::chrono::milliseconds sleep,
                                       bench::Timing& timing) {
  std::vector<std::int64_t> runs;
  const auto once = [&](std::int64_t run) -> Status {
    runs.push_back(run);
    std::this_thread::sleep_for(sleep);
    return {};
  };
  EXPECT_TRUE(bench::repeat(seconds, once, timing).ok());
  return runs;
}

using std::chrono::milliseconds;

TEST(BenchRepeat, FiveTimesAtLeast) {
  bench::Timing timing;
  // 5 runs take 2.5 times as long as was asked for; a busy machine may stretch them to 4 times.
  const auto runs = repeat_sleep(0.2, milliseconds(100), timing);
  EXPECT_EQ(timing.runs, 5);
  EXPECT_EQ(runs, (std::vector<std::int64_t>{0, 1, 2, 3, 4, 5}));
}

TEST(BenchRepeat, ThreeTimesWhereFiveTakeTooLong) {
  bench::Timing timing;
  const auto runs = repeat_sleep(0.001, milliseconds(5), timing);
  EXPECT_EQ(timing.runs, 3);
  EXPECT_EQ(runs, (std::vector<std::int64_t>{0, 1, 2, 3}));
  EXPECT_GE(timing.min_ms, 5);
  EXPECT_GE(timing.median_ms, timing.min_ms);
}

TEST(BenchRepeat, UntilTheTimeIsOver) {
  bench::Timing timing;
  const auto start = std::chrono::steady_clock::now();
  const auto runs = repeat_sleep(0.08, milliseconds(1), timing);
  EXPECT_GE(std::chrono::steady_clock::now() - start, milliseconds(90));
  EXPECT_GT(timing.runs, 5);
  EXPECT_GT(static_cast<std::int64_t>(runs.size()), timing.runs);
}

TEST(BenchRepeat, EndsWithAFailure) {
  bench::Timing timing;
  const auto fail_at = [&](std::int64_t bad) {
    std::int64_t calls = 0;
    const auto once = [&](std::int64_t run) -> Status {
      ++calls;
      return run == bad ? Status(StatusCode::internal, "no") : Status();
    };
    EXPECT_EQ(bench::repeat(1e-6, once, timing).message(), "no");
    return calls;
  };
  EXPECT_EQ(fail_at(0), 1);
  EXPECT_EQ(fail_at(2), 3);
}

}  // namespace
}  // namespace heed::tests
