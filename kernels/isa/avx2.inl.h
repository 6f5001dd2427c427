// The operations of AVX2 with FMA. Reductions end in those of SSE2.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/isa/generic.inl.h"
#include "kernels/vector/exp.inl.h"
#include "kernels/vector/simd.inl.h"

namespace heed::kernels {
namespace {

/// The numbers of the bits that are set in each number of eight bits, in their order.
struct LaneNumbers {
  std::uint8_t bytes[256][8] = {};

  constexpr LaneNumbers() {
    for (int lanes = 0; lanes < 256; ++lanes) {
      int count = 0;
      for (int lane = 0; lane < 8; ++lane) {
        if ((lanes >> lane & 1) != 0) bytes[lanes][count++] = static_cast<std::uint8_t>(lane);
      }
    }
  }
};
inline constexpr LaneNumbers kLaneNumbers;

template <>
struct Ops<xsimd::fma3<xsimd::avx2>> {
  using V = Vec<xsimd::fma3<xsimd::avx2>>;
  using M = Mask<xsimd::fma3<xsimd::avx2>>;
  using I = Integers<xsimd::fma3<xsimd::avx2>>;

  static constexpr int kRegisters = 16;
  static constexpr bool kScalesAnyExponent = false;
  static constexpr bool kTransposesPacked = true;
  static constexpr bool kCompresses = true;

  static HEED_INLINE V max(V a, V b) { return _mm256_max_ps(a, b); }
  static HEED_INLINE V min(V a, V b) { return _mm256_min_ps(a, b); }
  static HEED_INLINE V fma(V a, V b, V c) { return _mm256_fmadd_ps(a, b, c); }
  static HEED_INLINE V fms(V a, V b, V c) { return _mm256_fmsub_ps(a, b, c); }
  static HEED_INLINE void accumulate(V a, V b, V& sum) {
    asm("vfmadd231ps %2, %1, %0" : "+x"(sum.data) : "x"(a.data), "x"(b.data));
  }
  static HEED_INLINE V divide(V a, V b) { return _mm256_div_ps(a, b); }
  static HEED_INLINE V floor(V x) { return _mm256_floor_ps(x); }
  static HEED_INLINE V select(M m, V a, V b) { return _mm256_blendv_ps(b, a, m); }
  static HEED_INLINE bool any(M m) { return _mm256_movemask_ps(m) != 0; }
  static HEED_INLINE std::uint32_t bits(M m) {
    return static_cast<std::uint32_t>(_mm256_movemask_ps(m));
  }
  static HEED_INLINE V compress(std::uint32_t lanes, V x, I& numbers) {
    const void* const place = kLaneNumbers.bytes[lanes];
    numbers = _mm256_cvtepu8_epi32(_mm_loadl_epi64(static_cast<const __m128i*>(place)));
    return _mm256_permutevar8x32_ps(x, numbers);
  }
  static HEED_INLINE M not_less(V a, V b) { return M(_mm256_cmp_ps(a, b, _CMP_NLT_UQ)); }

  static HEED_INLINE std::uint32_t nonzero_bytes(const std::uint8_t* bytes) {
    const __m256i x = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes));
    return ~static_cast<std::uint32_t>(
        _mm256_movemask_epi8(_mm256_cmpeq_epi8(x, _mm256_setzero_si256())));
  }
  static HEED_INLINE std::uint64_t ones(std::uint64_t x) {
    return static_cast<std::uint64_t>(_mm_popcnt_u64(x));
  }

  /// Adds n to the exponent of p. All bits of the exponent are set, and the first one below, which
  /// is a NaN, unless n ≤ 127; the low bits are those of p, so that nearest_bf16 keeps the NaN. n
  /// becomes an integer, in the low bits, by an addition, which Intel's cores have more ports for
  /// than for a conversion.
  static HEED_INLINE V scale_weight(V p, V n, V lowest) {
    const __m256 shifted = _mm256_add_ps(n, _mm256_set1_ps(kRoundingShift));
    const __m256i exponent = _mm256_slli_epi32(_mm256_castps_si256(shifted), 23);
    const __m256 scaled = _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p), exponent));
    const __m256 beyond = _mm256_and_ps(_mm256_cmp_ps(n, _mm256_set1_ps(127.0F), _CMP_NLE_UQ),
                                        _mm256_castsi256_ps(_mm256_set1_epi32(0x7FC00000)));
    return _mm256_or_ps(_mm256_and_ps(scaled, _mm256_cmp_ps(n, lowest, _CMP_NLT_UQ)), beyond);
  }

  static HEED_INLINE void store_nontemporal(float* p, V x) { _mm256_stream_ps(p, x); }
  static HEED_INLINE void fence_nontemporal_stores() { _mm_sfence(); }

  template <class Combine>
  static HEED_INLINE float reduce(V x, Combine combine) {
    using Half = Vec<xsimd::sse2>;
    return Ops<xsimd::sse2>::reduce(
        combine(Half(_mm256_castps256_ps128(x)), Half(_mm256_extractf128_ps(x, 1))), combine);
  }
  /// Three rounds of eight shuffles: two within the 128-bit lanes, one across them.
  static HEED_INLINE void transpose(V (&rows)[8]) {
    __m256 x[8];
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) x[i] = rows[i];
    transpose_within_lanes(x[0], x[1], x[2], x[3]);
    transpose_within_lanes(x[4], x[5], x[6], x[7]);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      rows[i] = _mm256_permute2f128_ps(x[i], x[i + 4], 0x20);
      rows[i + 4] = _mm256_permute2f128_ps(x[i], x[i + 4], 0x31);
    }
  }

  /// Two rounds of shuffles: loads of 16 bytes, which go to either 128-bit lane, spare the third.
  template <class Row>
  static HEED_INLINE void load_transposed(Row row, V (&columns)[8]) {
#pragma GCC unroll 2
    for (int i = 0; i < 8; i += 4) {
      const auto load = [&](int lane) { return _mm_loadu_ps(row(lane) + i); };
      __m256 x[4];
#pragma GCC unroll 4
      for (int r = 0; r < 4; ++r) {
        x[r] = _mm256_insertf128_ps(_mm256_castps128_ps256(load(r)), load(r + 4), 1);
      }
      transpose_within_lanes(x[0], x[1], x[2], x[3]);
#pragma GCC unroll 4
      for (int r = 0; r < 4; ++r) columns[i + r] = x[r];
    }
  }

  static HEED_INLINE V load_twice(const float* p) {
    return _mm256_permutevar8x32_ps(_mm256_castps128_ps256(_mm_loadu_ps(p)),
                                    _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3));
  }
  static HEED_INLINE V rotate_pairs(V x, V cosines, V sines) {
    return _mm256_fmaddsub_ps(x, cosines, _mm256_mul_ps(_mm256_permute_ps(x, 0xB1), sines));
  }

  static HEED_INLINE V as_floats(I x) { return _mm256_castsi256_ps(x); }
  static HEED_INLINE I as_integers(V x) { return _mm256_castps_si256(x); }
  static HEED_INLINE V to_floats(I x) { return _mm256_cvtepi32_ps(x); }
  static HEED_INLINE I to_integers(V x) { return _mm256_cvtps_epi32(x); }
  static HEED_INLINE I shift_right(I x, int n) { return _mm256_srli_epi32(x, n); }
  static HEED_INLINE M less(I a, I b) { return M(_mm256_castsi256_ps(_mm256_cmpgt_epi32(b, a))); }
  static HEED_INLINE I load_bytes(const std::byte* p) {
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
  }
  static HEED_INLINE I load_signed_bytes(const std::byte* p) {
    return _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
  }
  /// Four bytes in every lane, of which each lane moves its own half to the top.
  static HEED_INLINE I load_signed_nibbles(const std::byte* p) {
    std::int32_t bits = 0;
    __builtin_memcpy(&bits, p, sizeof bits);
    const __m256i top =
        _mm256_sllv_epi32(_mm256_set1_epi32(bits), _mm256_setr_epi32(28, 24, 20, 16, 12, 8, 4, 0));
    return _mm256_srai_epi32(top, 28);
  }
  static HEED_INLINE I load_words(const std::byte* p) {
    return _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static HEED_INLINE void store_words(std::byte* p, I x) {
    const __m256i low = _mm256_blend_epi16(x, _mm256_setzero_si256(), 0xAA);
    const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(low, low), 0x08);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_castsi256_si128(packed));
  }
  static HEED_INLINE void store_bytes(std::byte* p, I x) {
    const __m256i lowest = _mm256_and_si256(x, _mm256_set1_epi32(0xFF));
    const __m128i words =
        _mm_packus_epi32(_mm256_castsi256_si128(lowest), _mm256_extracti128_si256(lowest, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packus_epi16(words, words));
  }
  static HEED_INLINE V load_halves(const std::byte* p) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static HEED_INLINE V load_upper_halves(const std::byte* p) {
    const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
    return _mm256_cvtph_ps(_mm_unpacklo_epi8(_mm_setzero_si128(), bytes));
  }
  static HEED_INLINE V load_e4m3(const std::byte* p) {
    const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
    const __m128i words = _mm_unpacklo_epi8(_mm_setzero_si128(), bytes);
    return halves_to_floats(e4m3_halves(_mm256_castsi128_si256(words)), 0) * V(256.0F);
  }
  static HEED_INLINE V splat_half(const std::byte* p) {
    std::int16_t bits = 0;
    __builtin_memcpy(&bits, p, sizeof bits);
    return _mm256_cvtph_ps(_mm_set1_epi16(bits));
  }
  static HEED_INLINE void store_halves(std::byte* p, V x) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                     _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  }

  static HEED_INLINE void transpose_dwords(const std::byte* row, std::ptrdiff_t stride,
                                           I (&dwords)[4]) {
    __m256i x[4];
    load_sixteen_bytes(row, stride, x);
    const __m256i a = _mm256_unpacklo_epi32(x[0], x[1]), b = _mm256_unpackhi_epi32(x[0], x[1]);
    const __m256i c = _mm256_unpacklo_epi32(x[2], x[3]), d = _mm256_unpackhi_epi32(x[2], x[3]);
    dwords[0] = _mm256_unpacklo_epi64(a, c);
    dwords[1] = _mm256_unpackhi_epi64(a, c);
    dwords[2] = _mm256_unpacklo_epi64(b, d);
    dwords[3] = _mm256_unpackhi_epi64(b, d);
  }
  static HEED_INLINE void transpose_words(const std::byte* row, std::ptrdiff_t stride,
                                          I (&words)[4]) {
    __m256i x[4];
    load_sixteen_bytes(row, stride, x);
    const __m256i a = _mm256_unpacklo_epi16(x[0], x[2]), b = _mm256_unpackhi_epi16(x[0], x[2]);
    const __m256i c = _mm256_unpacklo_epi16(x[1], x[3]), d = _mm256_unpackhi_epi16(x[1], x[3]);
    const auto words_of = [](__m256i pairs) { return I(_mm256_permute4x64_epi64(pairs, 0xD8)); };
    words[0] = words_of(_mm256_unpacklo_epi16(a, c));
    words[1] = words_of(_mm256_unpackhi_epi16(a, c));
    words[2] = words_of(_mm256_unpacklo_epi16(b, d));
    words[3] = words_of(_mm256_unpackhi_epi16(b, d));
  }
  static HEED_INLINE V halves_to_floats(I words, int half) {
    return _mm256_cvtph_ps(half == 0 ? _mm256_castsi256_si128(words)
                                     : _mm256_extracti128_si256(words, 1));
  }
  static HEED_INLINE I lower_bytes_up(I words) { return _mm256_slli_epi16(words, 8); }
  static HEED_INLINE I e4m3_halves(I words) {
    const __m256i placed =
        _mm256_and_si256(_mm256_srai_epi16(words, 1), _mm256_set1_epi16(-0x4080));
    const __m256i magnitude = _mm256_and_si256(placed, _mm256_set1_epi16(0x7FFF));
    return _mm256_blendv_epi8(placed, _mm256_set1_epi16(0x7E00),
                              _mm256_cmpeq_epi16(magnitude, _mm256_set1_epi16(0x3F80)));
  }
  static HEED_INLINE V gather_halves(const std::byte* p, std::ptrdiff_t stride) {
    return _mm256_cvtph_ps(gather_words(p, stride));
  }

  /// The words at p, p + stride, …
  static HEED_INLINE __m128i gather_words(const std::byte* p, std::ptrdiff_t stride) {
    const auto word = [&](int i) {
      std::int16_t bits = 0;
      __builtin_memcpy(&bits, p + i * stride, sizeof bits);
      return bits;
    };
    return _mm_setr_epi16(word(0), word(1), word(2), word(3), word(4), word(5), word(6), word(7));
  }

 private:
  /// 16 bytes of each row: those of row i and of row i + 4.
  static HEED_INLINE void load_sixteen_bytes(const std::byte* row, std::ptrdiff_t stride,
                                             __m256i (&x)[4]) {
    const auto load = [&](int i) {
      return _mm_loadu_si128(reinterpret_cast<const __m128i*>(row + i * stride));
    };
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      x[i] = _mm256_inserti128_si256(_mm256_castsi128_si256(load(i)), load(i + 4), 1);
    }
  }

  /// Transposes the 4 × 4 floats that four registers hold in each 128-bit lane.
  static HEED_INLINE void transpose_within_lanes(__m256& a, __m256& b, __m256& c, __m256& d) {
    const __m256 ab_low = _mm256_unpacklo_ps(a, b), ab_high = _mm256_unpackhi_ps(a, b);
    const __m256 cd_low = _mm256_unpacklo_ps(c, d), cd_high = _mm256_unpackhi_ps(c, d);
    a = _mm256_shuffle_ps(ab_low, cd_low, 0x44);
    b = _mm256_shuffle_ps(ab_low, cd_low, 0xEE);
    c = _mm256_shuffle_ps(ab_high, cd_high, 0x44);
    d = _mm256_shuffle_ps(ab_high, cd_high, 0xEE);
  }
};

template <>
class MaskedVector<xsimd::fma3<xsimd::avx2>> {
  using V = Vec<xsimd::fma3<xsimd::avx2>>;

 public:
  HEED_INLINE explicit MaskedVector(std::int64_t count)
      : mask_(_mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)),
                                 _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))) {}
  HEED_INLINE V load(const float* p, float rest) const {
    return _mm256_blendv_ps(_mm256_set1_ps(rest), _mm256_maskload_ps(p, mask_),
                            _mm256_castsi256_ps(mask_));
  }
  HEED_INLINE void store(float* p, V x) const { _mm256_maskstore_ps(p, mask_, x); }

 private:
  __m256i mask_;
};

}  // namespace
}  // namespace heed::kernels
