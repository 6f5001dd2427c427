// Vectors of tokens brought to their places, in a cache of pages or not, rotated on the way by
// their positions (rotary embedding: Su et al., "RoFormer", arXiv 2104.09864). The pair (a, b) of a
// vector turns by the angle θ of its token and pair:
//
//   a' = fma(a, cos θ, −(b · sin θ))     b' = fma(b, cos θ, a · sin θ)
//
// One pass: each vector is read once and written once, its token's cosines and sines come from L1
// after the first head. A vector's bits depend on it and its token's cosines and sines alone, and
// are the same on every ISA with FMA.
//
// Error, ε = 2⁻²⁴: the product and the sum round once each, and the product a · cos θ once more
// without FMA, so with cosines and sines within δ of the exact ones a' and b' are within
// (|a| + |b|) · (2·ε + δ) · (1 + 2·ε) + 2⁻¹⁴⁸, the last where results are subnormal.
#pragma once

#include "kernels/interface.h"
#include "kernels/vector/lanes.inl.h"

namespace heed::kernels {
namespace {

/// twice(p): p[0], p[0], p[1], p[1], … from half a vector of floats. difference(a, b, c) = a · b −
/// c. turn(x, c, s): pairs of adjacent lanes (a, b), cosines and sines twice each, rotated.
template <class Arch>
struct RotaryOps;

template <>
struct RotaryOps<xsimd::sse2> {
  using V = Vec<xsimd::sse2>;
  static HEED_INLINE V twice(const float* p) { return _mm_setr_ps(p[0], p[0], p[1], p[1]); }
  static HEED_INLINE V difference(V a, V b, V c) { return _mm_sub_ps(_mm_mul_ps(a, b), c); }
  static HEED_INLINE V turn(V x, V c, V s) {
    const __m128 across = _mm_mul_ps(_mm_shuffle_ps(x, x, 0xB1), s);
    const __m128 even = _mm_setr_ps(-0.0F, 0.0F, -0.0F, 0.0F);
    return _mm_add_ps(_mm_mul_ps(x, c), _mm_xor_ps(across, even));
  }
};

#if XSIMD_WITH_FMA3_AVX2
template <>
struct RotaryOps<xsimd::fma3<xsimd::avx2>> {
  using V = Vec<xsimd::fma3<xsimd::avx2>>;
  static HEED_INLINE V twice(const float* p) {
    return _mm256_permutevar8x32_ps(_mm256_castps128_ps256(_mm_loadu_ps(p)),
                                    _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3));
  }
  static HEED_INLINE V difference(V a, V b, V c) { return _mm256_fmsub_ps(a, b, c); }
  static HEED_INLINE V turn(V x, V c, V s) {
    return _mm256_fmaddsub_ps(x, c, _mm256_mul_ps(_mm256_permute_ps(x, 0xB1), s));
  }
};
#endif

#if XSIMD_WITH_AVX512DQ
template <>
struct RotaryOps<xsimd::avx512dq> {
  using V = Vec<xsimd::avx512dq>;
  static HEED_INLINE V twice(const float* p) {
    return _mm512_permutexvar_ps(_mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7),
                                 _mm512_castps256_ps512(_mm256_loadu_ps(p)));
  }
  static HEED_INLINE V difference(V a, V b, V c) { return _mm512_fmsub_ps(a, b, c); }
  static HEED_INLINE V turn(V x, V c, V s) {
    return _mm512_fmaddsub_ps(x, c, _mm512_mul_ps(_mm512_permute_ps(x, 0xB1), s));
  }
};
#endif

/// The first `dims` elements of a vector; y may be x.
template <class Arch>
HEED_INLINE void copy(const float* x, float* y, std::int64_t dims) {
  for_each_vector<Arch, kAccumulators>(
      dims, [&](auto access, int, std::int64_t i)
                __attribute__((always_inline)) { access.store(y + i, access.load(x + i, 0.0F)); });
}

/// Rotates the first 2 · pairs elements of a vector; y may be x.
template <class Arch, RotaryRule Rule>
HEED_INLINE void rotate(const float* x, float* y, const float* cosines, std::int64_t pairs) {
  using Op = RotaryOps<Arch>;
  const float* const sines = cosines + pairs;
  if constexpr (Rule == RotaryRule::adjacent) {
    for_each_vector<Arch, kAccumulators>(
        2 * pairs, [&](auto access, int, std::int64_t i) __attribute__((always_inline)) {
          const auto c = Op::twice(cosines + i / 2), s = Op::twice(sines + i / 2);
          access.store(y + i, Op::turn(access.load(x + i, 0.0F), c, s));
        });
  } else {
    for_each_vector<Arch, kAccumulators>(
        pairs, [&](auto access, int, std::int64_t i) __attribute__((always_inline)) {
          const auto c = access.load(cosines + i, 0.0F), s = access.load(sines + i, 0.0F);
          const auto a = access.load(x + i, 0.0F), b = access.load(x + pairs + i, 0.0F);
          access.store(y + i, Op::difference(a, c, b * s));
          access.store(y + pairs + i, Ops<Arch>::fma(b, c, a * s));
        });
  }
}

template <class Arch, RotaryRule Rule>
HEED_INLINE void place_heads(const TokenVectors& v, const float* x, float* y,
                             const float* cosines) {
  const std::int64_t turned = Rule == RotaryRule::none ? 0 : v.rotary_dim;
  for (std::int32_t h = 0; h < v.heads; ++h, x += v.x_stride.head, y += v.y_stride.head) {
    if constexpr (Rule != RotaryRule::none) rotate<Arch, Rule>(x, y, cosines, turned / 2);
    copy<Arch>(x + turned, y + turned, v.dims - turned);
  }
}

template <class Arch, RotaryRule Rule>
void place_by(const TokenVectors& v) {
  for (std::int64_t i = 0; i < v.tokens; ++i) {
    const std::int64_t slot = v.slots == nullptr ? i : v.slots[i];
    if (slot < 0) continue;
    const std::int64_t page = slot / v.page_tokens, offset = slot % v.page_tokens;
    const float* const cosines =
        Rule == RotaryRule::none ? nullptr : v.rotations + v.positions[i] * v.rotary_dim;
    place_heads<Arch, Rule>(v, v.x + i * v.x_stride.token,
                            v.y + page * v.y_page_stride + offset * v.y_stride.token, cosines);
  }
}

template <class Arch>
void place_tokens(const TokenVectors& vectors) {
  switch (vectors.rule) {
    case RotaryRule::none:
      return place_by<Arch, RotaryRule::none>(vectors);
    case RotaryRule::adjacent:
      return place_by<Arch, RotaryRule::adjacent>(vectors);
    case RotaryRule::halves:
      return place_by<Arch, RotaryRule::halves>(vectors);
  }
}

}  // namespace
}  // namespace heed::kernels
