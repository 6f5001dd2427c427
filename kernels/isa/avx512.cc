// The table of AVX-512 (F, BW, DQ, VL, CD). The sizes of its register tile are derived in
// register_tile.inl.h.
#include "kernels/isa/avx512.inl.h"
#include "kernels/table.inl.h"

namespace heed::kernels {

extern const KernelTable table_avx512;
constinit const KernelTable table_avx512 = make_table<Tile<xsimd::avx512dq, 8, 3>>("avx512");

}  // namespace heed::kernels
