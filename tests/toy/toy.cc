// An ISA for tests only: what all processors have, with a register tile of odd sizes, so that the
// edges of blocks and tiles fall elsewhere than in any real ISA. Only attention has a tile.
#if defined(__aarch64__)
#include "kernels/isa/neon.inl.h"
#else
#include "kernels/isa/generic.inl.h"
#endif
#include "kernels/attention/attend_item.inl.h"
#include "kernels/derived_table.inl.h"

namespace heed::kernels {

#if defined(__aarch64__)
extern const KernelTable table_neon;
using ToyTile = Tile<xsimd::neon64, 3, 3>;
extern constinit const KernelTable table_toy =
    derive_table<ToyTile, table_neon>("toy", attend_item<ToyTile>);
#else
extern const KernelTable table_generic;
using ToyTile = Tile<xsimd::sse2, 3, 3>;
extern constinit const KernelTable table_toy =
    derive_table<ToyTile, table_generic>("toy", attend_item<ToyTile>);
#endif

}  // namespace heed::kernels
