// Rows of elements to rows of floats and back, with the type as a run-time value, and with scales
// where elements are codes that have them in a tensor of their own.
//
//   value = (code − zero point) · scale
//
// the difference and the product rounded to float.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/elements/elements.inl.h"
#include "kernels/interface.h"
#include "kernels/vector/lanes.inl.h"

namespace heed::kernels {
namespace {

/// The scales and zero points of a row: one of each for each `group` elements.
template <class Float>
struct RowScalesOf {
  Float* scale = nullptr;
  Float* zero_point = nullptr;  ///< null: all are 0
  std::int32_t group = 1;
};
using RowScales = RowScalesOf<const float>;

/// The values of codes.
template <class Arch>
HEED_INLINE Vec<Arch> scaled(Vec<Arch> codes, Vec<Arch> scale, Vec<Arch> zero_point) {
  return (codes - zero_point) * scale;
}

/// What the elements from x on have of a list with one number for each group: as many as a vector
/// has, or `count`, and any number for the others.
template <class Arch>
HEED_INLINE Vec<Arch> of_groups(const float* list, std::int32_t group, std::int32_t x,
                                std::int32_t count) {
  constexpr int lanes = kLanes<Arch>;
  if (list == nullptr) return splat<Arch>(0.0F);
  if (x % group + lanes <= group || x % group + count <= group) return splat<Arch>(list[x / group]);
  alignas(kAlignment) float lane[lanes];
  for (std::int32_t i = 0; i < lanes; ++i) {
    lane[i] = list[(x + (i < count ? i : count - 1)) / group];
  }
  return load<Arch>(lane);
}

/// Widens a row of `dims` elements, filled up with zeros to whole vectors. `scales` are those of
/// codes.
template <class Arch>
__attribute__((noinline)) void widen_row(DType type, const std::byte* row, std::int32_t dims,
                                         float* to, RowScales scales = {}) {
  for_element_type(
      type, [=](auto element) __attribute__((always_inline)) {
        using E = decltype(element);
        constexpr int lanes = kLanes<Arch>;
        const auto value = [&](Vec<Arch> elements, std::int32_t x, std::int32_t count) {
          if constexpr (E::kPacking != Packing::codes) return elements;
          return scaled<Arch>(elements, of_groups<Arch>(scales.scale, scales.group, x, count),
                              of_groups<Arch>(scales.zero_point, scales.group, x, count));
        };
        std::int32_t x = 0;
        for (; x + lanes <= dims; x += lanes) {
          store<Arch>(to + x, value(E::template widen<Arch>(row, x), x, lanes));
        }
        if (x < dims) {
          const std::int32_t count = dims - x;
          store<Arch>(to + x, value(widen_first<Arch, E>(row, x, count), x, count));
          for (std::int32_t i = dims; i < x + lanes; ++i) to[i] = 0.0F;
        }
      });
}

/// narrow_row for one type.
template <class Arch, class E>
HEED_INLINE void narrow_row_of(const float* row, std::int32_t dims, std::byte* to) {
  constexpr int lanes = kLanes<Arch>;
  if constexpr (E::kPacking == Packing::codes) {
    return;  // they take scales: narrow_codes
  } else if constexpr (E::kPacking == Packing::blocks) {
    for (std::int32_t x = 0; x < dims; x += E::kBlock, to += E::kBytes) {
      E::template narrow_block<Arch>(row + x, to);
    }
  } else {
    std::int32_t x = 0;
    for (; x + lanes <= dims; x += lanes, to += lanes * E::kBytes) {
      E::template narrow<Arch>(load<Arch>(row + x), to);
    }
    if (x == dims) return;
    alignas(kAlignment) std::byte last[lanes * E::kBytes];
    E::template narrow<Arch>(load<Arch>(row + x), last);
    for (std::int32_t i = 0; i < (dims - x) * E::kBytes; ++i) to[i] = last[i];
  }
}

/// Rounds a row of floats to elements. The floats that fill up the last vector may be anything.
template <class Arch>
__attribute__((noinline)) void narrow_row(DType type, const float* row, std::int32_t dims,
                                          std::byte* to) {
  for_element_type(
      type, [=](auto element) __attribute__((always_inline)) {
        narrow_row_of<Arch, decltype(element)>(row, dims, to);
      });
}

/// The least code of a type of codes; the largest one is −1 minus it.
HEED_INLINE float least_code(DType type) { return type == DType::int4 ? -8.0F : -128.0F; }

/// Writes the scale and the zero point of a group of `count` floats.
template <class Arch>
HEED_INLINE void choose_scale(const float* floats, std::int32_t count, float least, float* scale,
                              float* zero_point) {
  constexpr int lanes = kLanes<Arch>;
  const std::int32_t whole = count / lanes * lanes;
  float low = 0.0F, high = 0.0F;
  bool finite = true;
  if (whole > 0) {
    const Range<Arch> range(floats, whole);
    low = range.low, high = range.high, finite = range.finite;
  }
  for (std::int32_t i = whole; i < count; ++i) {
    finite = finite && floats[i] - floats[i] == 0.0F;
    low = whole == 0 && i == 0 ? floats[i] : floats[i] < low ? floats[i] : low;
    high = whole == 0 && i == 0 ? floats[i] : floats[i] > high ? floats[i] : high;
  }
  if (!finite) {
    *scale = __builtin_nanf("");
    if (zero_point != nullptr) *zero_point = 0.0F;
  } else if (zero_point == nullptr) {
    *scale = __builtin_fabsf(high > -low ? high : low) / (-1.0F - least);
  } else {
    low = low < 0.0F ? low : 0.0F;
    high = high > 0.0F ? high : 0.0F;
    const float steps = -1.0F - 2.0F * least;
    *scale = high / steps - low / steps;
    const float first = *scale == 0.0F ? 0.0F : least - low / *scale;
    *zero_point = first_lane<Arch>(
        Ops<Arch>::to_floats(nearest_codes<Arch>(splat<Arch>(first), least, -1.0F - least)));
  }
}

/// Rounds a row of floats to codes. Their scales and zero points are written first, or read.
template <class Arch>
__attribute__((noinline)) void narrow_codes(DType type, const float* row, std::int32_t dims,
                                            std::byte* to, RowScalesOf<float> scales,
                                            bool write_scales) {
  constexpr int lanes = kLanes<Arch>;
  const float least = least_code(type);
  for (std::int32_t x = 0, i = 0; write_scales && x < dims; x += scales.group, ++i) {
    choose_scale<Arch>(row + x, scales.group, least, scales.scale + i,
                       scales.zero_point == nullptr ? nullptr : scales.zero_point + i);
  }
  alignas(kAlignment) std::byte codes[padded(kMaxHeadDim, lanes)];  // NOLINT: written first
  for (std::int32_t x = 0; x < dims; x += lanes) {
    const std::int32_t count = dims - x < lanes ? dims - x : lanes;
    const Vec<Arch> scale = of_groups<Arch>(scales.scale, scales.group, x, count);
    const Vec<Arch> zero_point = of_groups<Arch>(scales.zero_point, scales.group, x, count);
    const Vec<Arch> zero = splat<Arch>(0.0F), floats = load<Arch>(row + x);
    const Vec<Arch> least_scale = splat<Arch>(-__builtin_inff());
    const Vec<Arch> usable = Ops<Arch>::select(scale >= least_scale, scale, zero);  // not NaN
    const Vec<Arch> steps =
        Ops<Arch>::select(usable == zero, zero, Ops<Arch>::divide(floats, usable));
    Ops<Arch>::store_bytes(codes + x,
                           nearest_codes<Arch>(steps + zero_point, least, -1.0F - least));
  }
  for_element_type(
      type, [&](auto element) __attribute__((always_inline)) {
        using E = decltype(element);
        if constexpr (E::kPacking == Packing::codes) E::pack(codes, dims, to);
      });
}

}  // namespace
}  // namespace heed::kernels
