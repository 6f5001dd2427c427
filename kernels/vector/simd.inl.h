// The vector layer of the kernels: xsimd's batch, and the few operations that xsimd lacks, renames
// from version to version, or does in more instructions than an ISA needs. Everything is in an
// anonymous namespace and inlined: an object compiled for AVX must not export a function that the
// linker could hand to baseline code.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <xsimd/xsimd.hpp>

#ifdef __FAST_MATH__
#error \
    "the order of operations is part of a result: heed's kernels must not be built with fast-math"
#endif

#define HEED_INLINE inline __attribute__((always_inline))

namespace heed::kernels {
namespace {

template <class Arch>
using Vec = xsimd::batch<float, Arch>;

template <class Arch>
using Mask = xsimd::batch_bool<float, Arch>;

template <class Arch>
inline constexpr int kLanes = static_cast<int>(Vec<Arch>::size);

template <class Arch>
HEED_INLINE Vec<Arch> splat(float x) {
  return Vec<Arch>(x);
}

template <class Arch>
HEED_INLINE Vec<Arch> load(const float* p) {
  return Vec<Arch>::load_unaligned(p);
}

template <class Arch>
HEED_INLINE void store(float* p, Vec<Arch> x) {
  x.store_unaligned(p);
}

// Operations that differ from ISA to ISA. max(a, b) returns b where either is NaN, as the
// instruction does; so max(x, running) ignores a NaN in x.
//
// accumulate() is sum = fma(a, b, sum) in the form that overwrites the sum: left to themselves,
// compilers overwrite a factor here and there, and then copy sums from register to register.
template <class Arch>
struct Ops;

template <>
struct Ops<xsimd::sse2> {
  using V = Vec<xsimd::sse2>;
  using M = Mask<xsimd::sse2>;
  static HEED_INLINE V max(V a, V b) { return _mm_max_ps(a, b); }
  static HEED_INLINE V min(V a, V b) { return _mm_min_ps(a, b); }
  static HEED_INLINE V fma(V a, V b, V c) { return _mm_add_ps(_mm_mul_ps(a, b), c); }
  static HEED_INLINE void accumulate(V a, V b, V& sum) { sum = fma(a, b, sum); }
  /// Largest integer ≤ x. Where |x| ≥ 2²³, and for infinities and NaN, x itself.
  static HEED_INLINE V floor(V x) {
    const __m128 whole = _mm_cvtepi32_ps(_mm_cvttps_epi32(x));
    const __m128 down = _mm_and_ps(_mm_cmpgt_ps(whole, x), _mm_set1_ps(1.0F));
    const __m128 small =
        _mm_cmplt_ps(_mm_andnot_ps(_mm_set1_ps(-0.0F), x), _mm_set1_ps(8388608.0F));
    return _mm_or_ps(_mm_and_ps(small, _mm_sub_ps(whole, down)), _mm_andnot_ps(small, x));
  }
  static HEED_INLINE V select(M m, V a, V b) {
    return _mm_or_ps(_mm_and_ps(m, a), _mm_andnot_ps(m, b));
  }
  static HEED_INLINE bool any(M m) { return _mm_movemask_ps(m) != 0; }
  /// True where not (a < b): also where either is NaN.
  static HEED_INLINE M not_less(V a, V b) { return M(_mm_cmpnlt_ps(a, b)); }
  /// p · 2^n for integers n, p in [1, 2]: 0 where n < lowest (≥ −125); NaN where n or p is NaN;
  /// infinite or NaN where n > 127.
  static HEED_INLINE V scale_weight(V p, V n, V lowest) {
    const __m128i shifted = _mm_slli_epi32(_mm_cvttps_epi32(n), 23);
    const __m128 scaled = _mm_castsi128_ps(_mm_add_epi32(_mm_castps_si128(p), shifted));
    return _mm_or_ps(_mm_and_ps(scaled, _mm_cmpnlt_ps(n, lowest)),
                     _mm_cmpgt_ps(n, _mm_set1_ps(127.0F)));
  }
};

#if XSIMD_WITH_FMA3_AVX2
template <>
struct Ops<xsimd::fma3<xsimd::avx2>> {
  using V = Vec<xsimd::fma3<xsimd::avx2>>;
  using M = Mask<xsimd::fma3<xsimd::avx2>>;
  static HEED_INLINE V max(V a, V b) { return _mm256_max_ps(a, b); }
  static HEED_INLINE V min(V a, V b) { return _mm256_min_ps(a, b); }
  static HEED_INLINE V fma(V a, V b, V c) { return _mm256_fmadd_ps(a, b, c); }
  static HEED_INLINE void accumulate(V a, V b, V& sum) {
    asm("vfmadd231ps %2, %1, %0" : "+x"(sum.data) : "x"(a.data), "x"(b.data));
  }
  static HEED_INLINE V floor(V x) { return _mm256_floor_ps(x); }
  static HEED_INLINE V select(M m, V a, V b) { return _mm256_blendv_ps(b, a, m); }
  static HEED_INLINE bool any(M m) { return _mm256_movemask_ps(m) != 0; }
  static HEED_INLINE M not_less(V a, V b) { return M(_mm256_cmp_ps(a, b, _CMP_NLT_UQ)); }
  static HEED_INLINE V scale_weight(V p, V n, V lowest) {
    const __m256i shifted = _mm256_slli_epi32(_mm256_cvttps_epi32(n), 23);
    const __m256 scaled = _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p), shifted));
    return _mm256_or_ps(_mm256_and_ps(scaled, _mm256_cmp_ps(n, lowest, _CMP_NLT_UQ)),
                        _mm256_cmp_ps(n, _mm256_set1_ps(127.0F), _CMP_GT_OQ));
  }
};
#endif

#if XSIMD_WITH_AVX512DQ
template <>
struct Ops<xsimd::avx512dq> {
  using V = Vec<xsimd::avx512dq>;
  using M = Mask<xsimd::avx512dq>;
  static HEED_INLINE V max(V a, V b) { return _mm512_max_ps(a, b); }
  static HEED_INLINE V min(V a, V b) { return _mm512_min_ps(a, b); }
  static HEED_INLINE V fma(V a, V b, V c) { return _mm512_fmadd_ps(a, b, c); }
  static HEED_INLINE void accumulate(V a, V b, V& sum) {
    asm("vfmadd231ps %2, %1, %0" : "+v"(sum.data) : "v"(a.data), "v"(b.data));
  }
  static HEED_INLINE V floor(V x) {
    return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
  }
  static HEED_INLINE V select(M m, V a, V b) {
    return _mm512_mask_blend_ps(static_cast<__mmask16>(m.data), b, a);
  }
  static HEED_INLINE bool any(M m) { return static_cast<__mmask16>(m.data) != 0; }
  static HEED_INLINE M not_less(V a, V b) { return M(_mm512_cmp_ps_mask(a, b, _CMP_NLT_UQ)); }
  static HEED_INLINE V scale_weight(V p, V n, V lowest) {
    return _mm512_maskz_scalef_ps(_mm512_cmp_ps_mask(n, lowest, _CMP_NLT_UQ), p, n);
  }
};
#endif

}  // namespace
}  // namespace heed::kernels
