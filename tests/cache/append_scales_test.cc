// append and KvCache with int8 and int4: codes and scales are those of the proof, for every way in
// which elements can share scales, and nothing else is written.
#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <vector>

#include "heed/kv_cache.h"
#include "tests/proof/elements.h"
#include "tests/proof/inputs.h"
#include "tests/proof/numbers.h"
#include "tests/proof/typed_tensors.h"
#include "tests/support/attention_run.h"

namespace heed::tests {
namespace {

using proof::TypedBuffer;

using proof::kInfinity;
using proof::kNan;
constexpr std::int64_t kPages = 12, kHeads = 2, kDims = 48, kTokens = 7;

std::size_t size(std::int64_t count) { return static_cast<std::size_t>(count); }

/// Floats of all sizes, whole vectors of zeros, and now and then what is not finite.
std::vector<float> mixed_floats(std::int64_t count) {
  constexpr std::array<float, 8> kOdd = {0, -0.0F, 1e-30F, -3e38F, 7e4F, -1e-42F, kInfinity, kNan};
  proof::Random random(9);
  std::vector<float> floats(size(count));
  for (std::size_t i = 0; i < floats.size(); ++i) {
    floats[i] = i / kDims % 5 == 4 ? 0.0F : static_cast<float>(random.normal());
    if (random.below(60) == 0) floats[i] = random.pick(std::span<const float>(kOdd));
  }
  return floats;
}

/// A pool of codes with its scales, and how they lie.
struct Pool {
  PagedLayout layout;
  ScaleLayout scales;  ///< complete
  TypedBuffer codes, scale, zero_point;
  std::vector<float> values;  ///< a pool of f32 for the values

  Pool(DType type, std::int64_t page_tokens, const ScaleLayout& s, bool zero_points)
      : layout(PagedLayout::bhsd(kPages, page_tokens, kHeads, kDims)),
        scales(s),
        codes(type, kPages * layout.k.page),
        scale(DType::f32, scale_floats(page_tokens)),
        zero_point(DType::f32, zero_points ? scale_floats(page_tokens) : 0),
        values(size(kPages * layout.v.page)) {
    layout.k_scales = s;
    if (scales.group == 0) scales.group = kDims;
  }

  std::int64_t scale_floats(std::int64_t page_tokens) const {
    const std::int64_t group = scales.group == 0 ? kDims : scales.group;
    return (kPages - 1) * scales.sequence_stride + (page_tokens - 1) * scales.token_stride +
           (kHeads - 1) * scales.head_stride + kDims / group;
  }
  float* zero_points() const {
    return zero_point.bytes().empty() ? nullptr : zero_point.data().as<float>();
  }
  KvPages pages() {
    return {codes.data(), values.data(), {scale.data().as<float>(), zero_points()}, {}};
  }
  std::int64_t offset(std::int64_t page, std::int64_t token, std::int64_t head) const {
    return page * layout.k.page + token * layout.k.token + head * layout.k.head;
  }
  /// The scales of a vector.
  proof::MutableRowScales row(std::int64_t page, std::int64_t token, std::int64_t head) const {
    const std::int64_t at =
        page * scales.sequence_stride + token * scales.token_stride + head * scales.head_stride;
    return {scale.data().as<float>() + at, zero_points() == nullptr ? nullptr : zero_points() + at,
            scales.group};
  }
  /// Gives shared scales these numbers.
  void share(std::span<const float> numbers) {
    for (std::size_t i = 0; i < scale.bytes().size() / sizeof(float); ++i) {
      scale.data().as<float>()[i] = numbers[i % numbers.size()];
      if (zero_points() != nullptr) zero_points()[i] = static_cast<float>(i % 9) - 4.5F;
    }
  }
};

std::vector<std::int64_t> some_slots(std::int64_t page_tokens) {
  return {3, 4, 5, -1, page_tokens * kPages - 1, 0, 9};
}

void append_to(Pool& pool, const std::vector<float>& k, std::string_view isa) {
  const std::vector<std::int64_t> slots = some_slots(pool.layout.page_tokens);
  const NewTokens tokens{.k = k.data(), .v = k.data(), .slots = slots};
  RunOptions options;
  options.isa = isa;
  const Status status = append(pool.layout, pool.pages(), tokens, options);
  ASSERT_TRUE(status.ok()) << status.message();
}

/// The same by the proof, vector by vector.
void append_by_proof(Pool& pool, const std::vector<float>& k, bool write_scales) {
  const std::int64_t page_tokens = pool.layout.page_tokens;
  const std::vector<std::int64_t> slots = some_slots(page_tokens);
  for (std::int64_t i = 0; i < kTokens; ++i) {
    const std::int64_t slot = slots[size(i)];
    if (slot < 0) continue;
    for (std::int64_t head = 0; head < kHeads; ++head) {
      const std::int64_t page = slot / page_tokens, token = slot % page_tokens;
      proof::narrow({k.data() + (i * kHeads + head) * kDims, size(kDims)},
                    pool.codes.data() + pool.offset(page, token, head), pool.row(page, token, head),
                    write_scales);
    }
  }
}

bool same_bytes(const TypedBuffer& a, const TypedBuffer& b) {
  return std::ranges::equal(a.bytes(), b.bytes());
}

bool same_floats(const TypedBuffer& a, const TypedBuffer& b) {
  const auto floats = [](const TypedBuffer& x) {
    return std::span<const float>(x.data().as<float>(), x.bytes().size() / sizeof(float));
  };
  return std::ranges::equal(floats(a), floats(b), same_bits);
}

void expect_as_proof(Pool& pool, Pool& wanted, bool write_scales, std::string_view isa) {
  const std::vector<float> k = mixed_floats(kTokens * kHeads * kDims);
  append_to(pool, k, isa);
  append_by_proof(wanted, k, write_scales);
  EXPECT_TRUE(same_bytes(pool.codes, wanted.codes)) << isa;
  EXPECT_TRUE(same_floats(pool.scale, wanted.scale)) << isa;
  EXPECT_TRUE(same_floats(pool.zero_point, wanted.zero_point)) << isa;
}

TEST(AppendScales, ScalesOfATokenAreWritten) {
  for (const DType type : {DType::int8, DType::int4}) {
    for (const std::int64_t page_tokens : {4, 1}) {
      for (const std::int64_t group : {0, 16, 6, 2}) {
        for (const bool zero_points : {false, true}) {
          for (const std::string_view isa : supported_isas()) {
            const auto scales = ScaleLayout::per_token(page_tokens, kHeads, kDims, group);
            Pool pool(type, page_tokens, scales, zero_points);
            Pool wanted(type, page_tokens, scales, zero_points);
            expect_as_proof(pool, wanted, true, isa);
            if (HasFailure()) return;
          }
        }
      }
    }
  }
}

// Zero and NaN as a scale, too.
TEST(AppendScales, SharedScalesAreRead) {
  constexpr std::array<float, 7> kScales = {0.01F, 0.0F, 1e-3F, kNan, -0.02F, 0.5F, kInfinity};
  for (const DType type : {DType::int8, DType::int4}) {
    for (const ScaleLayout& scales : {ScaleLayout::per_tensor(), ScaleLayout::per_head(),
                                      ScaleLayout::per_channel(kDims), ScaleLayout{6, 16, 0, 8}}) {
      for (const bool zero_points : {false, true}) {
        for (const std::string_view isa : supported_isas()) {
          Pool pool(type, 4, scales, zero_points), wanted(type, 4, scales, zero_points);
          pool.share(kScales);
          wanted.share(kScales);
          expect_as_proof(pool, wanted, false, isa);
          if (HasFailure()) return;
        }
      }
    }
  }
}

TEST(AppendScales, WhatIsRefused) {
  const std::vector<float> k = mixed_floats(kTokens * kHeads * kDims);
  const std::vector<std::int64_t> slots = {0};
  const auto own = ScaleLayout::per_token(4, kHeads, kDims);
  Pool pool(DType::int8, 4, own, true);
  const auto refused = [&](auto change) {
    PagedLayout layout = pool.layout;
    KvPages pages = pool.pages();
    change(layout, pages);
    return std::string(
        append(layout, pages, {.k = k.data(), .v = k.data(), .slots = slots}).message());
  };
  using L = PagedLayout;
  using P = KvPages;
  EXPECT_EQ(refused([](L&, P& p) { p.k_scales = {}; }),
            "pages.k_scales.scales is null; elements of int8 need scales");
  EXPECT_EQ(refused([](L&, P& p) { p.v_scales = p.k_scales; }),
            "pages.v_scales must be null: elements of f32 have no scales of their own");
  EXPECT_EQ(refused([](L& l, P&) { l.v_scales = ScaleLayout(); }),
            "pages.v_scales are for int8 and int4; elements of f32 have no scales of their own");
  EXPECT_EQ(refused([](L& l, P&) { l.k_scales->group = 7; }),
            "layout.k_scales.group (7) must divide the head dimension (48)");
  EXPECT_EQ(refused([](L& l, P&) { l.k_scales->token_stride = -1; }),
            "layout.k_scales: strides (8, -1, 1) must be 0 or more");
  EXPECT_EQ(refused([](L& l, P&) { l.k_scales->head_stride = 0; }),
            "the layout of pages.k_scales (sequence_stride 8, token_stride 2, head_stride 0) lets "
            "elements overlap: a stride of 0 must be at least 1");
  EXPECT_EQ(refused([](L&, P& p) { p.k_scales.zero_points = p.k_scales.scales; }),
            "pages.k_scales.zero_points must not overlap pages.k_scales.scales");
  EXPECT_EQ(refused([](L&, P& p) { p.k_scales.scales = p.v.as<float>(); }),
            "pages.v must not overlap pages.k_scales.scales");
  EXPECT_EQ(refused([](L& l, P& p) {
              l.k_scales = ScaleLayout();
              p.k_scales.scales = p.v.as<float>();
            }),
            "pages.v must not overlap pages.k_scales.scales");
  EXPECT_EQ(refused([](L&, P& p) {
              p.k_scales.scales =
                  reinterpret_cast<float*>(reinterpret_cast<std::byte*>(p.k_scales.scales) + 1);
            }),
            "pages.k_scales.scales must begin at a multiple of 4 bytes, as its elements do");
  EXPECT_TRUE(
      std::ranges::all_of(pool.codes.bytes(), [](std::byte b) { return b == std::byte{0xFF}; }));
}

/// A cache of two layers whose second page is shared by two sequences, and then copied.
void expect_copied(const KvCacheConfig& config) {
  KvCache cache;
  Status status = KvCache::create(config, cache);
  ASSERT_TRUE(status.ok()) << status.message();
  std::int32_t id = 0, child = 0;
  std::vector<std::int64_t> slots(6), more(1);
  ASSERT_TRUE(cache.add(id).ok());
  ASSERT_TRUE(cache.extend(id, slots).ok());
  const std::vector<float> k = mixed_floats(6 * kHeads * kDims);
  for (std::int64_t layer = 0; layer < 2; ++layer) {
    const NewTokens tokens{.k = k.data(), .v = k.data(), .slots = slots};
    status = append(cache.layout(), cache.layer(layer), tokens);
    ASSERT_TRUE(status.ok()) << status.message();
  }
  ASSERT_TRUE(cache.fork(id, 6, child).ok());
  ASSERT_TRUE(cache.extend(child, more).ok());
  const std::int32_t from = cache.pages(id)[1], to = cache.pages(child)[1];
  ASSERT_NE(from, to);
  const ScaleLayout scales = config.layout.k_scales.value_or(
      ScaleLayout::per_token(config.layout.page_tokens, kHeads, kDims));
  const std::int64_t groups = scales.group == 0 ? 1 : kDims / scales.group;
  for (std::int64_t layer = 0; layer < 2; ++layer) {
    const KvPages pages = cache.layer(layer);
    ASSERT_EQ(pages.k_scales.zero_points != nullptr, config.k_zero_points);
    ASSERT_EQ(pages.v_scales.zero_points != nullptr, config.v_zero_points);
    for (const float* const pool : {pages.k_scales.scales, pages.k_scales.zero_points,
                                    pages.v_scales.scales, pages.v_scales.zero_points}) {
      if (pool == nullptr) continue;
      for (std::int64_t i = 0; i < 2 * kHeads * groups; ++i) {
        const std::int64_t at = i / (kHeads * groups) * scales.token_stride +
                                i / groups % kHeads * scales.head_stride + i % groups;
        EXPECT_TRUE(same_bits(pool[from * scales.sequence_stride + at],
                              pool[to * scales.sequence_stride + at]));
      }
    }
  }
}

TEST(AppendScales, CachesCopyScales) {
  for (const DType type : {DType::int8, DType::int4}) {
    for (const bool zero_points : {false, true}) {
      KvCacheConfig config{.layout = PagedLayout::bshd(6, 4, kHeads, kDims),
                           .layers = 2,
                           .sequences = 2,
                           .k_type = type,
                           .v_type = type};
      config.k_zero_points = zero_points;
      config.v_zero_points = !zero_points;
      expect_copied(config);
      const auto groups = ScaleLayout::per_token(4, kHeads, kDims, 16);
      config.layout.k_scales = config.layout.v_scales = groups;
      expect_copied(config);
    }
  }
}

TEST(AppendScales, CachesThatAreRefused) {
  KvCacheConfig config{.layout = PagedLayout::bshd(6, 4, kHeads, kDims), .sequences = 2};
  KvCache cache;
  const auto refused = [&] { return std::string(KvCache::create(config, cache).message()); };
  config.k_zero_points = true;
  EXPECT_EQ(refused(), "k_zero_points are for int8 and int4; elements of f32 have none");
  config.k_type = DType::int8;
  EXPECT_EQ(refused(), "");
  config.layout.v_scales = ScaleLayout();
  EXPECT_EQ(refused(),
            "layout.v_scales are for int8 and int4; elements of f32 have no scales of their own");
  config.layout.v_scales.reset();
  config.layout.k_scales = ScaleLayout{0, std::int64_t{1} << 60, 1, 4};
  EXPECT_NE(refused(), "");
}

}  // namespace
}  // namespace heed::tests
