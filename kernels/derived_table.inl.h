// Makes a table from another one for the same vectors, but for the attention of its items: the
// other kernels are compiled once for both.
#pragma once

#include "kernels/interface.h"
#include "kernels/vector/simd.inl.h"

namespace heed::kernels {
namespace {

/// call(...) calls Base's kernel of the place Kernel: a table in another object is no constant.
template <const KernelTable& Base, auto Kernel>
struct KernelOf;
template <const KernelTable& Base, class Result, class... Arguments,
          Result (*KernelTable::*Kernel)(Arguments...)>
struct KernelOf<Base, Kernel> {
  static Result call(Arguments... arguments) { return (Base.*Kernel)(arguments...); }
};

/// The table of the register tile T: Base, whose vectors are T's, but for `attend`.
template <class T, const KernelTable& Base>
constexpr KernelTable derive_table(const char* name, decltype(KernelTable::attend) attend) {
  return {
      .name = name,
      .lanes = kLanes<typename T::Arch>,
      .block_vectors = T::kVectors,
      .tile_rows = T::kRows,
      .attend = attend,
      .merge = KernelOf<Base, &KernelTable::merge>::call,
      .merge_into = KernelOf<Base, &KernelTable::merge_into>::call,
      .softmax = KernelOf<Base, &KernelTable::softmax>::call,
      .log_softmax = KernelOf<Base, &KernelTable::log_softmax>::call,
      .log_sum_exp = KernelOf<Base, &KernelTable::log_sum_exp>::call,
      .softmax_gradient = KernelOf<Base, &KernelTable::softmax_gradient>::call,
      .log_softmax_gradient = KernelOf<Base, &KernelTable::log_softmax_gradient>::call,
      .sample = KernelOf<Base, &KernelTable::sample>::call,
      .write_kv_slots = KernelOf<Base, &KernelTable::write_kv_slots>::call,
      .mask_words = KernelOf<Base, &KernelTable::mask_words>::call,
      .mask_totals = KernelOf<Base, &KernelTable::mask_totals>::call,
      .exp2 = KernelOf<Base, &KernelTable::exp2>::call,
      .exp = KernelOf<Base, &KernelTable::exp>::call,
  };
}

}  // namespace
}  // namespace heed::kernels
