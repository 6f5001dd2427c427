// The table of AVX2 with FMA. The sizes of its register tile are derived in register_tile.inl.h.
#include "kernels/isa/avx2.inl.h"
#include "kernels/table.inl.h"

namespace heed::kernels {

extern const KernelTable table_avx2;
constinit const KernelTable table_avx2 = make_table<Tile<xsimd::fma3<xsimd::avx2>, 4, 3>>("avx2");

}  // namespace heed::kernels
