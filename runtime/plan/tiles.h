// How large tiles and items are, so that what a core works on stays in its caches.
//
//   L1d   the weights of a tile (keys × the lanes of a block), and one line of each row of its
//         values: what the product P·V walks through again for every few columns
//   L2    two tiles of keys and values, the one in use and the next, which arrives meanwhile; and
//         of each row of the item its query and two states, the partition's and the total
//
// Tiles come first: as many keys as fit L1d, for each tile fetches the queries and outputs of every
// block from L2 once, but no more than leave half of L2 to the rows. Then as many rows as fit
// beside them, for each item fetches all tiles once. None of it changes a result.
#pragma once

#include <cstdint>

#include "kernels/interface.h"

namespace heed::detail {

/// The data caches of a core, in bytes. 0 where unknown: then the smallest of what is sold is
/// assumed.
struct CacheSizes {
  std::int64_t l1d = 0, l2 = 0;
};

/// What the rows of a plan look like to the kernels.
struct RowShape {
  std::int32_t lanes = 0, block_vectors = 0;  ///< of the kernel table
  std::int32_t head_dim = 0, value_head_dim = 0;
};

struct TileSizes {
  std::int32_t tile_keys = 0;  ///< a power of two, kMinTileKeys … kPartitionKeys
  std::int32_t item_rows = 0;  ///< whole blocks, up to kMaxItemRows
};

/// Keys of the smallest tile: with fewer, starting and ending the products of a tile would be a
/// large part of them.
inline constexpr std::int32_t kMinTileKeys = 16;

/// The caches with what is assumed for unknown ones.
CacheSizes assumed(const CacheSizes& told);

/// What a tile of so many keys needs of L1d, in bytes.
std::int64_t l1d_bytes(const RowShape& shape, std::int32_t tile_keys);

/// What items of these sizes need of L2, in bytes.
std::int64_t l2_bytes(const RowShape& shape, const TileSizes& sizes);

/// The sizes that fit these caches. Where one of `wanted` is not 0 it stays as it is.
TileSizes choose_tiles(const CacheSizes& caches, const RowShape& shape, const TileSizes& wanted);

}  // namespace heed::detail
