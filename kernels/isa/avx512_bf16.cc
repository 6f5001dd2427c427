// The table of AVX-512 with BF16: that of AVX-512 (kernels/isa/avx512.cc), but for the prefill of
// bf16 products.
#include "kernels/attention/prefill.inl.h"
#include "kernels/derived_table.inl.h"
#include "kernels/isa/avx512_bf16.inl.h"

namespace heed::kernels {

extern const KernelTable table_avx512;

namespace {

using PairTile = Tile<xsimd::avx512dq, 8, 3, PairProducts>;

void attend_pairs(const AttentionShape& shape, const AttentionItem& item, float* scratch) {
  if (!shape.pairs || item.decode) return table_avx512.attend(shape, item, scratch);
  PrefillKernel<PairTile>(shape, item, scratch).attend();
}

}  // namespace

extern const KernelTable table_avx512_bf16;
constinit const KernelTable table_avx512_bf16 =
    derive_table<PairTile, table_avx512>("avx512_bf16", attend_pairs);

}  // namespace heed::kernels
