// append, rotate and KvCache with elements of every type: what is written are the nearest elements
// to the floats that an f32 cache would hold.
#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <random>
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

constexpr std::array<DType, 3> kComputing = {DType::f32, DType::f16, DType::bf16};
constexpr std::int64_t kTokens = 9, kHeads = 2, kDims = 96, kValueDims = 32;
constexpr PagedLayout kLayout = PagedLayout::bhsd(4, 4, kHeads, kDims, kValueDims);

std::size_t size(std::int64_t count) { return static_cast<std::size_t>(count); }

std::size_t bytes(DType type, std::int64_t elements) {
  return size(dtype_info(type).bytes(elements));
}

/// Floats of all sizes, with zeros, numbers that no narrow type has, and what is not finite.
std::vector<float> mixed_floats(std::int64_t count, std::uint64_t seed) {
  using proof::kInfinity;
  constexpr std::array<float, 12> kOdd = {0,     -0.0F,  1e-8F,     -3e-5F, 7e4F,      -1e6F,
                                          3e38F, 1e-40F, kInfinity, 465.0F, -60000.0F, 448.0F};
  proof::Random random(seed);
  std::vector<float> floats(size(count));
  for (float& x : floats) {
    x = static_cast<float>(random.normal());
    if (random.below(40) == 0) x = random.pick(std::span<const float>(kOdd));
    if (random.below(500) == 0) x = std::numeric_limits<float>::quiet_NaN();
  }
  return floats;
}

std::vector<std::int64_t> some_slots() { return {3, 4, 5, -1, 15, 0, 9, 8, 12}; }

/// Rotation of part of the dimensions, at these positions.
struct Rotation {
  Rotary rotary;
  std::vector<std::int64_t> positions = {0, 1, 2, 3, 9, 8, 7, 6, 30};

  explicit Rotation(RotaryPairs pairs) {
    const RotaryConfig config{.rotary_dim = 64, .pairs = pairs, .positions = 31};
    EXPECT_TRUE(Rotary::create(config, rotary).ok());
  }
};

/// New tokens in a type, and the pages that they are appended to.
struct Appended {
  TypedBuffer k, v;

  Appended(DType k_type, DType v_type)
      : k(k_type, 4 * kLayout.k.page), v(v_type, 4 * kLayout.v.page) {}

  void append(const InputData& new_k, const InputData& new_v, const Rotation* rotation,
              std::string_view isa) {
    const std::vector<std::int64_t> slots = some_slots();
    NewTokens tokens{.k = new_k, .v = new_v, .slots = slots};
    if (rotation != nullptr) {
      tokens.rotary = &rotation->rotary;
      tokens.positions = rotation->positions;
    }
    RunOptions options;
    options.isa = isa;
    const Status status = heed::append(kLayout, {k.data(), v.data(), {}, {}}, tokens, options);
    EXPECT_TRUE(status.ok()) << status.message();
  }
};

/// The elements nearest to floats, as memory.
TypedBuffer narrowed(std::span<const float> floats, DType type) {
  TypedBuffer buffer(type, std::ssize(floats));
  proof::narrow(floats, buffer.data());
  return buffer;
}

/// Compares a pool with the nearest elements to that of floats; any NaN equals any other.
void expect_nearest(const InputData& pool, const InputData& floats, std::int64_t page_elements) {
  const std::int64_t count = 4 * page_elements;
  const TypedBuffer wanted = narrowed({floats.as<float>(), size(count)}, pool.type());
  std::vector<float> a, b;
  const auto actual = proof::floats_of(pool, count, a);
  const auto expected = proof::floats_of(wanted.data(), count, b);
  for (std::size_t i = 0; i < actual.size(); ++i) {
    ASSERT_TRUE(same_bits(actual[i], expected[i]))
        << dtype_info(pool.type()).name << ", element " << i << ": " << actual[i] << " and not "
        << expected[i] << ", the nearest to " << floats.as<float>()[i];
  }
}

TEST(AppendTypes, ElementsAreTheNearestOnes) {
  const Rotation adjacent(RotaryPairs::adjacent), halves(RotaryPairs::halves);
  for (const std::string_view isa : supported_isas()) {
    for (const DType from : kComputing) {
      const TypedBuffer k = narrowed(mixed_floats(kTokens * kHeads * kDims, 1), from);
      const TypedBuffer v = narrowed(mixed_floats(kTokens * kHeads * kValueDims, 2), from);
      for (const Rotation* rotation : {static_cast<const Rotation*>(nullptr), &adjacent, &halves}) {
        Appended floats(DType::f32, DType::f32);
        floats.append(k.data(), v.data(), rotation, isa);
        for (const DTypeInfo& to : kDTypes) {
          if (to.scaled) continue;
          SCOPED_TRACE(std::string(isa) + ", from " + std::string(dtype_info(from).name));
          Appended appended(to.type, to.type);
          appended.append(k.data(), v.data(), rotation, isa);
          expect_nearest(appended.k.data(), floats.k.data(), kLayout.k.page);
          expect_nearest(appended.v.data(), floats.v.data(), kLayout.v.page);
          if (testing::Test::HasFatalFailure()) return;
        }
      }
    }
  }
}

// Only what belongs to the slots is written.
TEST(AppendTypes, NothingElseIsWritten) {
  const std::vector<float> k = mixed_floats(kTokens * kHeads * kDims, 3);
  const std::vector<float> v = mixed_floats(kTokens * kHeads * kValueDims, 4);
  const std::vector<std::int64_t> slots = some_slots();
  for (const DTypeInfo& to : kDTypes) {
    if (to.scaled) continue;
    Appended appended(to.type, DType::q8_0);
    appended.append(k.data(), v.data(), nullptr, {});
    for (std::int64_t slot = 0; slot < 16; ++slot) {
      if (std::ranges::find(slots, slot) != slots.end()) continue;
      for (std::int64_t head = 0; head < kHeads; ++head) {
        const InputData row =
            appended.k.data() +
            (slot / 4 * kLayout.k.page + slot % 4 * kLayout.k.token + head * kLayout.k.head);
        const auto* const memory = static_cast<const unsigned char*>(row.data());
        EXPECT_TRUE(std::all_of(memory, memory + bytes(to.type, kDims),
                                [](unsigned char byte) { return byte == 0xFF; }))
            << to.name << ", slot " << slot;
      }
    }
  }
}

TEST(AppendTypes, RotateWritesEveryTypeOfQueries) {
  const Rotation rotation(RotaryPairs::halves);
  for (const DType from : kComputing) {
    for (const DType to : kComputing) {
      const TypedBuffer x = narrowed(mixed_floats(kTokens * kHeads * kDims, 5), from);
      const TypedBuffer floats(DType::f32, kTokens * kHeads * kDims);
      const TypedBuffer y(to, kTokens * kHeads * kDims);
      RotaryTensors tensors{.x = x.data(),
                            .y = floats.data(),
                            .heads = kHeads,
                            .head_dim = kDims,
                            .positions = rotation.positions};
      ASSERT_TRUE(rotate(rotation.rotary, tensors).ok());
      tensors.y = y.data();
      ASSERT_TRUE(rotate(rotation.rotary, tensors).ok());
      std::vector<float> a, b;
      const std::int64_t count = kTokens * kHeads * kDims;
      const TypedBuffer wanted = narrowed({floats.data().as<float>(), size(count)}, to);
      EXPECT_TRUE(std::ranges::equal(proof::floats_of(y.data(), count, a),
                                     proof::floats_of(wanted.data(), count, b), same_bits));
      if (from != to) continue;
      tensors.y = x.data();  // in place
      ASSERT_TRUE(rotate(rotation.rotary, tensors).ok());
      EXPECT_TRUE(std::ranges::equal(proof::floats_of(x.data(), count, a),
                                     proof::floats_of(wanted.data(), count, b), same_bits));
    }
  }
}

TEST(AppendTypes, WhatIsRefused) {
  const std::vector<float> k = mixed_floats(kTokens * kHeads * kDims, 6);
  const Rotation rotation(RotaryPairs::halves);
  Appended appended(DType::q8_0, DType::f16);
  const std::vector<std::int64_t> slots = {0};
  const auto refused = [&](const PagedLayout& layout, const KvPages& pages,
                           const InputData& new_k) {
    return std::string(
        append(layout, pages, {.k = new_k, .v = k.data(), .slots = slots}).message());
  };
  const KvPages pages{appended.k.data(), appended.v.data(), {}, {}};
  EXPECT_EQ(refused(kLayout, pages, {k.data(), DType::q8_0}),
            "the type of k (q8_0) must be one of f32, f16, bf16");
  EXPECT_EQ(refused(kLayout, {{appended.k.data().data(), static_cast<DType>(9)}, pages.v, {}, {}},
                    k.data()),
            "the type of pages.k (9) must be one of f32, f16, bf16, int8, int4, fp8_e4m3, "
            "fp8_e5m2, q8_0, q4_0");
  EXPECT_EQ(refused(PagedLayout::bhsd(1, 4, 1, 40, 32), pages, k.data()),
            "the head dimension of pages.k (40) must be a multiple of 32, the elements of a block "
            "of q8_0");
  const TypedBuffer x(DType::f16, kTokens * kHeads * kDims);
  const OutputData brain{x.data().data(), DType::bf16};
  const RotaryTensors tensors{.x = x.data(),
                              .y = brain,
                              .heads = kHeads,
                              .head_dim = kDims,
                              .positions = rotation.positions};
  EXPECT_EQ(rotate(rotation.rotary, tensors).message(), "y must not overlap x");
  KvCache cache;
  EXPECT_EQ(
      KvCache::create(
          {.layout = PagedLayout::bhsd(1, 4, 1, 40, 32), .sequences = 1, .k_type = DType::q4_0},
          cache)
          .message(),
      "the head dimension of k (40) must be a multiple of 32, the elements of a block of q4_0");
}

// Sums of both in bytes would be beyond int64.
TEST(AppendTypes, CachesBeyondTheAddressSpaceAreRefused) {
  PagedLayout layout = PagedLayout::bshd(2, 1, 1, 64);
  layout.k = {.page = (std::int64_t{1} << 61) - 65, .token = 64, .head = 64};
  layout.v = {.page = (std::int64_t{1} << 61) - 66, .token = 64, .head = 64};
  KvCache cache;
  const Status status = KvCache::create({.layout = layout, .sequences = 1}, cache);
  EXPECT_EQ(status.code(), StatusCode::invalid_argument);
  EXPECT_TRUE(status.message().find("reaches beyond the address space") != std::string::npos)
      << status.message();
}

// Strides that are not used may be anything.
TEST(AppendTypes, UnusedStridesMayBeAnything) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
  const std::vector<float> k(kHeads * kDims, 1.0F), v(kHeads * kValueDims, 2.0F);
  const std::vector<std::int64_t> slots = {0};
  Appended appended(DType::f16, DType::q8_0);
  NewTokens tokens{.k = k.data(), .v = v.data(), .slots = slots};
  tokens.k_layout = Layout{kMost, kMost, kDims};
  EXPECT_TRUE(append(kLayout, {appended.k.data(), appended.v.data(), {}, {}}, tokens).ok());
}

// Keys and values of other types in one cache: both layers keep theirs, also where a page that is
// shared is copied.
TEST(AppendTypes, CachesOfEveryType) {
  for (const DTypeInfo& info : kDTypes) {
    if (info.scaled) continue;
    for (const bool together : {false, true}) {
      const auto apart = PagedLayout::bshd(6, 4, kHeads, 64, 64);
      const PagedLayout layout = together ? PagedLayout::together(apart) : apart;
      KvCache cache;
      ASSERT_TRUE(KvCache::create({.layout = layout,
                                   .layers = 2,
                                   .sequences = 2,
                                   .k_type = info.type,
                                   .v_type = DType::f16},
                                  cache)
                      .ok());
      EXPECT_EQ(cache.k_type(), info.type);
      EXPECT_EQ(cache.v_type(), DType::f16);
      const std::vector<float> k = mixed_floats(6 * kHeads * 64, 7);
      const std::vector<float> v = mixed_floats(6 * kHeads * 64, 8);
      std::int32_t id = 0, child = 0;
      std::vector<std::int64_t> slots(6), more(1);
      ASSERT_TRUE(cache.add(id).ok());
      ASSERT_TRUE(cache.extend(id, slots).ok());
      for (std::int64_t layer = 0; layer < 2; ++layer) {
        const NewTokens tokens{
            .k = layer == 0 ? k.data() : v.data(), .v = v.data(), .slots = slots};
        ASSERT_TRUE(append(layout, cache.layer(layer), tokens).ok());
      }
      ASSERT_TRUE(cache.fork(id, 6, child).ok());
      ASSERT_TRUE(cache.extend(child, more).ok());
      ASSERT_NE(cache.pages(id)[1], cache.pages(child)[1]);
      for (std::int64_t layer = 0; layer < 2; ++layer) {
        const KvPages pages = cache.layer(layer);
        for (std::int64_t head = 0; head < kHeads; ++head) {
          const auto at = [&](std::int32_t owner, const PageStrides& s) {
            return cache.pages(owner)[1] * s.page + s.token + head * s.head;
          };
          EXPECT_EQ(std::memcmp((pages.k + at(id, layout.k)).data(),
                                (pages.k + at(child, layout.k)).data(), bytes(info.type, 64)),
                    0);
          EXPECT_EQ(std::memcmp((pages.v + at(id, layout.v)).data(),
                                (pages.v + at(child, layout.v)).data(), bytes(DType::f16, 64)),
                    0);
          std::vector<float> a, b;
          const std::span<const float> given((layer == 0 ? k : v).data() + (5 * kHeads + head) * 64,
                                             64);
          const TypedBuffer wanted = narrowed(given, info.type);
          EXPECT_TRUE(std::ranges::equal(proof::floats_of(pages.k + at(child, layout.k), 64, a),
                                         proof::floats_of(wanted.data(), 64, b), same_bits))
              << info.name;
        }
      }
    }
  }
}

}  // namespace
}  // namespace heed::tests
