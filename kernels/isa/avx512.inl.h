// The operations of AVX-512 (F, BW, DQ, VL, CD). Reductions go on in those of AVX2.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/isa/avx2.inl.h"
#include "kernels/vector/simd.inl.h"

namespace heed::kernels {
namespace {

template <>
struct Ops<xsimd::avx512dq> {
  using V = Vec<xsimd::avx512dq>;
  using M = Mask<xsimd::avx512dq>;
  using I = Integers<xsimd::avx512dq>;
  using Half = Ops<xsimd::fma3<xsimd::avx2>>;

  static constexpr int kRegisters = 32;
  static constexpr bool kScalesAnyExponent = true;
  static constexpr bool kTransposesPacked = true;
  static constexpr bool kCompresses = true;

  static HEED_INLINE V max(V a, V b) { return _mm512_max_ps(a, b); }
  static HEED_INLINE V min(V a, V b) { return _mm512_min_ps(a, b); }
  static HEED_INLINE V fma(V a, V b, V c) { return _mm512_fmadd_ps(a, b, c); }
  static HEED_INLINE V fms(V a, V b, V c) { return _mm512_fmsub_ps(a, b, c); }
  static HEED_INLINE void accumulate(V a, V b, V& sum) {
    asm("vfmadd231ps %2, %1, %0" : "+v"(sum.data) : "v"(a.data), "v"(b.data));
  }
  static HEED_INLINE V divide(V a, V b) { return _mm512_div_ps(a, b); }
  static HEED_INLINE V floor(V x) {
    return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
  }
  static HEED_INLINE V select(M m, V a, V b) {
    return _mm512_mask_blend_ps(static_cast<__mmask16>(m.data), b, a);
  }
  static HEED_INLINE bool any(M m) { return static_cast<__mmask16>(m.data) != 0; }
  static HEED_INLINE std::uint32_t nonzero_bytes(const std::uint8_t* bytes) {
    return Half::nonzero_bytes(bytes);
  }
  static HEED_INLINE std::uint64_t ones(std::uint64_t x) { return Half::ones(x); }
  static HEED_INLINE std::uint32_t bits(M m) { return static_cast<__mmask16>(m.data); }
  static HEED_INLINE V compress(std::uint32_t lanes, V x, I& numbers) {
    const auto mask = static_cast<__mmask16>(lanes);
    numbers = _mm512_maskz_compress_epi32(
        mask, _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
    return _mm512_maskz_compress_ps(mask, x);
  }
  static HEED_INLINE M not_less(V a, V b) { return M(_mm512_cmp_ps_mask(a, b, _CMP_NLT_UQ)); }
  static HEED_INLINE V scale_weight(V p, V n, V lowest) {
    return _mm512_maskz_scalef_ps(_mm512_cmp_ps_mask(n, lowest, _CMP_NLT_UQ), p, n);
  }

  static HEED_INLINE void store_nontemporal(float* p, V x) { _mm512_stream_ps(p, x); }
  static HEED_INLINE void fence_nontemporal_stores() { _mm_sfence(); }

  template <class Combine>
  static HEED_INLINE float reduce(V x, Combine combine) {
    return Half::reduce(
        combine(Half::V(_mm512_castps512_ps256(x)), Half::V(_mm512_extractf32x8_ps(x, 1))),
        combine);
  }
  /// Four rounds of sixteen shuffles: two within the 128-bit lanes, two of whole ones.
  static HEED_INLINE void transpose(V (&rows)[16]) {
    __m512 x[16];
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) x[i] = rows[i];
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
      rows[i] = _mm512_shuffle_f32x4(low01, low23, 0x88);
      rows[i + 4] = _mm512_shuffle_f32x4(low01, low23, 0xDD);
      rows[i + 8] = _mm512_shuffle_f32x4(high01, high23, 0x88);
      rows[i + 12] = _mm512_shuffle_f32x4(high01, high23, 0xDD);
    }
  }

  /// Two rounds of shuffles: loads of 16 bytes, which go to any 128-bit lane, spare the others.
  template <class Row>
  static HEED_INLINE void load_transposed(Row row, V (&columns)[16]) {
#pragma GCC unroll 4
    for (int i = 0; i < 16; i += 4) {
      const auto load = [&](int lane) { return _mm_loadu_ps(row(lane) + i); };
      __m512 x[4];
#pragma GCC unroll 4
      for (int r = 0; r < 4; ++r) {
        x[r] = _mm512_insertf32x4(_mm512_castps128_ps512(load(r)), load(r + 4), 1);
        x[r] = _mm512_insertf32x4(x[r], load(r + 8), 2);
        x[r] = _mm512_insertf32x4(x[r], load(r + 12), 3);
      }
      transpose_within_lanes(x[0], x[1], x[2], x[3]);
#pragma GCC unroll 4
      for (int r = 0; r < 4; ++r) columns[i + r] = x[r];
    }
  }

  static HEED_INLINE V load_twice(const float* p) {
    return _mm512_permutexvar_ps(_mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7),
                                 _mm512_castps256_ps512(_mm256_loadu_ps(p)));
  }
  static HEED_INLINE V rotate_pairs(V x, V cosines, V sines) {
    return _mm512_fmaddsub_ps(x, cosines, _mm512_mul_ps(_mm512_permute_ps(x, 0xB1), sines));
  }

  static HEED_INLINE V as_floats(I x) { return _mm512_castsi512_ps(x); }
  static HEED_INLINE I as_integers(V x) { return _mm512_castps_si512(x); }
  static HEED_INLINE V to_floats(I x) { return _mm512_cvtepi32_ps(x); }
  static HEED_INLINE I to_integers(V x) { return _mm512_cvtps_epi32(x); }
  static HEED_INLINE I shift_right(I x, int n) {
    return _mm512_srli_epi32(x, static_cast<unsigned>(n));
  }
  static HEED_INLINE M less(I a, I b) { return M(_mm512_cmplt_epi32_mask(a, b)); }
  static HEED_INLINE I load_bytes(const std::byte* p) {
    return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static HEED_INLINE I load_signed_bytes(const std::byte* p) {
    return _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  /// Four bytes in every lane, of which each lane moves its own half to the top.
  static HEED_INLINE I load_signed_nibbles(const std::byte* p) {
    std::int32_t bits[2] = {};
    __builtin_memcpy(bits, p, sizeof bits);
    const __m512i bytes = _mm512_mask_set1_epi32(_mm512_set1_epi32(bits[0]), 0xFF00, bits[1]);
    const __m512i shifts =
        _mm512_setr_epi32(28, 24, 20, 16, 12, 8, 4, 0, 28, 24, 20, 16, 12, 8, 4, 0);
    return _mm512_srai_epi32(_mm512_sllv_epi32(bytes, shifts), 28);
  }
  static HEED_INLINE I load_words(const std::byte* p) {
    return _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static HEED_INLINE void store_words(std::byte* p, I x) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(x));
  }
  static HEED_INLINE void store_bytes(std::byte* p, I x) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(x));
  }
  static HEED_INLINE V load_halves(const std::byte* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static HEED_INLINE V load_upper_halves(const std::byte* p) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return _mm512_cvtph_ps(_mm256_slli_epi16(_mm256_cvtepu8_epi16(bytes), 8));
  }
  static HEED_INLINE V load_e4m3(const std::byte* p) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    const __mmask16 numbers =
        _mm_cmpneq_epi8_mask(_mm_and_si128(bytes, _mm_set1_epi8(0x7F)), _mm_set1_epi8(0x7F));
    // The sign is in bits 7 to 15 and goes to bits 14 and 15.
    const __m256i placed = _mm256_and_si256(_mm256_slli_epi16(_mm256_cvtepi8_epi16(bytes), 7),
                                            _mm256_set1_epi16(-0x4080));
    return _mm512_mask_mul_ps(V(__builtin_nanf("")), numbers, _mm512_cvtph_ps(placed), V(256.0F));
  }
  static HEED_INLINE V splat_half(const std::byte* p) {
    std::int16_t bits = 0;
    __builtin_memcpy(&bits, p, sizeof bits);
    return _mm512_cvtph_ps(_mm256_set1_epi16(bits));
  }
  static HEED_INLINE void store_halves(std::byte* p, V x) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                        _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  }

  static HEED_INLINE void transpose_dwords(const std::byte* row, std::ptrdiff_t stride,
                                           I (&dwords)[4]) {
    __m512i x[4];
    load_sixteen_bytes(row, stride, x);
    const __m512i a = _mm512_unpacklo_epi32(x[0], x[1]), b = _mm512_unpackhi_epi32(x[0], x[1]);
    const __m512i c = _mm512_unpacklo_epi32(x[2], x[3]), d = _mm512_unpackhi_epi32(x[2], x[3]);
    dwords[0] = _mm512_unpacklo_epi64(a, c);
    dwords[1] = _mm512_unpackhi_epi64(a, c);
    dwords[2] = _mm512_unpacklo_epi64(b, d);
    dwords[3] = _mm512_unpackhi_epi64(b, d);
  }
  static HEED_INLINE void transpose_words(const std::byte* row, std::ptrdiff_t stride,
                                          I (&words)[4]) {
    __m512i x[4];
    load_sixteen_bytes(row, stride, x);
    const __m512i a = _mm512_unpacklo_epi16(x[0], x[2]), b = _mm512_unpackhi_epi16(x[0], x[2]);
    const __m512i c = _mm512_unpacklo_epi16(x[1], x[3]), d = _mm512_unpackhi_epi16(x[1], x[3]);
    const auto words_of = [](__m512i pairs) {
      return I(_mm512_permutexvar_epi64(_mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7), pairs));
    };
    words[0] = words_of(_mm512_unpacklo_epi16(a, c));
    words[1] = words_of(_mm512_unpackhi_epi16(a, c));
    words[2] = words_of(_mm512_unpacklo_epi16(b, d));
    words[3] = words_of(_mm512_unpackhi_epi16(b, d));
  }
  static HEED_INLINE V halves_to_floats(I words, int half) {
    return _mm512_cvtph_ps(half == 0 ? _mm512_castsi512_si256(words)
                                     : _mm512_extracti64x4_epi64(words, 1));
  }
  static HEED_INLINE I lower_bytes_up(I words) { return _mm512_slli_epi16(words, 8); }
  static HEED_INLINE I e4m3_halves(I words) {
    const __m512i placed =
        _mm512_and_si512(_mm512_srai_epi16(words, 1), _mm512_set1_epi16(-0x4080));
    const __m512i magnitude = _mm512_and_si512(placed, _mm512_set1_epi16(0x7FFF));
    return _mm512_mask_blend_epi16(_mm512_cmpeq_epi16_mask(magnitude, _mm512_set1_epi16(0x3F80)),
                                   placed, _mm512_set1_epi16(0x7E00));
  }
  static HEED_INLINE V gather_halves(const std::byte* p, std::ptrdiff_t stride) {
    return _mm512_cvtph_ps(_mm256_setr_m128i(Half::gather_words(p, stride),
                                             Half::gather_words(p + 8 * stride, stride)));
  }

 private:
  /// 16 bytes of each row: those of rows i, i + 4, i + 8 and i + 12.
  static HEED_INLINE void load_sixteen_bytes(const std::byte* row, std::ptrdiff_t stride,
                                             __m512i (&x)[4]) {
    const auto load = [&](int i) {
      return _mm_loadu_si128(reinterpret_cast<const __m128i*>(row + i * stride));
    };
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      __m512i lanes = _mm512_castsi128_si512(load(i));
      lanes = _mm512_inserti32x4(lanes, load(i + 4), 1);
      lanes = _mm512_inserti32x4(lanes, load(i + 8), 2);
      x[i] = _mm512_inserti32x4(lanes, load(i + 12), 3);
    }
  }

  /// Transposes the 4 × 4 floats that four registers hold in each 128-bit lane.
  static HEED_INLINE void transpose_within_lanes(__m512& a, __m512& b, __m512& c, __m512& d) {
    const __m512 ab_low = _mm512_unpacklo_ps(a, b), ab_high = _mm512_unpackhi_ps(a, b);
    const __m512 cd_low = _mm512_unpacklo_ps(c, d), cd_high = _mm512_unpackhi_ps(c, d);
    a = _mm512_shuffle_ps(ab_low, cd_low, 0x44);
    b = _mm512_shuffle_ps(ab_low, cd_low, 0xEE);
    c = _mm512_shuffle_ps(ab_high, cd_high, 0x44);
    d = _mm512_shuffle_ps(ab_high, cd_high, 0xEE);
  }
};

template <>
class MaskedVector<xsimd::avx512dq> {
  using V = Vec<xsimd::avx512dq>;

 public:
  HEED_INLINE explicit MaskedVector(std::int64_t count)
      : mask_(static_cast<__mmask16>((1U << static_cast<unsigned>(count)) - 1U)) {}
  HEED_INLINE V load(const float* p, float rest) const {
    return _mm512_mask_loadu_ps(_mm512_set1_ps(rest), mask_, p);
  }
  HEED_INLINE void store(float* p, V x) const { _mm512_mask_storeu_ps(p, mask_, x); }

 private:
  __mmask16 mask_;
};

}  // namespace
}  // namespace heed::kernels
