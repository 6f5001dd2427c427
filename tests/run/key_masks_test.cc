// What queries see beside causal masks and windows: masks of every type and shape, lists of keys,
// prefixes with windows and windows that keep the first keys, against the oracle bit for bit, in
// both kernels, with every layout and element type.
#include <array>
#include <cmath>
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

using proof::Case;
using proof::CaseSpec;
using proof::Form;
using proof::MaskSpec;
using proof::Pattern;
using proof::Row;

using proof::kInfinity;
using proof::kNan;

/// A mask of each pattern, and of each type.
std::vector<MaskSpec> all_masks() {
  return {{.pattern = Pattern::random, .type = MaskType::bytes, .per_head = true},
          {.pattern = Pattern::random, .type = MaskType::bits, .per_sequence = false},
          {.pattern = Pattern::tree, .type = MaskType::bits},
          {.pattern = Pattern::documents, .type = MaskType::f32, .per_sequence = false},
          {.pattern = Pattern::documents, .type = MaskType::f16, .per_head = true},
          {.pattern = Pattern::blocks, .type = MaskType::bf16, .per_head = true},
          {.pattern = Pattern::blocks, .type = MaskType::bits},
          {.pattern = Pattern::lists}};
}

/// Sequences of few dimensions, on which masks do not depend.
CaseSpec small_spec(std::vector<std::int32_t> queries, std::vector<std::int32_t> keys,
                    const MaskSpec& mask) {
  CaseSpec spec = spec_of(std::move(queries), std::move(keys));
  spec.config.head_dim = spec.config.value_head_dim = 32;
  spec.mask = mask;
  return spec;
}

/// Decode and prefill of several blocks, against several partitions.
CaseSpec mixed(const MaskSpec& mask) {
  return small_spec({1, 2, 60, 0, 150}, {300, 17, 560, 5, 150}, mask);
}

TEST(KeyMasks, AreTheOraclesInBothKernels) {
  for (const MaskSpec& mask : all_masks()) {
    for (const bool causal : {false, true}) {
      CaseSpec spec = mixed(mask);
      spec.config.causal = causal;
      spec.form = Form::padded;
      expect_oracle_on_all(spec);
      if (HasFailure()) return;
    }
  }
}

TEST(KeyMasks, InEveryFormAndStorage) {
  for (const MaskSpec& mask : all_masks()) {
    for (const Form form : {Form::dense, Form::ragged}) {
      for (const proof::Storage storage : {proof::Storage::bhsd, proof::Storage::spaced}) {
        CaseSpec spec = mixed(mask);
        spec.form = form;
        spec.storage = storage;
        if (form == Form::dense) spec.queries = {37, 37}, spec.keys = {300, 300};
        expect_oracle_on_all(spec);
        if (HasFailure()) return;
      }
    }
  }
}

// Windows, windows that keep the first keys, and prefixes, alone and under masks.
TEST(KeyMasks, WithWindowsThatKeepKeysAndPrefixes) {
  std::vector<MaskSpec> masks = all_masks();
  masks.push_back({});
  struct Window {
    std::int64_t left, right, kept;
    Alignment alignment;
    bool prefixes;
  };
  constexpr std::array<Window, 5> windows = {{{3, 0, 1, Alignment::end, false},
                                              {100, 7, 4, Alignment::end, true},
                                              {3, 0, 70, Alignment::start, true},
                                              {100, 0, 290, Alignment::end, false},
                                              {50, kUnlimited, 0, Alignment::start, true}}};
  for (const MaskSpec& mask : masks) {
    for (const Window& window : windows) {
      CaseSpec spec = mixed(mask);
      spec.form = Form::padded;
      spec.config.causal = false;
      spec.config.window_left = window.left;
      spec.config.window_right = window.right;
      spec.config.keep_first = window.kept;
      spec.config.alignment = window.alignment;
      if (window.prefixes) spec.visible_prefixes = {120, 0, 37, 5, 149};
      expect_oracle_on_all(spec);
      if (HasFailure()) return;
    }
  }
}

TEST(KeyMasks, WithEveryElementType) {
  for (const DType type : {DType::f16, DType::bf16, DType::int8, DType::q8_0}) {
    for (const DType q : {DType::f32, DType::bf16}) {  // bf16 with bf16: in pairs
      std::size_t i = q == DType::f32 ? 0 : 1;         // every second mask with each
      for (const std::vector<MaskSpec> masks = all_masks(); i < masks.size(); i += 2) {
        CaseSpec spec = with_types(mixed(masks[i]), {q, type, type, q});
        spec.form = Form::padded;
        spec.config.window_left = 200;
        spec.config.keep_first = 5;
        expect_oracle_on_all(spec);
        if (HasFailure()) return;
      }
    }
  }
}

TEST(KeyMasks, WithEveryTemperatureAndModifier) {
  for (const float temperature : {0.0F, 3.0F, kInfinity}) {
    for (const MaskSpec& mask : all_masks()) {
      CaseSpec spec = mixed(mask);
      spec.form = Form::padded;
      spec.config.temperature = temperature;
      spec.modifiers = {
          .softcap = 4, .alibi = true, .sinks = true, .biases = proof::Biases::by_key};
      expect_oracle_on_all(spec);
      if (HasFailure()) return;
    }
  }
}

// Keys are split, and the parts of an item have as much to do as each other, not as many keys.
TEST(KeyMasks, SameBitsForAllWorkers) {
  for (const MaskSpec& mask : all_masks()) {
    CaseSpec spec = small_spec({1, 5, 20}, {5000, 900, 3000}, mask);
    spec.form = Form::padded;
    spec.config.window_left = 700;
    spec.config.keep_first = 10;
    for (const int workers : {1, 2, 8}) {
      expect_oracle_on_all(spec, workers);
      if (HasFailure()) return;
    }
  }
}

// Sections count from the first key that a row sees, by position; partitions between that a row
// does not see have none of their own.
TEST(KeyMasks, OfSeveralSections) {
  for (const std::int32_t queries : {1, 20}) {
    for (const Pattern pattern : {Pattern::lists, Pattern::documents, Pattern::none}) {
      CaseSpec spec = small_spec({queries}, {thorough() ? 40'000 : 17'000}, {.pattern = pattern});
      spec.config.query_heads = 2;
      spec.config.kv_heads = 1;
      spec.config.head_dim = spec.config.value_head_dim = 8;
      spec.config.window_left = pattern == Pattern::none ? 16'000 : kUnlimited;
      spec.config.keep_first = 300;
      for (const int workers : {1, 3}) {
        expect_oracle_on_all(spec, workers);
        if (HasFailure()) return;
      }
    }
  }
}

TEST(KeyMasks, InPages) {
  for (const MaskSpec& mask : all_masks()) {
    for (const std::int64_t page_tokens : {1, 16, 100}) {
      CaseSpec spec = mixed(mask);
      spec.form = Form::ragged;
      spec.config.window_left = 90;
      spec.config.keep_first = 20;
      SCOPED_TRACE(to_string(spec));
      const Case c(spec);
      const PagedCase paged(c, page_tokens, Pool::bshd);
      for (const std::string_view isa : f32_isas()) {
        SCOPED_TRACE(isa);
        const Outputs outputs = run_paged(c, paged, on(isa, 2), true);
        expect_oracle_rows(c.geometry(), c.inputs(), outputs, c.geometry().rows(),
                           proof::arithmetic_of(isa));
        if (HasFailure()) return;
      }
    }
  }
}

// A stream with attention sinks frees the pages between them and its windows.
TEST(KeyMasks, PagesBetweenKeptKeysAndWindowsMayHaveAnyNumber) {
  for (const std::int32_t queries : {1, 3, 60}) {
    for (const std::int64_t page_tokens : {1, 16, 64}) {
      CaseSpec spec = small_spec({queries}, {1000}, {});
      spec.form = Form::ragged;
      spec.config.window_left = 130;
      spec.config.window_right = 0;
      spec.config.keep_first = 5;
      SCOPED_TRACE(to_string(spec));
      const Case c(spec);
      PagedCase paged(c, page_tokens, Pool::bhsd);
      const std::int64_t first = 1000 - queries - 130;  // of the first query's window
      for (std::int64_t p = (5 + page_tokens - 1) / page_tokens; (p + 1) * page_tokens <= first;
           ++p) {
        paged.page(0, p) = p % 2 == 0 ? -7 : 2'000'000'000;
      }
      for (const std::string_view isa : f32_isas()) {
        SCOPED_TRACE(isa);
        const Outputs outputs = run_paged(c, paged, on(isa, 2), true);
        expect_oracle_rows(c.geometry(), c.inputs(), outputs, c.geometry().rows(),
                           proof::arithmetic_of(isa));
        if (HasFailure()) return;
      }
    }
  }
}

// What masks hide may be anything: it touches no row that does not see it.
TEST(KeyMasks, HiddenKeysMayBeInfiniteOrNan) {
  for (const MaskSpec& mask : all_masks()) {
    CaseSpec spec = small_spec({2, 70}, {300, 150}, mask);
    spec.form = Form::padded;
    spec.config.window_left = 60;
    spec.config.keep_first = 9;
    SCOPED_TRACE(to_string(spec));
    Case c(spec);
    for (const std::int64_t key : {0, 5, 8, 40, 77, 120, 149}) {
      for (const Row& row : {Row{0, 0, 0}, Row{1, 0, 0}}) {
        c.k()[c.geometry().k(row, key)] = key % 2 == 0 ? kNan : kInfinity;
        c.v()[c.geometry().v(row, key)] = key % 3 == 0 ? -kInfinity : kNan;
      }
    }
    for (const std::string_view isa : f32_isas()) {
      SCOPED_TRACE(isa);
      expect_oracle_rows(c.geometry(), c.inputs(), run_case(c, on(isa, 2)), c.geometry().rows(),
                         proof::arithmetic_of(isa));
      if (HasFailure()) return;
    }
  }
}

// Sequences with a prefix in common read it together where a mask is of their last keys only.
TEST(KeyMasks, TreesOverSharedPrefixes) {
  const Prefixes prefixes = {0, 600, 512, 520};
  for (const Pattern pattern : {Pattern::tree, Pattern::random}) {
    CaseSpec spec = small_spec({6, 3, 1, 2}, {900, 700, 1300, 650}, {.pattern = pattern});
    spec.form = Form::ragged;
    SCOPED_TRACE(to_string(spec));
    Case c(spec);
    share_prefixes(c, prefixes);
    const PagedCase paged(c, 16, Pool::bshd, prefixes);
    const AttentionTensors tensors = paged.tensors(true);
    for (const std::string_view isa : f32_isas()) {
      SCOPED_TRACE(isa);
      Plan plan;
      ASSERT_TRUE(plan_attention(c.config(), paged.batch(), on(isa), plan).ok());
      EXPECT_EQ(plan.describe().find("keys read once: 0,") == std::string::npos,
                pattern == Pattern::tree)
          << plan.describe();
      const Outputs outputs = run_paged(c, paged, on(isa, 4), true);
      expect_oracle_rows(proof::Geometry(c.config(), paged.batch(), tensors.tables), tensors,
                         outputs, c.geometry().rows(), proof::arithmetic_of(isa));
      if (HasFailure()) return;
    }
  }
}

// The formulas, not only the order of operations.
TEST(KeyMasks, LieWithinTheBoundsOfTheFormulas) {
  for (const MaskSpec& mask : all_masks()) {
    CaseSpec spec = mixed(mask);
    spec.form = Form::padded;
    spec.config.window_left = 100;
    spec.config.keep_first = 12;
    SCOPED_TRACE(to_string(spec));
    const Case c(spec);
    const Outputs outputs = run_case(c, on({}));
    for (const Row& row : c.geometry().rows()) {
      const proof::ReferenceRow exact = proof::reference_row(c.geometry(), c.inputs(), row);
      const proof::Bounds bounds = proof::error_bounds(exact, c.config().head_dim);
      const std::span<const float> out = out_of(c.geometry(), outputs, row);
      for (std::size_t x = 0; x < out.size(); ++x) {
        ASSERT_LE(std::abs(out[x] - exact.out[x]), bounds.out) << to_string(row);
      }
    }
  }
}

// Where a mask shows keys of a partition to rows that the causal mask hides them from, and no other
// key of it, nothing is added to its state: it is empty, whatever lay in scratch.
TEST(KeyMasks, ThatShowHiddenKeysOfAPartition) {
  constexpr std::int64_t queries = 96, keys = 256 + queries, dims = 8;
  std::vector<std::uint8_t> mask(static_cast<std::size_t>(queries * keys));
  for (std::int64_t i = 0; i < queries; ++i) {
    mask[static_cast<std::size_t>(i * keys)] = 1;
    // So far ahead that no row of a vector sees it, nor one of the next two.
    const std::int64_t ahead = 256 + i + 20;
    if (ahead < keys) mask[static_cast<std::size_t>(i * keys + ahead)] = 1;
  }
  const AttentionConfig config{.head_dim = dims, .causal = true};
  Batch batch{.query = {.length = queries}, .key = {.length = keys}};
  batch.mask = KeyMask::qk(MaskType::bytes, mask.data(), keys);
  const std::vector<float> q(queries * dims, 1.0F), k(keys * dims, 0.5F);
  std::vector<float> v(keys * dims);
  for (std::size_t x = 0; x < v.size(); ++x) v[x] = static_cast<float>(x);
  for (const std::string_view isa : supported_isas()) {
    std::vector<float> out(queries * dims, kNan);
    Plan plan;
    ASSERT_TRUE(plan_attention(config, batch, on(isa, 1), plan).ok());
    Workspace workspace;
    ASSERT_TRUE(workspace.reserve(plan).ok());
    fill_with_nan(workspace);
    ASSERT_TRUE(run(plan, {q.data(), k.data(), v.data(), out.data()}, workspace).ok());
    for (std::size_t x = 0; x < out.size(); ++x) ASSERT_EQ(out[x], v[x % dims]) << isa << x / dims;
  }
}

TEST(KeyMasks, CountVisibleScores) {
  std::vector<MaskSpec> masks = all_masks();
  masks.push_back({});
  for (const MaskSpec& mask : masks) {
    for (const std::int64_t left : {std::int64_t{30}, kUnlimited}) {
      CaseSpec spec = mixed(mask);
      spec.form = Form::padded;
      spec.config.window_left = left;
      spec.config.keep_first = 12;
      spec.visible_prefixes = {20, 0, 300, 1, 5};
      SCOPED_TRACE(to_string(spec));
      const Case c(spec);
      std::int64_t scores = 0;
      for (const Row& row : c.geometry().rows()) scores += std::ssize(c.geometry().seen(row));
      EXPECT_EQ(plan_case(c, on({})).visible_scores(), scores);
    }
  }
}

}  // namespace
}  // namespace heed::tests
