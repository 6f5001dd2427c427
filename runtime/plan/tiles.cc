#include "runtime/plan/tiles.h"

#include <algorithm>

namespace heed::detail {
namespace {

constexpr std::int64_t kFloat = sizeof(float);
constexpr std::int64_t kLine = static_cast<std::int64_t>(kernels::kAlignment);

/// No x86-64 core with AVX2 has less than 32 KiB of L1d; all have 512 KiB of L2 or more, but for
/// Intel's older ones with 256 KiB, where a guess that is too large costs some traffic with L3.
constexpr CacheSizes kAssumed{std::int64_t{32} << 10, std::int64_t{512} << 10};

std::int64_t block_lanes(const RowShape& s) { return std::int64_t{s.lanes} * s.block_vectors; }

/// Two tiles of keys and values, as wide as their copies are where the kernel makes some.
std::int64_t bytes_of_tiles(const RowShape& s, std::int32_t tile_keys) {
  const std::int64_t floats =
      kernels::tile_copy_stride(s.head_dim) + kernels::tile_copy_stride(s.value_head_dim);
  return 2 * tile_keys * floats * kFloat;
}

/// A query, two states (maximum, sum, O), and the first and the last key that it sees.
std::int64_t bytes_of_row(const RowShape& s) {
  const std::int64_t state = std::int64_t{s.value_head_dim} + 2;
  return (s.head_dim + 2 * state + 2) * kFloat;
}

std::int32_t choose_tile_keys(const CacheSizes& caches, const RowShape& shape) {
  std::int32_t keys = kernels::kPartitionKeys;
  const auto fits = [&] {
    return l1d_bytes(shape, keys) <= caches.l1d && bytes_of_tiles(shape, keys) <= caches.l2 / 2;
  };
  while (keys > kMinTileKeys && !fits()) keys /= 2;
  return keys;
}

std::int32_t choose_item_rows(const CacheSizes& caches, const RowShape& shape,
                              std::int32_t tile_keys) {
  const std::int64_t block = block_lanes(shape);
  const std::int64_t room = caches.l2 - bytes_of_tiles(shape, tile_keys);
  const std::int64_t rows =
      std::min<std::int64_t>(room / bytes_of_row(shape), kernels::kMaxItemRows);
  return static_cast<std::int32_t>(std::max<std::int64_t>(rows / block, 1) * block);
}

}  // namespace

CacheSizes assumed(const CacheSizes& told) {
  return {told.l1d > 0 ? told.l1d : kAssumed.l1d, told.l2 > 0 ? told.l2 : kAssumed.l2};
}

std::int64_t l1d_bytes(const RowShape& shape, std::int32_t tile_keys) {
  return tile_keys * (block_lanes(shape) * kFloat + kLine);
}

std::int64_t l2_bytes(const RowShape& shape, const TileSizes& sizes) {
  return bytes_of_tiles(shape, sizes.tile_keys) + sizes.item_rows * bytes_of_row(shape);
}

TileSizes choose_tiles(const CacheSizes& caches, const RowShape& shape, const TileSizes& wanted) {
  const CacheSizes sizes = assumed(caches);
  TileSizes chosen = wanted;
  if (chosen.tile_keys == 0) chosen.tile_keys = choose_tile_keys(sizes, shape);
  if (chosen.item_rows == 0) chosen.item_rows = choose_item_rows(sizes, shape, chosen.tile_keys);
  return chosen;
}

}  // namespace heed::detail
