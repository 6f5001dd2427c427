// Parts of rows as floats in scratch, whatever their elements are, without what a mask hides.
//
// Memory: a part is read once and stays in L1. Widening is exact, and narrowing rounds once.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/elements/rows.inl.h"
#include "kernels/interface.h"
#include "kernels/vector/lanes.inl.h"
#include "kernels/vector/simd.inl.h"

namespace heed::kernels {
namespace {

/// The place of an element of f32, f16 or bf16.
HEED_INLINE std::ptrdiff_t place_of(DType type, std::int64_t element) {
  return element * (type == DType::f32 ? 4 : 2);
}

/// Puts `instead` in the place of hidden floats. `row` has whole vectors, `visible` exactly `count`
/// bytes, or is null.
template <class Arch>
HEED_INLINE void hide(float* row, const std::byte* visible, std::int64_t count, float instead) {
  if (visible == nullptr) return;
  constexpr std::int64_t lanes = kLanes<Arch>;
  const auto hide_vector = [=](std::int64_t i, const std::byte* bytes) {
    const Mask<Arch> shown = Ops<Arch>::less(Integers<Arch>(0), Ops<Arch>::load_bytes(bytes));
    store<Arch>(row + i, Ops<Arch>::select(shown, load<Arch>(row + i), splat<Arch>(instead)));
  };
  std::int64_t i = 0;
  for (; i + lanes <= count; i += lanes) hide_vector(i, visible + i);
  if (i == count) return;
  std::byte rest[lanes] = {};
  for (std::int64_t j = i; j < count; ++j) rest[j - i] = visible[j];
  hide_vector(i, rest);
}

/// Widens `count` elements from `begin` on, up to a whole vector, with `instead` for hidden ones.
template <class Arch>
HEED_INLINE void stage(DType type, const std::byte* row, const std::byte* visible,
                       std::int64_t begin, std::int64_t count, float instead, float* to) {
  widen_row<Arch>(type, row + place_of(type, begin), static_cast<std::int32_t>(count), to);
  hide<Arch>(to, visible == nullptr ? nullptr : visible + begin, count, instead);
}

}  // namespace
}  // namespace heed::kernels
