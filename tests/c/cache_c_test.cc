// Caches, rotary embedding and conversion through the C interface write what they write through
// that of C++.
#include <algorithm>
#include <cstring>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include "tests/c/to_c.h"

namespace heed::tests {
namespace {

constexpr std::int64_t kPages = 12, kPageTokens = 4, kHeads = 2, kDims = 32, kTokens = 10;

std::vector<float> numbers(std::size_t count) {
  std::vector<float> all(count);
  for (std::size_t i = 0; i < count; ++i) all[i] = static_cast<float>((i * 37) % 101) / 50 - 1;
  return all;
}

/// The same cache twice, that of C++ and that of C.
struct Pair {
  explicit Pair(DType type, bool zero_points = false) {
    PagedLayout layout = PagedLayout::bhsd(kPages, kPageTokens, kHeads, kDims);
    if (type == DType::int8) {
      layout.k_scales = ScaleLayout::per_token(kPageTokens, kHeads, kDims, 8);
    }
    const Status status = KvCache::create({.layout = layout,
                                           .layers = 2,
                                           .sequences = 3,
                                           .k_type = type,
                                           .v_type = type,
                                           .k_zero_points = zero_points,
                                           .v_zero_points = zero_points},
                                          cpp);
    EXPECT_TRUE(status.ok()) << status.message();
    const CPagedLayout c_layout(layout);
    auto config = initialised(heed_kv_cache_config_init);
    config.layout = c_layout.pointer();
    config.layers = 2;
    config.sequences = 3;
    config.k_type = config.v_type = static_cast<heed_dtype>(type);
    config.k_zero_points = config.v_zero_points = zero_points;
    EXPECT_DONE(heed_kv_cache_create(&config, c.out()));
    // What is not written is not initialised.
    const KvPages pages = cpp.layer(0);
    heed_kv_pages c_pages = initialised(heed_kv_pages_init);
    EXPECT_DONE(heed_kv_cache_layer(c, 0, &c_pages));
    std::memset(pages.k.data(), 0, cpp.bytes());
    std::memset(c_pages.k.data, 0, cpp.bytes());
  }

  /// Fails the test where the memory of any layer differs.
  void expect_same() const {
    heed_kv_pages pages = initialised(heed_kv_pages_init);
    ASSERT_DONE(heed_kv_cache_layer(c, 0, &pages));
    const auto* first = static_cast<const std::byte*>(cpp.layer(0).k.data());
    EXPECT_EQ(std::memcmp(first, pages.k.data, cpp.bytes()), 0);
    // Each part of a layer lies where it lies in C++.
    ASSERT_DONE(heed_kv_cache_layer(c, 1, &pages));
    const KvPages expected = cpp.layer(1);
    const auto* c_first = static_cast<const std::byte*>(first_of_c());
    const auto place = [&](const void* data) {
      return data == nullptr ? -1 : static_cast<const std::byte*>(data) - c_first;
    };
    const auto cpp_place = [&](const void* data) {
      return data == nullptr ? -1 : static_cast<const std::byte*>(data) - first;
    };
    EXPECT_EQ(place(pages.k.data), cpp_place(expected.k.data()));
    EXPECT_EQ(place(pages.v.data), cpp_place(expected.v.data()));
    EXPECT_EQ(place(pages.k_scales.scales), cpp_place(expected.k_scales.scales));
    EXPECT_EQ(place(pages.k_scales.zero_points), cpp_place(expected.k_scales.zero_points));
    EXPECT_EQ(place(pages.v_scales.zero_points), cpp_place(expected.v_scales.zero_points));
    EXPECT_EQ(pages.k.type, static_cast<heed_dtype>(expected.k.type()));
  }

  const void* first_of_c() const {
    heed_kv_pages pages = initialised(heed_kv_pages_init);
    EXPECT_DONE(heed_kv_cache_layer(c, 0, &pages));
    return pages.k.data;
  }

  KvCache cpp;
  OwnedCache c;
};

/// Keys and values of new tokens in both caches, rotated.
void append_to(Pair& pair, std::int32_t id, std::int64_t layer, std::int64_t first) {
  std::vector<std::int64_t> slots(kTokens), c_slots(kTokens), positions(kTokens);
  std::iota(positions.begin(), positions.end(), first);
  ASSERT_TRUE(pair.cpp.extend(id, slots).ok());
  ASSERT_DONE(heed_kv_cache_extend(pair.c, id, c_slots.data(), c_slots.size()));
  EXPECT_EQ(slots, c_slots);

  Rotary rotary;
  OwnedRotary c_rotary;
  ASSERT_TRUE(Rotary::create({.rotary_dim = kDims, .positions = 64}, rotary).ok());
  auto config = initialised(heed_rotary_config_init);
  config.rotary_dim = kDims;
  config.positions = 64;
  ASSERT_DONE(heed_rotary_create(&config, c_rotary.out()));

  const std::vector<float> k = numbers(kTokens * kHeads * kDims), v(k.rbegin(), k.rend());
  const Status status = append(
      pair.cpp.layout(), pair.cpp.layer(layer),
      {.k = k.data(), .v = v.data(), .slots = slots, .rotary = &rotary, .positions = positions});
  ASSERT_TRUE(status.ok()) << status.message();
  heed_paged_layout layout = initialised(heed_paged_layout_init);
  heed_kv_pages pages = initialised(heed_kv_pages_init);
  ASSERT_DONE(heed_kv_cache_layout(pair.c, &layout));
  ASSERT_DONE(heed_kv_cache_layer(pair.c, layer, &pages));
  auto tokens = initialised(heed_new_tokens_init);
  tokens.k = {k.data(), HEED_F32};
  tokens.v = {v.data(), HEED_F32};
  tokens.slots = c_slots.data();
  tokens.slots_count = c_slots.size();
  tokens.rotary = c_rotary;
  tokens.positions = positions.data();
  tokens.positions_count = positions.size();
  ASSERT_DONE(heed_append(&layout, &pages, &tokens, nullptr));
}

TEST(CachesInC, HoldWhatThoseOfCppHold) {
  for (const DType type : {DType::f32, DType::f16, DType::bf16, DType::int8, DType::q8_0}) {
    SCOPED_TRACE(dtype_info(type).name);
    Pair pair(type, type == DType::int8);
    std::int32_t id = -1, child = -1, c_id = -1;
    ASSERT_TRUE(pair.cpp.add(id).ok());
    ASSERT_DONE(heed_kv_cache_add(pair.c, &c_id));
    EXPECT_EQ(id, c_id);
    append_to(pair, id, 0, 0);
    pair.expect_same();
    ASSERT_TRUE(pair.cpp.fork(id, 6, child).ok());
    ASSERT_DONE(heed_kv_cache_fork(pair.c, id, 6, &c_id));
    EXPECT_EQ(child, c_id);
    append_to(pair, child, 1, 6);  // which copies a page
    pair.expect_same();
    ASSERT_TRUE(pair.cpp.truncate(id, 3).ok());
    ASSERT_DONE(heed_kv_cache_truncate(pair.c, id, 3));
    ASSERT_TRUE(pair.cpp.remove(child).ok());
    ASSERT_DONE(heed_kv_cache_remove(pair.c, child));
    std::int64_t tokens = 0, pages = 0;
    EXPECT_DONE(heed_kv_cache_tokens(pair.c, id, &tokens));
    EXPECT_EQ(tokens, 3);
    EXPECT_DONE(heed_kv_cache_tokens(pair.c, child, &tokens));
    EXPECT_EQ(tokens, -1);
    EXPECT_DONE(heed_kv_cache_free_pages(pair.c, &pages));
    EXPECT_EQ(pages, pair.cpp.free_pages());
  }
}

TEST(CachesInC, FactsOfACache) {
  const Pair pair(DType::int8);
  std::int64_t layers = 0;
  heed_dtype k_type = HEED_F32, v_type = HEED_F32;
  size_t bytes = 0;
  heed_paged_layout layout = initialised(heed_paged_layout_init);
  EXPECT_DONE(heed_kv_cache_layers(pair.c, &layers));
  EXPECT_DONE(heed_kv_cache_k_type(pair.c, &k_type));
  EXPECT_DONE(heed_kv_cache_v_type(pair.c, &v_type));
  EXPECT_DONE(heed_kv_cache_bytes(pair.c, &bytes));
  EXPECT_DONE(heed_kv_cache_layout(pair.c, &layout));
  EXPECT_EQ(layers, 2);
  EXPECT_EQ(k_type, HEED_INT8);
  EXPECT_EQ(v_type, HEED_INT8);
  EXPECT_EQ(bytes, pair.cpp.bytes());
  const PagedLayout& expected = pair.cpp.layout();
  EXPECT_EQ(layout.pages, expected.pages);
  EXPECT_EQ(layout.k.page, expected.k.page);
  ASSERT_NE(layout.k_scales, nullptr);
  EXPECT_EQ(layout.k_scales->group, expected.k_scales->group);
  EXPECT_EQ(layout.v_scales != nullptr, expected.v_scales.has_value());
  heed_kv_pages none = initialised(heed_kv_pages_init);
  EXPECT_DONE(heed_kv_cache_layer(pair.c, 2, &none));
  EXPECT_EQ(none.k.data, nullptr);
}

/// Page tables of three sequences, of which the second one shares a prefix of the first.
struct Tables {
  std::vector<std::int32_t> block_table = std::vector<std::int32_t>(12, -7),
                            indptr = {-7, -7, -7, -7}, indices = std::vector<std::int32_t>(12, -7),
                            prefixes = {-7, -7, -7};
  bool operator==(const Tables&) const = default;
};

TEST(CachesInC, PageTablesOfSequences) {
  PagedSequences cpp;
  ASSERT_TRUE(PagedSequences::create({kPages, kPageTokens, 3, 0}, cpp).ok());
  auto budget = initialised(heed_page_budget_init);
  budget.pages = kPages;
  budget.page_tokens = kPageTokens;
  budget.sequences = 3;
  OwnedSequences c;
  ASSERT_DONE(heed_paged_sequences_create(&budget, c.out()));

  std::vector<std::int64_t> slots(10), c_slots(10);
  PageCopy copy;
  heed_page_copy c_copy = {-7, -7, -7};
  std::int32_t id = 0, c_id = 0;
  const auto expect_extended = [&] {
    ASSERT_EQ(id, c_id);
    ASSERT_TRUE(cpp.extend(id, slots, copy).ok());
    ASSERT_DONE(heed_paged_sequences_extend(c, c_id, c_slots.data(), c_slots.size(), &c_copy));
    EXPECT_EQ(slots, c_slots);
    EXPECT_EQ(copy.from, c_copy.from);
    EXPECT_EQ(copy.to, c_copy.to);
    EXPECT_EQ(copy.tokens, c_copy.tokens);
  };
  ASSERT_TRUE(cpp.add(id).ok());
  ASSERT_DONE(heed_paged_sequences_add(c, &c_id));
  expect_extended();
  ASSERT_TRUE(cpp.fork(0, 6, id).ok());
  ASSERT_DONE(heed_paged_sequences_fork(c, 0, 6, &c_id));
  expect_extended();
  EXPECT_EQ(copy.tokens, 2);
  ASSERT_TRUE(cpp.add(id).ok());
  ASSERT_DONE(heed_paged_sequences_add(c, &c_id));
  expect_extended();
  ASSERT_TRUE(cpp.truncate(id, 1).ok());
  ASSERT_DONE(heed_paged_sequences_truncate(c, id, 1));

  const std::vector<std::int32_t> ids = {0, 1, 2};
  Tables expected, tables;
  ASSERT_TRUE(cpp.block_table(ids, 4, expected.block_table).ok());
  ASSERT_TRUE(cpp.page_lists(ids, expected.indptr, expected.indices).ok());
  ASSERT_TRUE(cpp.shared_prefixes(ids, expected.prefixes).ok());
  ASSERT_DONE(heed_paged_sequences_block_table(c, ids.data(), 3, 4, tables.block_table.data(), 12));
  ASSERT_DONE(heed_paged_sequences_page_lists(c, ids.data(), 3, tables.indptr.data(),
                                              tables.indices.data(), 12));
  ASSERT_DONE(heed_paged_sequences_shared_prefixes(c, ids.data(), 3, tables.prefixes.data()));
  EXPECT_TRUE(tables == expected);
  EXPECT_EQ(heed_paged_sequences_block_table(c, ids.data(), 3, 4, tables.block_table.data(), 11),
            HEED_INVALID_ARGUMENT);

  const std::int32_t* pages = nullptr;
  size_t count = 0;
  ASSERT_DONE(heed_paged_sequences_pages(c, 1, &pages, &count));
  EXPECT_TRUE(std::ranges::equal(std::span(pages, count), cpp.pages(1)));
  std::int64_t number = 0;
  EXPECT_DONE(heed_paged_sequences_free_pages(c, &number));
  EXPECT_EQ(number, cpp.free_pages());
  EXPECT_DONE(heed_paged_sequences_remove(c, 2));
  EXPECT_DONE(heed_paged_sequences_tokens(c, 2, &number));
  EXPECT_EQ(number, -1);
}

TEST(CachesInC, FindAndForgetPagesAsInCpp) {
  PagedSequences cpp;
  ASSERT_TRUE(PagedSequences::create({kPages, kPageTokens, 3, 0, true}, cpp).ok());
  auto budget = initialised(heed_page_budget_init);
  budget.pages = kPages;
  budget.page_tokens = kPageTokens;
  budget.sequences = 3;
  budget.prefixes = 1;
  OwnedSequences c;
  ASSERT_DONE(heed_paged_sequences_create(&budget, c.out()));
  std::vector<std::int32_t> text(kTokens, 5);
  std::vector<std::int64_t> slots(kTokens);
  std::int32_t id = -1, c_id = -1;
  std::int64_t found = -1, c_found = -1;
  PageCopy copy;
  heed_page_copy c_copy;
  ASSERT_TRUE(cpp.begin(text, id, found).ok());
  ASSERT_DONE(heed_paged_sequences_begin(c, text.data(), text.size(), &c_id, &c_found));
  EXPECT_EQ(c_found, 0);
  ASSERT_TRUE(cpp.extend(id, slots, copy).ok());
  ASSERT_DONE(heed_paged_sequences_extend(c, id, slots.data(), slots.size(), &c_copy));
  ASSERT_TRUE(cpp.publish(id, text).ok());
  ASSERT_DONE(heed_paged_sequences_publish(c, id, text.data(), text.size()));
  ASSERT_TRUE(cpp.begin(text, id, found).ok());
  ASSERT_DONE(heed_paged_sequences_begin(c, text.data(), text.size(), &c_id, &c_found));
  EXPECT_EQ(c_id, id);
  EXPECT_EQ(c_found, 8);
  EXPECT_EQ(c_found, found);
  ASSERT_TRUE(cpp.forget(id, 8, 2).ok());
  ASSERT_DONE(heed_paged_sequences_forget(c, id, 8, 2));
  const std::int32_t* pages = nullptr;
  size_t count = 0;
  ASSERT_DONE(heed_paged_sequences_pages(c, id, &pages, &count));
  EXPECT_TRUE(std::ranges::equal(std::span(pages, count), cpp.pages(id)));
  EXPECT_EQ(pages[1], -1);

  const CPagedLayout layout(PagedLayout::bshd(kPages, kPageTokens, kHeads, kDims));
  auto config = initialised(heed_kv_cache_config_init);
  config.layout = layout.pointer();
  config.sequences = 3;
  OwnedCache without, cache;
  ASSERT_DONE(heed_kv_cache_create(&config, without.out()));
  EXPECT_EQ(heed_kv_cache_publish(without, 0, text.data(), 1), HEED_INVALID_ARGUMENT);
  config.prefixes = 1;
  ASSERT_DONE(heed_kv_cache_create(&config, cache.out()));
  ASSERT_DONE(heed_kv_cache_begin(cache, text.data(), text.size(), &id, &found));
  ASSERT_DONE(heed_kv_cache_extend(cache, id, slots.data(), slots.size()));
  ASSERT_DONE(heed_kv_cache_publish(cache, id, text.data(), text.size()));
  ASSERT_DONE(heed_kv_cache_forget(cache, id, 4, 0));
  ASSERT_DONE(heed_kv_cache_begin(cache, text.data(), text.size(), &id, &found));
  EXPECT_EQ(found, 8);
}

TEST(CachesInC, LayoutsOfPages) {
  const auto expect_same = [](const heed_paged_layout& c, const PagedLayout& layout) {
    const CPagedLayout expected(layout);
    EXPECT_EQ(std::memcmp(&c, expected.pointer(), sizeof c), 0);
  };
  heed_paged_layout c = initialised(heed_paged_layout_init);
  EXPECT_DONE(heed_paged_layout_bshd(5, 16, 2, 64, 0, &c));
  expect_same(c, PagedLayout::bshd(5, 16, 2, 64));
  EXPECT_DONE(heed_paged_layout_together(&c));
  expect_same(c, PagedLayout::together(PagedLayout::bshd(5, 16, 2, 64)));
  const heed_scale_layout scales = {};
  EXPECT_DONE(heed_paged_layout_bhsd(5, 16, 2, 64, 32, &c));
  expect_same(c, PagedLayout::bhsd(5, 16, 2, 64, 32));
  c.k_scales = &scales;
  EXPECT_DONE(heed_paged_layout_together(&c));
  EXPECT_EQ(c.k_scales, &scales);
}

TEST(RotaryInC, TurnsAsInCpp) {
  Rotary rotary;
  const RotaryConfig expected = {.rotary_dim = 16,
                                 .pairs = RotaryPairs::halves,
                                 .base = 500.0,
                                 .position_scale = 0.5,
                                 .positions = 64};
  ASSERT_TRUE(Rotary::create(expected, rotary).ok());
  auto config = initialised(heed_rotary_config_init);
  config.rotary_dim = 16;
  config.pairs = HEED_ROTARY_HALVES;
  config.base = 500.0;
  config.position_scale = 0.5;
  config.positions = 64;
  OwnedRotary c;
  ASSERT_DONE(heed_rotary_create(&config, c.out()));
  auto known = initialised(heed_rotary_config_init);
  EXPECT_DONE(heed_get_rotary_config(c, &known));
  EXPECT_EQ(known.rotary_dim, config.rotary_dim);
  EXPECT_EQ(known.pairs, config.pairs);
  EXPECT_EQ(known.base, config.base);
  EXPECT_EQ(known.position_scale, config.position_scale);
  EXPECT_EQ(known.positions, config.positions);

  const std::vector<float> x = numbers(kTokens * kHeads * kDims);
  std::vector<BFloat16> y(x.size()), c_y(x.size());
  std::vector<std::int64_t> positions(kTokens, 63);
  const Layout layout = Layout::bhsd(kTokens, kHeads, kDims);
  ASSERT_TRUE(rotate(rotary, {.x = x.data(),
                              .y = y.data(),
                              .heads = kHeads,
                              .head_dim = kDims,
                              .x_layout = layout,
                              .positions = positions})
                  .ok());
  const heed_layout c_layout = to_c(layout);
  auto tensors = initialised(heed_rotary_tensors_init);
  tensors.x = {x.data(), HEED_F32};
  tensors.y = {c_y.data(), HEED_BF16};
  tensors.heads = kHeads;
  tensors.head_dim = kDims;
  tensors.x_layout = &c_layout;
  tensors.positions = positions.data();
  tensors.positions_count = positions.size();
  auto options = initialised(heed_run_options_init);
  options.workers = 1;
  ASSERT_DONE(heed_rotate(c, &tensors, &options));
  EXPECT_EQ(std::memcmp(y.data(), c_y.data(), y.size() * sizeof(BFloat16)), 0);
  options.isa = "avx3";
  EXPECT_EQ(heed_rotate(c, &tensors, &options), HEED_INVALID_ARGUMENT);
  EXPECT_EQ(std::string(heed_last_message()).find("isa (\"avx3\") must be one of"), 0U);
}

/// The scaling of LongRoPE with everything else another than its default.
const RotaryScaling kLongRope = {.kind = RotaryScalingKind::long_rope,
                                 .factor = 8.0,
                                 .original_positions = 16,
                                 .low_freq_factor = 2.0,
                                 .high_freq_factor = 5.0,
                                 .beta_fast = 31.0,
                                 .beta_slow = 2.0,
                                 .truncate = false,
                                 .mscale = 0.5,
                                 .mscale_all_dim = 0.25};

heed_rotary_scaling c_scaling(const RotaryScaling& scaling) {
  auto c = initialised(heed_rotary_scaling_init);
  c.kind = static_cast<heed_rotary_scaling_kind>(scaling.kind);
  c.truncate = scaling.truncate ? 1 : 0;
  c.factor = scaling.factor;
  c.original_positions = scaling.original_positions;
  c.low_freq_factor = scaling.low_freq_factor;
  c.high_freq_factor = scaling.high_freq_factor;
  c.beta_fast = scaling.beta_fast;
  c.beta_slow = scaling.beta_slow;
  c.mscale = scaling.mscale;
  c.mscale_all_dim = scaling.mscale_all_dim;
  c.attention_factor = scaling.attention_factor;
  c.short_factors = scaling.short_factors.data();
  c.short_factors_count = scaling.short_factors.size();
  c.long_factors = scaling.long_factors.data();
  c.long_factors_count = scaling.long_factors.size();
  return c;
}

TEST(RotaryInC, ScalesAsInCpp) {
  const std::vector<double> shorter = {1, 2, 3, 4}, longer = {5, 6, 7, 8};
  const std::vector<double> frequencies = {1.5, 0.5, 0.25, 0.125}, factors = {1, 1, 2, 3};
  for (const RotaryScalingKind kind :
       {RotaryScalingKind::none, RotaryScalingKind::linear, RotaryScalingKind::dynamic_ntk,
        RotaryScalingKind::llama3, RotaryScalingKind::yarn, RotaryScalingKind::long_rope}) {
    for (const double attention : {0.0, 1.25}) {
      SCOPED_TRACE(static_cast<int>(kind));
      RotaryConfig config = {.rotary_dim = 8, .positions = 64, .scaling = kLongRope};
      config.scaling.kind = kind;
      config.scaling.attention_factor = attention;
      config.factors = factors;
      const bool listed = kind == RotaryScalingKind::long_rope;
      if (listed) config.scaling.short_factors = shorter, config.scaling.long_factors = longer;
      if (listed) config.frequencies = frequencies;
      Rotary rotary;
      ASSERT_TRUE(Rotary::create(config, rotary).ok());

      const heed_rotary_scaling scaling = c_scaling(config.scaling);
      auto c_config = initialised(heed_rotary_config_init);
      c_config.rotary_dim = 8;
      c_config.positions = 64;
      c_config.scaling = &scaling;
      c_config.frequencies = config.frequencies.data();
      c_config.frequencies_count = config.frequencies.size();
      c_config.factors = factors.data();
      c_config.factors_count = factors.size();
      OwnedRotary c;
      ASSERT_DONE(heed_rotary_create(&c_config, c.out()));
      const double* known = nullptr;
      std::size_t count = 0;
      double factor = 0;
      ASSERT_DONE(heed_rotary_frequencies(c, &known, &count));
      ASSERT_DONE(heed_rotary_attention_factor(c, &factor));
      EXPECT_TRUE(std::ranges::equal(std::span(known, count), rotary.frequencies()));
      EXPECT_EQ(factor, rotary.attention_factor());
      auto written = initialised(heed_rotary_config_init);
      EXPECT_DONE(heed_get_rotary_config(c, &written));
      EXPECT_EQ(written.scaling, nullptr);
      EXPECT_EQ(written.factors, nullptr);
    }
  }
}

TEST(HeadNormInC, NormalisesAsInCpp) {
  const std::vector<float> x = numbers(kTokens * kHeads * kDims), weight = numbers(kDims);
  std::vector<float> y(x.size()), c_y(x.size());
  const Layout layout = Layout::bhsd(kTokens, kHeads, kDims);
  ASSERT_TRUE(normalise_heads({.weight = weight.data(), .weight_offset = 1.0F, .epsilon = 0.25},
                              {.x = x.data(),
                               .y = y.data(),
                               .tokens = kTokens,
                               .heads = kHeads,
                               .head_dim = kDims,
                               .x_layout = layout})
                  .ok());
  const heed_layout c_layout = to_c(layout);
  auto norm = initialised(heed_rms_norm_init);
  norm.weight = weight.data();
  norm.weight_offset = 1.0F;
  norm.epsilon = 0.25;
  auto tensors = initialised(heed_head_tensors_init);
  tensors.x = x.data();
  tensors.y = c_y.data();
  tensors.tokens = kTokens;
  tensors.heads = kHeads;
  tensors.head_dim = kDims;
  tensors.x_layout = &c_layout;
  ASSERT_DONE(heed_normalise_heads(&norm, &tensors, nullptr));
  EXPECT_EQ(y, c_y);
  tensors.x_layout = nullptr;
  tensors.y_layout = &c_layout;
  ASSERT_DONE(heed_normalise_heads(&norm, &tensors, nullptr));
  EXPECT_NE(y, c_y);
}

TEST(HeadNormInC, TakesEveryTypeOfQueries) {
  const std::vector<float> floats = numbers(kTokens * kHeads * kDims);
  std::vector<BFloat16> x(floats.size());
  std::vector<Float16> y(x.size()), c_y(x.size());
  ASSERT_TRUE(convert(floats.data(), x.data(), kTokens * kHeads * kDims).ok());
  const HeadTensors wanted = {
      .x = x.data(), .y = y.data(), .tokens = kTokens, .heads = kHeads, .head_dim = kDims};
  ASSERT_TRUE(normalise_heads({}, wanted).ok());
  auto norm = initialised(heed_rms_norm_init);
  auto tensors = initialised(heed_head_tensors_init);
  tensors.x = x.data();
  tensors.y = c_y.data();
  tensors.tokens = kTokens;
  tensors.heads = kHeads;
  tensors.head_dim = kDims;
  tensors.x_type = HEED_BF16;
  tensors.y_type = HEED_F16;
  ASSERT_DONE(heed_normalise_heads(&norm, &tensors, nullptr));
  EXPECT_EQ(std::memcmp(y.data(), c_y.data(), y.size() * sizeof(Float16)), 0);
  EXPECT_GT(std::count_if(y.begin(), y.end(), [](Float16 e) { return e.bits != 0; }), 0);

  // Callers from before these members have f32.
  std::vector<float> y32(x.size()), c_y32(x.size());
  ASSERT_TRUE(normalise_heads({}, {.x = floats.data(),
                                   .y = y32.data(),
                                   .tokens = kTokens,
                                   .heads = kHeads,
                                   .head_dim = kDims})
                  .ok());
  tensors.x = floats.data();
  tensors.y = c_y32.data();
  tensors.struct_size = offsetof(heed_head_tensors, x_type);
  ASSERT_DONE(heed_normalise_heads(&norm, &tensors, nullptr));
  EXPECT_EQ(y32, c_y32);
}

TEST(ConvertInC, GivesTheElementsOfCpp) {
  const std::vector<float> x = numbers(96);
  for (const DTypeInfo& type : kDTypes) {
    if (type.scaled) continue;
    std::vector<std::byte> expected(96 * 4), converted(96 * 4);
    ASSERT_TRUE(convert(x.data(), {expected.data(), type.type}, 96).ok());
    ASSERT_DONE(heed_convert({x.data(), HEED_F32},
                             {converted.data(), static_cast<heed_dtype>(type.type)}, 96, nullptr));
    EXPECT_EQ(expected, converted) << type.name;
  }
}

}  // namespace
}  // namespace heed::tests
