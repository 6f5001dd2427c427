// Every ISA against the scalar canonical row, bit for bit, around every edge that tiles, vectors,
// blocks and partitions have, and over random samples of everything at once.
#include <algorithm>
#include <array>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "tests/support/attention_run.h"

namespace heed::tests {
namespace {

using proof::Arithmetic;
using proof::Case;
using proof::CaseSpec;
using proof::Distribution;
using proof::Form;
using proof::Random;
using proof::Row;
using proof::Storage;

constexpr std::array<std::int64_t, 11> kHeadDims = {1, 3, 16, 40, 64, 80, 96, 128, 192, 256, 511};
constexpr std::array<std::int32_t, 29> kLengths = {1,   2,   7,   8,   9,   15,  16,  17,  31, 32,
                                                   33,  47,  48,  49,  63,  64,  65,  95,  96, 97,
                                                   127, 128, 129, 191, 192, 193, 255, 256, 257};
constexpr std::array<std::int32_t, 4> kLongLengths = {511, 512, 513, 700};
constexpr std::array<std::int64_t, 5> kGroups = {1, 4, 5, 7, 71};
constexpr std::array<std::int64_t, 7> kWindows = {0, 1, 5, 31, 64, 200, kUnlimited};
constexpr std::array<int, 6> kTiles = {0, 16, 32, 64, 128, 256};

/// Multiply-adds of oracle per case at most: larger cases compare a random sample of their rows.
constexpr std::int64_t kOracleWork = 2'000'000;

std::vector<Row> sampled_rows(const Case& c, Random& random) {
  std::vector<Row> rows = c.geometry().rows();
  std::int64_t work = 0, longest = 1;
  for (const Row& row : rows) {
    const proof::KeyRange keys = c.geometry().visible(row);
    const std::int64_t count = std::max<std::int64_t>(keys.end - keys.begin, 1);
    longest = std::max(longest, count * (c.config().head_dim + c.geometry().value_head_dim()));
  }
  work = longest * static_cast<std::int64_t>(rows.size());
  if (work <= kOracleWork) return rows;
  std::vector<Row> sample = {rows.front(), rows.back()};
  for (std::int64_t i = 0; i < kOracleWork / longest; ++i) {
    sample.push_back(random.pick(std::span<const Row>(rows)));
  }
  return sample;
}

/// Runs the case on every ISA, with tile sizes and worker counts of chance; ISAs of the same
/// arithmetic must agree on every row, and each with the oracle on the sampled ones.
void check(const CaseSpec& spec) {
  SCOPED_TRACE(to_string(spec));
  const Case c(spec);
  Random random(spec.seed * 7919 + 1);
  const std::vector<Row> rows = sampled_rows(c, random);
  for (const Arithmetic arithmetic : {Arithmetic::fused, Arithmetic::separate}) {
    std::vector<Outputs> former;
    for (const std::string_view isa : f32_isas()) {
      if (proof::arithmetic_of(isa) != arithmetic) continue;
      const PlanOptions options =
          on(isa, static_cast<int>(1 + random.below(4)), random.pick(std::span<const int>(kTiles)));
      SCOPED_TRACE(std::string(isa) + " workers " + std::to_string(options.workers) +
                   " tile_keys " + std::to_string(options.tile_keys));
      Outputs outputs = run_case(c, options);
      if (former.empty()) {
        expect_oracle_rows(c.geometry(), c.inputs(), outputs, rows, arithmetic);
      } else {
        expect_same_rows(c.geometry(), former.back(), c.geometry(), outputs);
      }
      if (testing::Test::HasFailure()) return;
      former.push_back(std::move(outputs));
    }
  }
}

CaseSpec single(std::int32_t queries, std::int32_t keys, std::int64_t head_dim) {
  CaseSpec spec;
  spec.config.head_dim = head_dim;
  spec.queries = {queries};
  spec.keys = {keys};
  return spec;
}

std::vector<std::int32_t> all_lengths() {
  std::vector<std::int32_t> lengths(kLengths.begin(), kLengths.end());
  lengths.insert(lengths.end(), kLongLengths.begin(), kLongLengths.end());
  return lengths;
}

TEST(AttentionOracle, NumbersOfKeysAroundEveryEdge) {
  for (const std::int32_t keys : all_lengths()) {
    for (const std::int32_t queries : {1, 3, 20}) {
      for (const bool causal : {false, true}) {
        CaseSpec spec = single(queries, keys, 16);
        spec.config.causal = causal;
        spec.distribution = Distribution::sharp;
        check(spec);
        if (HasFailure()) return;
      }
    }
  }
}

TEST(AttentionOracle, NumbersOfQueriesAroundEveryEdge) {
  for (const std::int32_t queries : all_lengths()) {
    for (const std::int32_t keys : {1, 70, 300}) {
      for (const bool causal : {false, true}) {
        CaseSpec spec = single(queries, keys, 16);
        spec.config.causal = causal;
        check(spec);
        if (HasFailure()) return;
      }
    }
  }
}

TEST(AttentionOracle, HeadDimensionsOfQueriesAndValues) {
  for (const std::int64_t head_dim : kHeadDims) {
    for (const std::int64_t value_head_dim : kHeadDims) {
      CaseSpec spec = single(9, 40, head_dim);
      spec.config.value_head_dim = value_head_dim;
      spec.config.causal = true;
      check(spec);
      if (HasFailure()) return;
    }
  }
}

TEST(AttentionOracle, QueryHeadsPerKeyHead) {
  for (const std::int64_t group : kGroups) {
    for (const std::int32_t queries : {1, 2, 3, 7, 29}) {
      CaseSpec spec = single(queries, 37, 24);
      spec.config.kv_heads = 2;
      spec.config.query_heads = 2 * group;
      spec.config.causal = true;
      check(spec);
      if (HasFailure()) return;
    }
  }
}

TEST(AttentionOracle, WindowsAndAlignments) {
  const std::int32_t step = thorough() ? 1 : 5;
  std::int32_t count = 0;
  for (const std::int32_t queries : {1, 7, 33, 70}) {
    for (const std::int32_t keys : {1, 16, 65, 300}) {
      for (const std::int64_t left : kWindows) {
        for (const std::int64_t right : kWindows) {
          if (++count % step != 0) continue;
          CaseSpec spec = single(queries, keys, 3);
          spec.config.window_left = left;
          spec.config.window_right = right;
          spec.config.causal = count % 3 == 0;
          spec.config.alignment = count % 2 == 0 ? Alignment::end : Alignment::start;
          check(spec);
          if (HasFailure()) return;
        }
      }
    }
  }
}

/// The scores that the rows of a case see, one row at a time.
std::int64_t scores_of(const Case& c) {
  std::int64_t scores = 0;
  for (const Row& row : c.geometry().rows()) {
    scores += static_cast<std::int64_t>(c.geometry().seen(row).size());
  }
  return scores;
}

// Prefixes that end anywhere, before and after the rows' positions.
TEST(AttentionOracle, VisiblePrefixes) {
  for (const std::int32_t queries : {1, 3, 70, 300}) {
    for (const std::int32_t prefix : {0, 1, 15, 64, 100, 257, 300}) {
      for (const Alignment alignment : {Alignment::end, Alignment::start}) {
        CaseSpec spec = single(queries, 300, 16);
        spec.form = Form::ragged;
        spec.config.query_heads = 3;
        spec.config.causal = prefix % 2 == 0;
        spec.config.window_right = 7;
        spec.config.alignment = alignment;
        spec.queries.push_back(40);
        spec.keys.push_back(30);
        spec.visible_prefixes = {prefix, prefix / 10};
        check(spec);
        const Case c(spec);
        EXPECT_EQ(plan_case(c, on({}, 2)).visible_scores(), scores_of(c)) << to_string(spec);
        if (HasFailure()) return;
      }
    }
  }
}

// Tokens behind the last key, whose windows show nothing, with keys that windows do not hide:
// whatever of them an item has, its other rows meet all of their keys.
TEST(AttentionOracle, WindowsBehindTheLastKey) {
  for (const std::int32_t keys : {20, 128, 300}) {
    for (const std::int64_t left : {0, 5, 90}) {
      for (const std::int64_t right : {0, 1, 30}) {
        for (const std::int32_t prefix : {0, 9, keys - 1}) {
          for (const std::int64_t keep_first : {0, 4, 67}) {
            CaseSpec spec = single(keys + 100, keys, 16);
            spec.form = Form::ragged;
            spec.config.alignment = Alignment::start;
            spec.config.window_left = left;
            spec.config.window_right = right;
            spec.config.keep_first = keep_first;
            spec.visible_prefixes = {prefix};
            check(spec);
            const Case c(spec);
            EXPECT_EQ(plan_case(c, on({}, 2)).visible_scores(), scores_of(c)) << to_string(spec);
            if (HasFailure()) return;
          }
        }
      }
    }
  }
}

TEST(AttentionOracle, FormsAndStorages) {
  for (const Form form : {Form::dense, Form::padded, Form::ragged}) {
    for (const Storage storage :
         {Storage::bshd, Storage::bhsd, Storage::interleaved, Storage::spaced, Storage::pages}) {
      for (const bool self : {false, true}) {
        CaseSpec spec;
        spec.config.query_heads = 4;
        spec.config.kv_heads = 2;
        spec.config.head_dim = 20;
        spec.config.value_head_dim = 12;
        spec.config.causal = true;
        spec.form = form;
        spec.storage = storage;
        spec.keys = form == Form::dense ? std::vector<std::int32_t>{90, 90}
                                        : std::vector<std::int32_t>{90, 0, 270, 1};
        spec.queries = spec.keys;
        if (!self) std::ranges::fill(spec.queries, 40);
        check(spec);
        if (HasFailure()) return;
      }
    }
  }
}

// Decode items have several heads: up to eight where the rows of one do not lie together, else
// four.
TEST(AttentionOracle, HeadsOfAnItem) {
  for (const std::int64_t kv_heads : {2, 8, 11}) {
    for (const Storage storage :
         {Storage::bshd, Storage::bhsd, Storage::interleaved, Storage::spaced, Storage::pages}) {
      for (const std::int64_t window : {std::int64_t{100}, kUnlimited}) {
        CaseSpec spec;
        spec.config.query_heads = 2 * kv_heads;
        spec.config.kv_heads = kv_heads;
        spec.config.head_dim = 20;
        spec.config.value_head_dim = 32;
        spec.config.causal = true;
        spec.config.window_left = window;
        spec.form = Form::ragged;
        spec.storage = storage;
        spec.distribution = Distribution::sharp;
        spec.queries = {1, 2, 1, 1};
        spec.keys = {700, 300, 1, 17000};
        check(spec);
        if (HasFailure()) return;
      }
    }
  }
}

TEST(AttentionOracle, TemperaturesAndScales) {
  const float infinity = std::numeric_limits<float>::infinity();
  for (const float temperature : {0.0F, 1e-3F, 0.7F, 1.0F, 3.0F, 1e30F, infinity}) {
    for (const float scale : {-0.3F, 0.0F, 0.125F, 2.0F}) {
      CaseSpec spec = single(33, 300, 40);
      spec.config.causal = true;
      spec.config.temperature = temperature;
      spec.config.scale = scale;
      check(spec);
      if (HasFailure()) return;
    }
  }
}

TEST(AttentionOracle, TinyAndHugeInputs) {
  for (const Distribution distribution : {Distribution::tiny, Distribution::huge}) {
    for (const std::int32_t keys : {1, 40, 300, 600}) {
      CaseSpec spec = single(50, keys, 40);
      spec.config.causal = true;
      spec.distribution = distribution;
      check(spec);
      if (HasFailure()) return;
    }
  }
}

template <class T, std::size_t N>
T any_of(Random& random, const std::array<T, N>& from) {
  return random.pick(std::span<const T>(from));
}

proof::ModifierSpec random_modifiers(Random& random) {
  constexpr std::array types = {DType::f32, DType::f16, DType::bf16};
  proof::ModifierSpec modifiers;
  if (random.below(2) == 0) modifiers.softcap = 3;
  modifiers.alibi = random.below(2) == 0;
  modifiers.sinks = random.below(2) == 0;
  modifiers.biases = static_cast<proof::Biases>(random.below(5));
  modifiers.bias_type = any_of(random, types);
  modifiers.temperatures = static_cast<proof::Temperatures>(random.below(3));
  return modifiers;
}

proof::MaskSpec random_mask(Random& random) {
  proof::MaskSpec mask;
  mask.pattern = static_cast<proof::Pattern>(random.below(6));
  mask.type = static_cast<MaskType>(random.below(5));
  mask.per_head = random.below(2) == 0;
  mask.per_sequence = random.below(2) == 0;
  return mask;
}

/// A point of the whole space, the small end of each axis more often than the large one.
CaseSpec random_spec(std::uint64_t seed) {
  Random random(seed);
  CaseSpec spec;
  spec.seed = seed;
  AttentionConfig& c = spec.config;
  c.head_dim = any_of(random, kHeadDims);
  c.value_head_dim = random.below(2) == 0 ? 0 : any_of(random, kHeadDims);
  const std::int64_t group = any_of(random, kGroups);
  c.kv_heads = group > 7 ? 1 : 1 + random.below(3);
  c.query_heads = group * c.kv_heads;
  c.causal = random.below(2) == 0;
  c.alignment = random.below(3) == 0 ? Alignment::start : Alignment::end;
  if (random.below(3) == 0) c.window_left = any_of(random, kWindows);
  if (random.below(3) == 0) c.window_right = any_of(random, kWindows);
  if (random.below(4) == 0) c.temperature = 0.5F;
  if (random.below(4) == 0) c.scale = 0.2F;
  if (random.below(3) == 0) spec.modifiers = random_modifiers(random);
  if (random.below(4) == 0) spec.mask = random_mask(random);
  if (random.below(4) == 0) c.keep_first = random.below(70);
  const bool prefixes = random.below(5) == 0;
  spec.form = static_cast<Form>(random.below(3));
  spec.storage = static_cast<Storage>(random.below(5));
  spec.distribution = random.below(3) == 0 ? Distribution::sharp : Distribution::normal;
  const std::int64_t sequences = spec.form == Form::dense ? 1 + random.below(2) : random.below(4);
  for (std::int64_t b = 0; b < sequences; ++b) {
    if (spec.form == Form::dense && b > 0) {
      spec.queries.push_back(spec.queries.front());
      spec.keys.push_back(spec.keys.front());
      continue;
    }
    const bool long_keys = random.below(6) == 0;
    spec.keys.push_back(long_keys ? any_of(random, kLongLengths) : any_of(random, kLengths));
    const bool few = random.below(2) == 0 || long_keys || group > 7 || c.head_dim > 128;
    spec.queries.push_back(few ? static_cast<std::int32_t>(random.below(12))
                               : any_of(random, kLengths));
  }
  if (spec.form != Form::dense && sequences > 0 && random.below(8) == 0) spec.keys.back() = 0;
  if (random.below(4) == 0 && !spec.keys.empty() && spec.keys.front() < 100) {
    spec.queries = spec.keys;
  }
  for (std::size_t b = 0; prefixes && b < spec.keys.size(); ++b) {
    spec.visible_prefixes.push_back(static_cast<std::int32_t>(random.below(spec.keys[b] + 1)));
  }
  return spec;
}

class AttentionOracleSamples : public testing::TestWithParam<std::uint64_t> {};

TEST_P(AttentionOracleSamples, OfTheWholeSpace) {
  const std::uint64_t cases = thorough() ? 300 : 15;
  for (std::uint64_t i = 0; i < cases; ++i) {
    check(random_spec(GetParam() * 1000 + i));
    if (HasFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, AttentionOracleSamples, testing::Values(1, 2, 3, 4));

// Others each time; HEED_TEST_SEED repeats those of a failure, which names it.
TEST(AttentionOracle, SamplesOfChance) {
  const char* const given = std::getenv("HEED_TEST_SEED");
  const std::uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 10)
                                              : std::uint64_t{std::random_device()()} << 16;
  SCOPED_TRACE("HEED_TEST_SEED=" + std::to_string(seed));
  for (std::uint64_t i = 0; i < (thorough() ? 100 : 10); ++i) {
    check(random_spec(seed + i));
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace heed::tests
