// The kernel of an item's plan: decode or prefill.
#pragma once

#include "kernels/attention/decode.inl.h"
#include "kernels/attention/prefill.inl.h"
#include "kernels/interface.h"

namespace heed::kernels {
namespace {

/// KernelTable::attend with the register tile T.
template <class T>
void attend_item(const AttentionShape& shape, const AttentionItem& item, float* scratch) {
  if (item.decode) {
    DecodeKernel<T>(shape, item, scratch).attend();
  } else {
    PrefillKernel<T>(shape, item, scratch).attend();
  }
}

}  // namespace
}  // namespace heed::kernels
