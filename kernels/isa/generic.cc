// Any x86-64: SSE2, 16 registers: 4 · 2 accumulators + 2 + 1, one more for products (no FMA).
#include "kernels/table.inl.h"

namespace heed::kernels {

extern const KernelTable table_generic;
constinit const KernelTable table_generic = make_table<Tile<xsimd::sse2, 4, 2>>("generic");

}  // namespace heed::kernels
