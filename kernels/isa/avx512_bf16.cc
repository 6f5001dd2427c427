// The table of AVX-512 with BF16: that of AVX-512 (kernels/isa/avx512.cc), but for the prefill of
// bf16 products.
#include "kernels/attention/prefill.inl.h"
#include "kernels/isa/avx512_bf16.inl.h"

namespace heed::kernels {

extern const KernelTable table_avx512;

namespace {

using PairTile = Tile<xsimd::avx512dq, 8, 3, PairProducts>;

void attend_item(const AttentionShape& shape, const AttentionItem& item, float* scratch) {
  if (!shape.pairs || item.decode) return table_avx512.attend(shape, item, scratch);
  PrefillKernel<PairTile>(shape, item, scratch).attend();
}

/// A kernel of AVX-512.
template <auto Kernel, class... Arguments>
auto of_avx512(Arguments... arguments) {
  return (table_avx512.*Kernel)(arguments...);
}

}  // namespace

extern const KernelTable table_avx512_bf16;
constinit const KernelTable table_avx512_bf16 = {
    .name = "avx512_bf16",
    .lanes = kLanes<xsimd::avx512dq>,
    .block_vectors = PairTile::kVectors,
    .tile_rows = PairTile::kRows,
    .attend = attend_item,
    .merge = of_avx512<&KernelTable::merge, const MergeRows&>,
    .merge_into = of_avx512<&KernelTable::merge_into, const MergeIntoRows&>,
    .softmax = of_avx512<&KernelTable::softmax, const SoftmaxRows&>,
    .log_softmax = of_avx512<&KernelTable::log_softmax, const SoftmaxRows&>,
    .log_sum_exp = of_avx512<&KernelTable::log_sum_exp, const SoftmaxRows&>,
    .softmax_gradient = of_avx512<&KernelTable::softmax_gradient, const SoftmaxGradientRows&>,
    .log_softmax_gradient =
        of_avx512<&KernelTable::log_softmax_gradient, const SoftmaxGradientRows&>,
    .sample = of_avx512<&KernelTable::sample, const SampledRow&>,
    .write_kv_slots = of_avx512<&KernelTable::write_kv_slots, const TokenVectors&>,
    .mask_words = of_avx512<&KernelTable::mask_words, const MaskFormat&, const std::byte*,
                            std::int64_t, std::uint32_t*>,
    .mask_totals = of_avx512<&KernelTable::mask_totals, const void*, std::int64_t, std::uint32_t*,
                             std::int32_t*>,
    .exp2 = of_avx512<&KernelTable::exp2, const float*, float*, std::int64_t>,
    .exp = of_avx512<&KernelTable::exp, const float*, float*, std::int64_t>,
};

}  // namespace heed::kernels
