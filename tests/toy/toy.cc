// An ISA for tests only: what all processors have, with a register tile of odd sizes, so that the
// edges of blocks and tiles fall elsewhere than in any real ISA.
#if defined(__aarch64__)
#include "kernels/isa/neon.inl.h"
#else
#include "kernels/isa/generic.inl.h"
#endif
#include "kernels/table.inl.h"

namespace heed::kernels {

#if defined(__aarch64__)
using Arch = xsimd::neon64;
#else
using Arch = xsimd::sse2;
#endif
extern constinit const KernelTable table_toy = make_table<Tile<Arch, 3, 3>>("toy");

}  // namespace heed::kernels
