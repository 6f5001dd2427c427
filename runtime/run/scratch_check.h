// Whether a kernel kept to the regions of its scratch: looked at after every item in builds without
// NDEBUG, which the sanitizers' are. In others all of this is nothing.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <limits>

#include "kernels/scratch.h"

namespace heed::detail {

#ifdef NDEBUG

class ScratchCheck {
 public:
  ScratchCheck(const kernels::AttentionShape&, const kernels::KernelTable&,
               const kernels::AttentionItem&, float*) {}
  bool intact() const { return true; }
};

#else

/// Paints the guards between the regions of an item's scratch, and finds them painted afterwards.
/// Fills the regions with NaN, so that what a kernel reads before it has written it reaches
/// results.
class ScratchCheck {
 public:
  ScratchCheck(const kernels::AttentionShape& shape, const kernels::KernelTable& table,
               const kernels::AttentionItem& item, float* scratch)
      : layout_(item.decode
                    ? kernels::decode_scratch(shape, item.rows, item.heads, table.lanes)
                    : kernels::prefill_scratch(shape, item.rows, table.lanes, table.block_vectors)),
        scratch_(scratch),
        explanation_(item.explanation) {
    std::fill_n(scratch, layout_.floats, std::numeric_limits<float>::quiet_NaN());
    for_each_guard([](float& guard) {
      guard = std::bit_cast<float>(kPaint);
      return true;
    });
  }

  bool intact() const {
    return for_each_guard(
        [](float& guard) { return std::bit_cast<std::uint32_t>(guard) == kPaint; });
  }

 private:
  static constexpr std::uint32_t kPaint = 0x4B5A5A5A;  // no NaN, whose bits a copy might change

  template <class Visit>
  bool for_each_guard(const Visit& visit) const {
    bool all = true;
    for (int i = 0; i < kernels::ScratchLayout::kRegions; ++i) {
      float* const guard = scratch_ + layout_.guard(i);
      for (std::size_t x = 0; x < kernels::kScratchGuard; ++x) all &= visit(guard[x]);
    }
    if (explanation_ == nullptr) return all;
    float* const guard = explanation_->memory + explanation_->memory_floats;
    for (std::size_t x = 0; x < kernels::kScratchGuard; ++x) all &= visit(guard[x]);
    return all;
  }

  kernels::ScratchLayout layout_;
  float* scratch_;
  const kernels::Explanation* explanation_;
};

#endif

}  // namespace heed::detail
