// Writes queries, keys or values of tokens to slots of a paged cache, or to rows of a tensor, and
// rotates them on the way by the tokens' positions where that is asked for (rotary embedding: Su et
// al., "RoFormer", arXiv 2104.09864). Each pair (a, b) of a token's elements turns by an angle θ of
// its own:
//
//   a' = fma(a, cos θ, −(b · sin θ))     b' = fma(b, cos θ, a · sin θ)
//
// Elements of other types than f32 become floats first, and are rounded or quantised after that,
// codes together with their scales.
//
// Memory: each element is read once and written once; the cosines and sines of a token come from L1
// after its first head. The bits of a result depend on the element, its partner and their angle
// alone, and are the same on every ISA with FMA.
//
// Error, ε = 2⁻²⁴: the product and the sum round once each, and the product a · cos θ once more
// without FMA, so with cosines and sines within δ of the exact ones a' and b' are within
// (|a| + |b|) · (2·ε + δ) · (1 + 2·ε) + 2⁻¹⁴⁸, of which 2⁻¹⁴⁸ is for subnormal results.
#pragma once

#include "kernels/elements/rows.inl.h"
#include "kernels/interface.h"
#include "kernels/vector/lanes.inl.h"

namespace heed::kernels {
namespace {

/// Copies `dims` elements from x to y, which may be x.
template <class Arch>
HEED_INLINE void copy(const float* x, float* y, std::int64_t dims) {
  for_each_vector<Arch, kAccumulators>(
      dims, [&](auto access, int, std::int64_t i)
                __attribute__((always_inline)) { access.store(y + i, access.load(x + i, 0.0F)); });
}

/// Rotates 2 · pairs elements from x to y, which may be x. The sines of the pairs follow their
/// cosines.
template <class Arch, RotaryRule Rule>
HEED_INLINE void rotate(const float* x, float* y, const float* cosines, std::int64_t pairs) {
  using Op = Ops<Arch>;
  const float* const sines = cosines + pairs;
  if constexpr (Rule == RotaryRule::adjacent) {
    for_each_vector<Arch, kAccumulators>(
        2 * pairs, [&](auto access, int, std::int64_t i) __attribute__((always_inline)) {
          const auto c = Op::load_twice(cosines + i / 2), s = Op::load_twice(sines + i / 2);
          access.store(y + i, Op::rotate_pairs(access.load(x + i, 0.0F), c, s));
        });
  } else {
    for_each_vector<Arch, kAccumulators>(
        pairs, [&](auto access, int, std::int64_t i) __attribute__((always_inline)) {
          const auto c = access.load(cosines + i, 0.0F), s = access.load(sines + i, 0.0F);
          const auto a = access.load(x + i, 0.0F), b = access.load(x + pairs + i, 0.0F);
          access.store(y + i, Op::fms(a, c, b * s));
          access.store(y + pairs + i, Op::fma(b, c, a * s));
        });
  }
}

/// Writes one vector of floats from x to y, which may be x.
template <class Arch, RotaryRule Rule>
HEED_INLINE void write_floats(const TokenVectors& v, const float* x, float* y,
                              const float* cosines) {
  const std::int64_t rotated = Rule == RotaryRule::none ? 0 : v.rotary_dim;
  if constexpr (Rule != RotaryRule::none) rotate<Arch, Rule>(x, y, cosines, rotated / 2);
  copy<Arch>(x + rotated, y + rotated, v.dims - rotated);
}

/// Writes one vector by way of floats in L1. The scales of codes are `offset` floats after the
/// first ones.
template <class Arch, RotaryRule Rule>
void write_elements(const TokenVectors& v, const std::byte* x, std::byte* y, std::ptrdiff_t offset,
                    const float* cosines) {
  alignas(kAlignment) float floats[padded(kMaxHeadDim, kLanes<Arch>)];  // NOLINT: written first
  widen_row<Arch>(v.x_type, x, v.dims, floats);
  if constexpr (Rule != RotaryRule::none) {
    rotate<Arch, Rule>(floats, floats, cosines, v.rotary_dim / 2);
  }
  if (!is_scaled(v.y_type)) return narrow_row<Arch>(v.y_type, floats, v.dims, y);
  const ScaleSlots& s = v.y_scales;
  narrow_codes<Arch>(
      v.y_type, floats, v.dims, y,
      {s.scale + offset, s.zero_point == nullptr ? nullptr : s.zero_point + offset, s.group},
      s.written);
}

/// Writes the heads of one token from x to y. The scales of the first one are `offset` floats after
/// the first of all.
template <class Arch, RotaryRule Rule>
HEED_INLINE void write_heads(const TokenVectors& v, const std::byte* x, std::byte* y,
                             std::ptrdiff_t offset, const float* cosines) {
  const bool floats = v.x_type == DType::f32 && v.y_type == DType::f32;
  for (std::int32_t h = 0; h < v.heads; ++h, x += v.x_stride.head, y += v.y_stride.head) {
    if (floats) {
      write_floats<Arch, Rule>(v, reinterpret_cast<const float*>(x), reinterpret_cast<float*>(y),
                               cosines);
    } else {
      write_elements<Arch, Rule>(v, x, y, offset + h * v.y_scales.stride.head, cosines);
    }
  }
}

template <class Arch, RotaryRule Rule>
void write_by_rule(const TokenVectors& v) {
  for (std::int64_t i = 0; i < v.tokens; ++i) {
    const std::int64_t slot = v.slots == nullptr ? i : v.slots[i];
    if (slot < 0) continue;
    const std::int64_t page = slot / v.page_tokens, in_page = slot % v.page_tokens;
    const float* const cosines =
        Rule == RotaryRule::none ? nullptr : v.rotations + v.positions[i] * v.rotary_dim;
    write_heads<Arch, Rule>(v, v.x + i * v.x_stride.token,
                            v.y + page * v.y_page_stride + in_page * v.y_stride.token,
                            page * v.y_scales.page + in_page * v.y_scales.stride.token, cosines);
  }
}

template <class Arch>
void write_kv_slots(const TokenVectors& vectors) {
  switch (vectors.rule) {
    case RotaryRule::none:
      return write_by_rule<Arch, RotaryRule::none>(vectors);
    case RotaryRule::adjacent:
      return write_by_rule<Arch, RotaryRule::adjacent>(vectors);
    case RotaryRule::halves:
      return write_by_rule<Arch, RotaryRule::halves>(vectors);
  }
}

}  // namespace
}  // namespace heed::kernels
