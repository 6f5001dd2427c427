// The operations of any x86-64: SSE2, without FMA.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/vector/minifloat.inl.h"
#include "kernels/vector/simd.inl.h"

namespace heed::kernels {
namespace {

template <>
struct Ops<xsimd::sse2> {
  using V = Vec<xsimd::sse2>;
  using M = Mask<xsimd::sse2>;
  using I = Integers<xsimd::sse2>;

  static constexpr int kRegisters = 16;
  static constexpr bool kScalesAnyExponent = false;
  static constexpr bool kTransposesPacked = false;
  static constexpr bool kCompresses = false;

  static HEED_INLINE V max(V a, V b) { return _mm_max_ps(a, b); }
  static HEED_INLINE V min(V a, V b) { return _mm_min_ps(a, b); }
  static HEED_INLINE V fma(V a, V b, V c) { return _mm_add_ps(_mm_mul_ps(a, b), c); }
  static HEED_INLINE V fms(V a, V b, V c) { return _mm_sub_ps(_mm_mul_ps(a, b), c); }
  static HEED_INLINE void accumulate(V a, V b, V& sum) { sum = fma(a, b, sum); }
  static HEED_INLINE V divide(V a, V b) { return _mm_div_ps(a, b); }

  /// The conversion to integers rounds towards zero and back, and is only defined below 2³¹; from
  /// 2²³ up floats are integers anyway.
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
  static HEED_INLINE std::uint32_t bits(M m) {
    return static_cast<std::uint32_t>(_mm_movemask_ps(m));
  }
  static HEED_INLINE M not_less(V a, V b) { return M(_mm_cmpnlt_ps(a, b)); }

  /// Adds n to the exponent of p. All bits are set, which is a NaN, where n > 127.
  static HEED_INLINE V scale_weight(V p, V n, V lowest) {
    const __m128i shifted = _mm_slli_epi32(_mm_cvttps_epi32(n), 23);
    const __m128 scaled = _mm_castsi128_ps(_mm_add_epi32(_mm_castps_si128(p), shifted));
    return _mm_or_ps(_mm_and_ps(scaled, _mm_cmpnlt_ps(n, lowest)),
                     _mm_cmpgt_ps(n, _mm_set1_ps(127.0F)));
  }

  static HEED_INLINE void store_nontemporal(float* p, V x) { _mm_stream_ps(p, x); }
  static HEED_INLINE void fence_nontemporal_stores() { _mm_sfence(); }

  /// One bit for each of 32 bytes that are not 0.
  static HEED_INLINE std::uint32_t nonzero_bytes(const std::uint8_t* bytes) {
    const auto zeros = [](const std::uint8_t* p) __attribute__((always_inline)) {
      const __m128i x = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
      return static_cast<std::uint32_t>(_mm_movemask_epi8(_mm_cmpeq_epi8(x, _mm_setzero_si128())));
    };
    return ~(zeros(bytes) | zeros(bytes + 16) << 16);
  }
  /// The bits that are set, of which each byte counts its own first.
  static HEED_INLINE std::uint64_t ones(std::uint64_t x) {
    x -= x >> 1U & 0x5555555555555555U;
    x = (x & 0x3333333333333333U) + (x >> 2U & 0x3333333333333333U);
    return ((x + (x >> 4U)) & 0x0F0F0F0F0F0F0F0FU) * 0x0101010101010101U >> 56U;
  }

  template <class Combine>
  static HEED_INLINE float reduce(V x, Combine combine) {
    const V pair = combine(x, V(_mm_movehl_ps(x, x)));
    return _mm_cvtss_f32(combine(pair, V(_mm_shuffle_ps(pair, pair, 1))));
  }
  static HEED_INLINE void transpose(V (&rows)[4]) {
    __m128 a = rows[0], b = rows[1], c = rows[2], d = rows[3];
    _MM_TRANSPOSE4_PS(a, b, c, d);
    rows[0] = a, rows[1] = b, rows[2] = c, rows[3] = d;
  }

  template <class Row>
  static HEED_INLINE void load_transposed(Row row, V (&columns)[4]) {
#pragma GCC unroll 4
    for (int lane = 0; lane < 4; ++lane) columns[lane] = V(_mm_loadu_ps(row(lane)));
    transpose(columns);
  }

  static HEED_INLINE V load_twice(const float* p) { return _mm_setr_ps(p[0], p[0], p[1], p[1]); }
  static HEED_INLINE V rotate_pairs(V x, V cosines, V sines) {
    const __m128 across = _mm_mul_ps(_mm_shuffle_ps(x, x, 0xB1), sines);
    const __m128 even = _mm_setr_ps(-0.0F, 0.0F, -0.0F, 0.0F);
    return _mm_add_ps(_mm_mul_ps(x, cosines), _mm_xor_ps(across, even));
  }

  static HEED_INLINE V as_floats(I x) { return _mm_castsi128_ps(x); }
  static HEED_INLINE I as_integers(V x) { return _mm_castps_si128(x); }
  static HEED_INLINE V to_floats(I x) { return _mm_cvtepi32_ps(x); }
  static HEED_INLINE I to_integers(V x) { return _mm_cvtps_epi32(x); }
  static HEED_INLINE I shift_right(I x, int n) { return _mm_srli_epi32(x, n); }
  static HEED_INLINE M less(I a, I b) { return M(_mm_castsi128_ps(_mm_cmplt_epi32(a, b))); }
  static HEED_INLINE I load_bytes(const std::byte* p) {
    const __m128i words = _mm_unpacklo_epi8(_mm_loadu_si32(p), _mm_setzero_si128());
    return _mm_unpacklo_epi16(words, _mm_setzero_si128());
  }
  static HEED_INLINE I load_signed_bytes(const std::byte* p) {
    const __m128i twice = _mm_unpacklo_epi8(_mm_setzero_si128(), _mm_loadu_si32(p));
    return _mm_srai_epi32(_mm_unpacklo_epi16(_mm_setzero_si128(), twice), 24);
  }
  /// In the upper halves of bytes nibbles are signed numbers, 16 times as large.
  static HEED_INLINE I load_signed_nibbles(const std::byte* p) {
    std::uint16_t bits = 0;
    __builtin_memcpy(&bits, p, sizeof bits);
    const __m128i words = _mm_unpacklo_epi8(_mm_cvtsi32_si128(bits), _mm_setzero_si128());
    const __m128i places = _mm_or_si128(_mm_slli_epi16(words, 4), _mm_slli_epi16(words, 8));
    const __m128i upper = _mm_and_si128(places, _mm_set1_epi8(-16));
    const __m128i twice = _mm_unpacklo_epi8(_mm_setzero_si128(), upper);
    return _mm_srai_epi32(_mm_unpacklo_epi16(_mm_setzero_si128(), twice), 28);
  }
  static HEED_INLINE I load_words(const std::byte* p) {
    return _mm_unpacklo_epi16(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)),
                              _mm_setzero_si128());
  }
  /// The lower halves pass as signed numbers, which packing leaves as they are.
  static HEED_INLINE void store_words(std::byte* p, I x) {
    const __m128i words = _mm_srai_epi32(_mm_slli_epi32(x, 16), 16);
    _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packs_epi32(words, words));
  }
  static HEED_INLINE void store_bytes(std::byte* p, I x) {
    const __m128i bytes = _mm_and_si128(x, _mm_set1_epi32(0xFF));
    const __m128i words = _mm_packs_epi32(bytes, bytes);
    _mm_storeu_si32(p, _mm_packus_epi16(words, words));
  }
  static HEED_INLINE V load_halves(const std::byte* p) {
    return Binary16::widen<xsimd::sse2>(load_words(p));
  }
  static HEED_INLINE V load_upper_halves(const std::byte* p) {
    return Binary16::widen<xsimd::sse2>(load_bytes(p) << 8);
  }
  static HEED_INLINE V load_e4m3(const std::byte* p) {
    return Binary8E4M3::widen<xsimd::sse2>(load_bytes(p));
  }
  static HEED_INLINE V splat_half(const std::byte* p) {
    std::uint16_t bits = 0;
    __builtin_memcpy(&bits, p, sizeof bits);
    return Binary16::widen<xsimd::sse2>(I(bits));
  }
  static HEED_INLINE void store_halves(std::byte* p, V x) {
    store_words(p, Binary16::narrow<xsimd::sse2, Overflow::infinite>(x));
  }
};

template <>
class MaskedVector<xsimd::sse2> {
  using V = Vec<xsimd::sse2>;

 public:
  HEED_INLINE explicit MaskedVector(std::int64_t count) : count_(count) {}
  HEED_INLINE V load(const float* p, float rest) const {
    if (count_ == 4) return _mm_loadu_ps(p);
    return _mm_setr_ps(p[0], count_ > 1 ? p[1] : rest, count_ > 2 ? p[2] : rest,
                       count_ > 3 ? p[3] : rest);
  }
  HEED_INLINE void store(float* p, V x) const {
    if (count_ == 4) return _mm_storeu_ps(p, x);
    alignas(16) float lane[4];
    _mm_store_ps(lane, x);
    for (std::int64_t i = 0; i < count_; ++i) p[i] = lane[i];
  }

 private:
  std::int64_t count_;
};

}  // namespace
}  // namespace heed::kernels
