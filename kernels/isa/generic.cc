// The table of any x86-64: SSE2. Of 16 registers its register tile takes 4 · 2 accumulators, 2
// vectors, 1 broadcast operand, and 1 for products, as there is no FMA.
#include "kernels/isa/generic.inl.h"
#include "kernels/table.inl.h"

namespace heed::kernels {

extern const KernelTable table_generic;
constinit const KernelTable table_generic = make_table<Tile<xsimd::sse2, 4, 2>>("generic");

}  // namespace heed::kernels
