// Structs of the C interface: their defaults are those of C++, and older and newer callers are
// understood or refused.
#include <cstddef>
#include <cstring>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "tests/c/to_c.h"

namespace heed::tests {
namespace {

constexpr unsigned char kUntouched = 0x5A;

/// What is the same of all structs.
struct Versioned {
  const char* name;
  std::vector<std::byte> defaults;  ///< of the whole struct
  std::function<heed_status(void*, std::size_t)> init;
};

/// `set` sets what is not 0.
template <class Struct>
Versioned versioned(const char* name, heed_status (*init)(Struct*, std::size_t),
                    const std::function<void(Struct&)>& set = {}) {
  Struct expected;
  std::memset(&expected, 0, sizeof expected);
  expected.struct_size = sizeof expected;
  if (set) set(expected);
  const auto* bytes = reinterpret_cast<const std::byte*>(&expected);
  return {name, {bytes, bytes + sizeof expected}, [init](void* c, std::size_t size) {
            return init(static_cast<Struct*>(c), size);
          }};
}

#define VERSIONED(type, ...) versioned<type>(#type, type##_init_sized __VA_OPT__(, ) __VA_ARGS__)

void set_config(heed_attention_config& c) {
  const AttentionConfig config;
  c.query_heads = config.query_heads;
  c.kv_heads = config.kv_heads;
  c.head_dim = config.head_dim;
  c.value_head_dim = config.value_head_dim;
  c.causal = config.causal;
  c.alignment = static_cast<heed_alignment>(config.alignment);
  c.window_left = config.window_left;
  c.window_right = config.window_right;
  c.keep_first = config.keep_first;
  c.temperature = config.temperature;
  c.products = static_cast<heed_products>(config.products);
  c.q_type = static_cast<heed_dtype>(config.q_type);
}

void set_mask(heed_key_mask& c) {
  const KeyMask mask;
  c.type = static_cast<heed_mask_type>(mask.type);
  c.query_stride = mask.query_stride;
  c.query_block = mask.query_block;
  c.key_block = mask.key_block;
  c.last_keys = mask.last_keys;
}

void set_scaling(heed_rotary_scaling& c) {
  const RotaryScaling scaling;
  c.kind = static_cast<heed_rotary_scaling_kind>(scaling.kind);
  c.truncate = scaling.truncate;
  c.factor = scaling.factor;
  c.original_positions = scaling.original_positions;
  c.low_freq_factor = scaling.low_freq_factor;
  c.high_freq_factor = scaling.high_freq_factor;
  c.beta_fast = scaling.beta_fast;
  c.beta_slow = scaling.beta_slow;
  c.mscale = scaling.mscale;
  c.mscale_all_dim = scaling.mscale_all_dim;
  c.attention_factor = scaling.attention_factor;
}

void set_rotary(heed_rotary_config& c) {
  const RotaryConfig config;
  c.rotary_dim = config.rotary_dim;
  c.pairs = static_cast<heed_rotary_pairs>(config.pairs);
  c.base = config.base;
  c.position_scale = config.position_scale;
}

void set_cache(heed_kv_cache_config& c) {
  const KvCacheConfig config;
  c.layers = config.layers;
  c.sequences = config.sequences;
  c.k_type = static_cast<heed_dtype>(config.k_type);
  c.k_zero_points = config.k_zero_points;
}

void set_softmax(heed_softmax_options& c) {
  const SoftmaxOptions options;
  c.scale = options.scale;
  c.temperature = options.temperature;
  c.workers = options.workers;
}

void set_rule(heed_sampling_rule& c) {
  const SamplingRule rule;
  c.temperature = rule.temperature;
  c.top_k = rule.top_k;
  c.top_p = rule.top_p;
  c.min_p = rule.min_p;
}

std::vector<Versioned> all_structs() {
  return {
      VERSIONED(heed_dtype_info),
      VERSIONED(heed_isa_info),
      VERSIONED(heed_cpu_info),
      VERSIONED(heed_run_options, [](auto& c) { c.workers = RunOptions().workers; }),
      VERSIONED(heed_attention_config, set_config),
      VERSIONED(heed_paged_layout, [](auto& c) { c.pages = PagedLayout().pages; }),
      VERSIONED(heed_key_mask, set_mask),
      VERSIONED(heed_key_lists),
      VERSIONED(heed_key_shard, [](auto& c) { c.whole_length = KeyShard().whole_length; }),
      VERSIONED(heed_batch, [](auto& c) { c.sequences = Batch().sequences; }),
      VERSIONED(heed_plan_options, [](auto& c) { c.tile_keys = PlanOptions().tile_keys; }),
      VERSIONED(heed_forecast),
      VERSIONED(heed_page_tables, [](auto& c) { c.stride = PageTables().stride; }),
      VERSIONED(heed_score_bias, [](auto& c) { c.key_stride = ScoreBias().key_stride; }),
      VERSIONED(heed_row_temperatures),
      VERSIONED(heed_score_modifiers, [](auto& c) { c.softcap = ScoreModifiers().softcap; }),
      VERSIONED(heed_attention_tensors),
      VERSIONED(heed_attention_weights, [](auto& c) { c.top = AttentionWeights().top; }),
      VERSIONED(heed_rotary_scaling, set_scaling),
      VERSIONED(heed_rotary_config, set_rotary),
      VERSIONED(heed_rotary_tensors, [](auto& c) { c.heads = RotaryTensors().heads; }),
      VERSIONED(heed_rms_norm, [](auto& c) { c.epsilon = RmsNorm().epsilon; }),
      VERSIONED(heed_head_tensors, [](auto& c) { c.heads = HeadTensors().heads; }),
      VERSIONED(heed_page_budget, [](auto& c) { c.pages = PageBudget().pages; }),
      VERSIONED(heed_kv_pages),
      VERSIONED(heed_kv_cache_config, set_cache),
      VERSIONED(heed_new_tokens),
      VERSIONED(heed_const_rows),
      VERSIONED(heed_rows),
      VERSIONED(heed_softmax_options, set_softmax),
      VERSIONED(heed_logits),
      VERSIONED(heed_sampling_rule, set_rule),
      VERSIONED(heed_samples),
  };
}

/// As a caller of this size finds them: its own size, and nothing that it has no room for.
std::vector<std::byte> expected_of(const Versioned& type, std::size_t size) {
  std::vector<std::byte> expected = type.defaults;
  expected.resize(size);
  std::memcpy(expected.data(), &size, sizeof size);
  return expected;
}

TEST(StructsOfC, AreInitialisedWithTheDefaultsOfCpp) {
  for (const Versioned& type : all_structs()) {
    SCOPED_TRACE(type.name);
    // Older callers have less of a struct, newer ones more.
    for (std::size_t size = 8; size <= type.defaults.size() + 16; size += 8) {
      std::vector<std::byte> c(size + 8, std::byte{kUntouched});
      ASSERT_DONE(type.init(c.data(), size));
      std::vector<std::byte> expected = expected_of(type, size);
      expected.resize(size + 8, std::byte{kUntouched});
      EXPECT_EQ(c, expected) << size;
    }
  }
}

TEST(StructsOfC, CannotHaveEverySize) {
  for (const Versioned& type : all_structs()) {
    for (const std::size_t size : {std::size_t{0}, std::size_t{12}, std::size_t{4104},
                                   std::numeric_limits<std::size_t>::max()}) {
      std::vector<std::byte> c(type.defaults.size(), std::byte{kUntouched});
      EXPECT_EQ(type.init(c.data(), size), HEED_INVALID_ARGUMENT) << type.name;
      EXPECT_EQ(heed_last_message(),
                "value.struct_size (" + std::to_string(size) +
                    ") must be a multiple of 8 from 8 to 4096: the struct's init function sets it");
      EXPECT_EQ(c, std::vector(c.size(), std::byte{kUntouched})) << type.name;
    }
    EXPECT_EQ(type.init(nullptr, type.defaults.size()), HEED_INVALID_ARGUMENT);
    EXPECT_STREQ(heed_last_message(), "value must not be null");
  }
}

/// A plan of one query against three keys.
class StructVersions : public testing::Test {
 protected:
  StructVersions() {
    config_.head_dim = 2;
    batch_.query.length = 1;
    batch_.key.length = 3;
    EXPECT_DONE(heed_plan_create(plan_.out()));
  }

  std::int64_t scores(const heed_attention_config* config, const heed_batch* batch) {
    EXPECT_DONE(heed_plan_attention(config, batch, nullptr, plan_));
    std::int64_t scores = 0;
    EXPECT_DONE(heed_plan_visible_scores(plan_, &scores));
    return scores;
  }

  heed_attention_config config_ = initialised(heed_attention_config_init);
  heed_batch batch_ = initialised(heed_batch_init);
  OwnedPlan plan_;
};

TEST_F(StructVersions, AnOlderCallerKeepsDefaults) {
  config_.window_left = 0;
  EXPECT_EQ(scores(&config_, &batch_), 1);
  config_.struct_size = offsetof(heed_attention_config, window_left);
  EXPECT_EQ(scores(&config_, &batch_), 3);

  // What lies after the struct of an older caller may be anything.
  const std::array<std::uint8_t, 3> visible = {1, 0, 0};
  auto mask = initialised(heed_key_mask_init);
  mask.data = visible.data();
  mask.query_stride = 3;
  batch_.mask = &mask;
  EXPECT_EQ(scores(&config_, &batch_), 1);
  std::memset(&batch_.shared_prefixes, kUntouched,
              sizeof batch_ - offsetof(heed_batch, shared_prefixes));
  batch_.struct_size = offsetof(heed_batch, shared_prefixes);
  EXPECT_EQ(scores(&config_, &batch_), 3);
}

TEST_F(StructVersions, ANewerCallerMayNotAskForWhatIsUnknown) {
  struct Later {
    heed_attention_config known;
    std::int64_t unknown = 0;
  } later = {.known = config_};
  later.known.struct_size = sizeof later;
  EXPECT_EQ(scores(&later.known, &batch_), 3);
  later.unknown = std::int64_t{1} << 56;
  EXPECT_EQ(heed_plan_attention(&later.known, &batch_, nullptr, plan_), HEED_INVALID_ARGUMENT);
  EXPECT_EQ(heed_last_message(),
            "config.struct_size (" + std::to_string(sizeof later) +
                ") is larger than this heed's (" + std::to_string(sizeof config_) +
                "), and what it does not know is not 0: the program needs a later heed");
}

TEST_F(StructVersions, FaultsNameTheStruct) {
  auto mask = initialised(heed_key_mask_init);
  mask.struct_size = 3;
  batch_.mask = &mask;
  EXPECT_EQ(heed_plan_attention(&config_, &batch_, nullptr, plan_), HEED_INVALID_ARGUMENT);
  EXPECT_EQ(std::string(heed_last_message()).find("batch.mask.struct_size (3) must be"), 0U);
  mask = initialised(heed_key_mask_init);
  mask.reserved = -2;
  EXPECT_EQ(heed_plan_attention(&config_, &batch_, nullptr, plan_), HEED_INVALID_ARGUMENT);
  EXPECT_STREQ(heed_last_message(), "batch.mask.reserved (-2) must be 0");
  batch_.mask = nullptr;
  batch_.key.lengths_count = 4;
  EXPECT_EQ(heed_plan_attention(&config_, &batch_, nullptr, plan_), HEED_INVALID_ARGUMENT);
  EXPECT_STREQ(heed_last_message(), "batch.key.lengths must not be null: 4 elements are asked for");
}

TEST_F(StructVersions, WhatIsWrittenEndsWhereTheCallersStructDoes) {
  heed_paged_layout whole = initialised(heed_paged_layout_init), part = whole;
  part.struct_size = offsetof(heed_paged_layout, value_head_dim);
  ASSERT_DONE(heed_paged_layout_bhsd(5, 16, 2, 64, 32, &whole));
  ASSERT_DONE(heed_paged_layout_bhsd(5, 16, 2, 64, 32, &part));
  EXPECT_EQ(part.struct_size, offsetof(heed_paged_layout, value_head_dim));
  EXPECT_EQ(part.head_dim, 64);
  EXPECT_EQ(part.value_head_dim, 0);
  EXPECT_EQ(whole.value_head_dim, 32);
  const heed_paged_layout unset = {};
  part = unset;
  EXPECT_EQ(heed_paged_layout_bhsd(5, 16, 2, 64, 32, &part), HEED_INVALID_ARGUMENT);
  EXPECT_EQ(std::memcmp(&part, &unset, sizeof part), 0);
}

}  // namespace
}  // namespace heed::tests
