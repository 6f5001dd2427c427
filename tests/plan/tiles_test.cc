// The sizes of tiles and items, for machines that this one is not.
#include "runtime/plan/tiles.h"

#include <gtest/gtest.h>

#include <bit>
#include <string>

#include "heed/heed.h"

namespace heed::tests {
namespace {

using detail::CacheSizes;
using detail::choose_tiles;
using detail::RowShape;
using detail::TileSizes;

constexpr CacheSizes kibibytes(std::int64_t l1d, std::int64_t l2) { return {l1d << 10, l2 << 10}; }

constexpr RowShape avx512(std::int32_t head_dim) { return {16, 3, head_dim, head_dim}; }
constexpr RowShape avx2(std::int32_t head_dim) { return {8, 3, head_dim, head_dim}; }

constexpr RowShape kTables[] = {{16, 3, 0, 0}, {8, 3, 0, 0}, {4, 2, 0, 0}};
constexpr CacheSizes kMachines[] = {kibibytes(32, 256),  kibibytes(32, 512),  kibibytes(32, 1024),
                                    kibibytes(48, 1024), kibibytes(48, 2048), kibibytes(64, 1024),
                                    kibibytes(128, 4096)};
constexpr std::int32_t kHeadDims[] = {1, 16, 40, 64, 80, 96, 128, 192, 256, 320, 512, 1024};

/// Calls visit(caches, shape, sizes) for machines, kernel tables and head sizes of all kinds.
template <class Visit>
void for_each_machine(const Visit& visit) {
  for (const CacheSizes& caches : kMachines) {
    for (RowShape shape : kTables) {
      for (const std::int32_t head_dim : kHeadDims) {
        shape.head_dim = head_dim;
        shape.value_head_dim = 1025 - head_dim;
        SCOPED_TRACE("L1d " + std::to_string(caches.l1d) + " L2 " + std::to_string(caches.l2) +
                     " lanes " + std::to_string(shape.lanes) + " head_dim " +
                     std::to_string(head_dim));
        visit(caches, shape, choose_tiles(caches, shape, {}));
        shape.value_head_dim = head_dim;
        visit(caches, shape, choose_tiles(caches, shape, {}));
      }
    }
  }
}

void expect_sizes(const TileSizes& sizes, std::int32_t tile_keys, std::int32_t item_rows) {
  EXPECT_EQ(sizes.tile_keys, tile_keys);
  EXPECT_EQ(sizes.item_rows, item_rows);
}

// By hand. A tile of 128 keys has weights of 128 · 48 · 4 bytes = 24 KiB, and 8 KiB of lines of
// values; two of them at head_dim 128 are 288 KiB, and a row needs 1560 bytes.
TEST(Tiles, OfKnownMachines) {
  expect_sizes(choose_tiles(kibibytes(48, 1024), avx512(64), {}), 128, 384);  // Zen 5
  expect_sizes(choose_tiles(kibibytes(48, 1024), avx512(128), {}), 128, 384);
  expect_sizes(choose_tiles(kibibytes(48, 2048), avx512(128), {}), 128, 384);  // Sapphire Rapids
  expect_sizes(choose_tiles(kibibytes(32, 1024), avx512(128), {}), 128, 384);  // Zen 4, Skylake
  expect_sizes(choose_tiles(kibibytes(32, 512), avx2(128), {}), 64, 240);      // Zen 2 and 3
  expect_sizes(choose_tiles(kibibytes(32, 512), avx2(64), {}), 128, 384);
  expect_sizes(choose_tiles(kibibytes(32, 256), avx2(64), {}), 64, 216);  // Haswell
  expect_sizes(choose_tiles(kibibytes(48, 1024), avx2(64), {}), 256, 384);
  expect_sizes(choose_tiles(kibibytes(64, 4096), avx512(64), {}), 256, 384);
  expect_sizes(choose_tiles(kibibytes(48, 1024), avx512(512), {}), 32, 96);
}

TEST(Tiles, AreOfTheKindThatKernelsTake) {
  for_each_machine([](const CacheSizes&, const RowShape& shape, const TileSizes& sizes) {
    EXPECT_TRUE(std::has_single_bit(static_cast<unsigned>(sizes.tile_keys))) << sizes.tile_keys;
    EXPECT_GE(sizes.tile_keys, 16);
    EXPECT_LE(sizes.tile_keys, kernels::kPartitionKeys);
    EXPECT_GT(sizes.item_rows, 0);
    EXPECT_LE(sizes.item_rows, kernels::kMaxItemRows);
    EXPECT_EQ(sizes.item_rows % (shape.lanes * shape.block_vectors), 0) << sizes.item_rows;
  });
}

// Unless one block alone is too much.
TEST(Tiles, FitTheCaches) {
  for_each_machine([](const CacheSizes& caches, const RowShape& shape, const TileSizes& sizes) {
    EXPECT_LE(detail::l1d_bytes(shape, sizes.tile_keys), caches.l1d);
    if (sizes.item_rows > shape.lanes * shape.block_vectors) {
      EXPECT_LE(detail::l2_bytes(shape, sizes), caches.l2);
    }
  });
}

TEST(Tiles, AreTheLargestThatFit) {
  for_each_machine([](const CacheSizes& caches, const RowShape& shape, const TileSizes& sizes) {
    const std::int32_t twice = 2 * sizes.tile_keys;
    EXPECT_TRUE(twice > kernels::kPartitionKeys || detail::l1d_bytes(shape, twice) > caches.l1d ||
                detail::l2_bytes(shape, {twice, 0}) > caches.l2 / 2)
        << sizes.tile_keys;
    const std::int32_t more = sizes.item_rows + shape.lanes * shape.block_vectors;
    EXPECT_TRUE(more > kernels::kMaxItemRows ||
                detail::l2_bytes(shape, {sizes.tile_keys, more}) > caches.l2)
        << sizes.item_rows;
  });
}

TEST(Tiles, OfTinyCaches) {
  expect_sizes(choose_tiles({1, 1}, avx512(512), {}), 16, 48);
  expect_sizes(choose_tiles(kibibytes(4, 16), avx2(16), {}), 16, 24);
}

TEST(Tiles, UnknownCachesAreTakenToBeSmall) {
  for (const RowShape& shape : {avx512(64), avx2(128)}) {
    const TileSizes small = choose_tiles(kibibytes(32, 512), shape, {});
    const TileSizes unknown = choose_tiles({}, shape, {});
    expect_sizes(unknown, small.tile_keys, small.item_rows);
    const TileSizes half_known = choose_tiles(kibibytes(0, 512), shape, {});
    expect_sizes(half_known, small.tile_keys, small.item_rows);
  }
}

TEST(Tiles, WhatIsWantedStays) {
  const CacheSizes caches = kibibytes(48, 1024);
  expect_sizes(choose_tiles(caches, avx512(64), {16, 20}), 16, 20);
  expect_sizes(choose_tiles(caches, avx512(64), {0, 20}), 128, 20);
  // Larger tiles leave less room for rows.
  expect_sizes(choose_tiles(caches, avx512(256), {128, 0}), 128, 144);
  expect_sizes(choose_tiles(caches, avx512(256), {32, 0}), 32, 288);
}

TEST(Tiles, PlansSayTheirSizesAndThoseOfTheCaches) {
  AttentionConfig config;
  config.head_dim = 64;
  Batch batch;
  batch.query.length = batch.key.length = 1000;
  Plan plan;
  ASSERT_TRUE(plan_attention(config, batch, {.workers = 1, .tile_keys = 32}, plan).ok());
  EXPECT_NE(plan.describe().find("tiles: of 32 keys ("), std::string::npos) << plan.describe();
  const std::int64_t l1d = cpu_info().l1d_bytes >> 10, l2 = cpu_info().l2_bytes >> 10;
  if (l1d == 0 || l2 == 0) GTEST_SKIP() << "the caches of this machine are unknown";
  for (const auto& [size, cache] : {std::pair{l1d, "L1d"}, std::pair{l2, "L2"}}) {
    const std::string words = " of " + std::to_string(size) + " KiB of " + cache + ")";
    EXPECT_NE(plan.describe().find(words), std::string::npos) << plan.describe();
  }
}

}  // namespace
}  // namespace heed::tests
