// The table of any aarch64. The sizes of its register tile are derived in register_tile.inl.h.
#include "kernels/isa/neon.inl.h"
#include "kernels/table.inl.h"

namespace heed::kernels {

extern const KernelTable table_neon;
constinit const KernelTable table_neon = make_table<Tile<xsimd::neon64, 4, 6>>("neon");

}  // namespace heed::kernels
