// In-register transposes of lanes × lanes floats: how query rows become lanes (Qᵀ) and how outputs
// become rows again. log2(lanes) rounds of shuffles, each on all registers: 64 shuffles for 16
// × 16.
#pragma once

#include "kernels/vector/simd.inl.h"

namespace heed::kernels {
namespace {

HEED_INLINE void transpose(Vec<xsimd::sse2> (&r)[4]) {
  __m128 a = r[0], b = r[1], c = r[2], d = r[3];
  _MM_TRANSPOSE4_PS(a, b, c, d);
  r[0] = a, r[1] = b, r[2] = c, r[3] = d;
}

#if XSIMD_WITH_FMA3_AVX2
// Transposes the 4 × 4 blocks within each 128-bit lane of four registers.
HEED_INLINE void transpose_within_lanes(__m256& a, __m256& b, __m256& c, __m256& d) {
  const __m256 ab_low = _mm256_unpacklo_ps(a, b), ab_high = _mm256_unpackhi_ps(a, b);
  const __m256 cd_low = _mm256_unpacklo_ps(c, d), cd_high = _mm256_unpackhi_ps(c, d);
  a = _mm256_shuffle_ps(ab_low, cd_low, 0x44);
  b = _mm256_shuffle_ps(ab_low, cd_low, 0xEE);
  c = _mm256_shuffle_ps(ab_high, cd_high, 0x44);
  d = _mm256_shuffle_ps(ab_high, cd_high, 0xEE);
}

HEED_INLINE void transpose(Vec<xsimd::fma3<xsimd::avx2>> (&r)[8]) {
  __m256 x[8];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) x[i] = r[i];
  transpose_within_lanes(x[0], x[1], x[2], x[3]);
  transpose_within_lanes(x[4], x[5], x[6], x[7]);
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    r[i] = _mm256_permute2f128_ps(x[i], x[i + 4], 0x20);
    r[i + 4] = _mm256_permute2f128_ps(x[i], x[i + 4], 0x31);
  }
}
#endif

#if XSIMD_WITH_AVX512DQ
HEED_INLINE void transpose_within_lanes(__m512& a, __m512& b, __m512& c, __m512& d) {
  const __m512 ab_low = _mm512_unpacklo_ps(a, b), ab_high = _mm512_unpackhi_ps(a, b);
  const __m512 cd_low = _mm512_unpacklo_ps(c, d), cd_high = _mm512_unpackhi_ps(c, d);
  a = _mm512_shuffle_ps(ab_low, cd_low, 0x44);
  b = _mm512_shuffle_ps(ab_low, cd_low, 0xEE);
  c = _mm512_shuffle_ps(ab_high, cd_high, 0x44);
  d = _mm512_shuffle_ps(ab_high, cd_high, 0xEE);
}

HEED_INLINE void transpose(Vec<xsimd::avx512dq> (&r)[16]) {
  __m512 x[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) x[i] = r[i];
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) transpose_within_lanes(x[i], x[i + 1], x[i + 2], x[i + 3]);
    // x[4g + i] now holds, in its 128-bit lane c, column 4c + i of rows 4g … 4g + 3: what remains
    // is a transpose of 4 × 4 lanes for each i.
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const __m512 low01 = _mm512_shuffle_f32x4(x[i], x[i + 4], 0x44);
    const __m512 high01 = _mm512_shuffle_f32x4(x[i], x[i + 4], 0xEE);
    const __m512 low23 = _mm512_shuffle_f32x4(x[i + 8], x[i + 12], 0x44);
    const __m512 high23 = _mm512_shuffle_f32x4(x[i + 8], x[i + 12], 0xEE);
    r[i] = _mm512_shuffle_f32x4(low01, low23, 0x88);
    r[i + 4] = _mm512_shuffle_f32x4(low01, low23, 0xDD);
    r[i + 8] = _mm512_shuffle_f32x4(high01, high23, 0x88);
    r[i + 12] = _mm512_shuffle_f32x4(high01, high23, 0xDD);
  }
}
#endif

}  // namespace
}  // namespace heed::kernels
