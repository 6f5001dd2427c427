// Makes an ISA's table from the kernel templates. kernels/isa/<name>.cc includes it after the ISA's
// operations, kernels/isa/<name>.inl.h.
#pragma once

#include "kernels/attention/attend_item.inl.h"
#include "kernels/attention/merge.inl.h"
#include "kernels/exp_array.inl.h"
#include "kernels/interface.h"
#include "kernels/masks/mask_words.inl.h"
#include "kernels/sampling/sampling.inl.h"
#include "kernels/softmax/softmax.inl.h"
#include "kernels/softmax/softmax_gradient.inl.h"
#include "kernels/tokens/write_kv_slots.inl.h"

namespace heed::kernels {
namespace {

template <class T>
constexpr KernelTable make_table(const char* name) {
  using Arch = typename T::Arch;
  return {
      .name = name,
      .lanes = kLanes<Arch>,
      .block_vectors = T::kVectors,
      .tile_rows = T::kRows,
      .attend = attend_item<T>,
      .merge = merge_rows<Arch>,
      .merge_into = merge_into_rows<Arch>,
      .softmax = softmax_rows<Arch>,
      .log_softmax = log_softmax_rows<Arch>,
      .log_sum_exp = log_sum_exp_rows<Arch>,
      .softmax_gradient = softmax_gradient_rows<Arch>,
      .log_softmax_gradient = log_softmax_gradient_rows<Arch>,
      .sample = sample_row<Arch>,
      .write_kv_slots = write_kv_slots<Arch>,
      .mask_words = mask_words<Arch>,
      .mask_totals = mask_totals<Arch>,
      .exp2 = exp2_array<Arch>,
      .exp = exp_array<Arch>,
  };
}

}  // namespace
}  // namespace heed::kernels
