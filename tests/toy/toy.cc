// An ISA for tests only: SSE2 with a register tile of odd sizes, so that the edges of blocks and
// tiles fall elsewhere than in any real ISA.
#include "kernels/isa/generic.inl.h"
#include "kernels/table.inl.h"

namespace heed::kernels {

extern constinit const KernelTable table_toy = make_table<Tile<xsimd::sse2, 3, 3>>("toy");

}  // namespace heed::kernels
