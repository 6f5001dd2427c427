// The operations of any aarch64: NEON, with FMA.
#pragma once

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

#include "kernels/vector/minifloat.inl.h"
#include "kernels/vector/simd.inl.h"

namespace heed::kernels {
namespace {

template <>
struct Ops<xsimd::neon64> {
  using V = Vec<xsimd::neon64>;
  using M = Mask<xsimd::neon64>;
  using I = Integers<xsimd::neon64>;

  static constexpr int kRegisters = 32;
  static constexpr bool kScalesAnyExponent = false;
  static constexpr bool kTransposesPacked = false;
  static constexpr bool kCompresses = false;

  // The instructions fmax and fmaxnm return another operand than max where one is NaN.
  static HEED_INLINE V max(V a, V b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
  static HEED_INLINE V min(V a, V b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
  static HEED_INLINE V fma(V a, V b, V c) { return vfmaq_f32(c, a, b); }
  static HEED_INLINE V fms(V a, V b, V c) { return vfmaq_f32(vnegq_f32(c), a, b); }
  static HEED_INLINE void accumulate(V a, V b, V& sum) { sum = vfmaq_f32(sum, a, b); }
  static HEED_INLINE V divide(V a, V b) { return vdivq_f32(a, b); }
  static HEED_INLINE V floor(V x) { return vrndmq_f32(x); }
  static HEED_INLINE V select(M m, V a, V b) { return vbslq_f32(m, a, b); }
  static HEED_INLINE bool any(M m) { return vmaxvq_u32(m) != 0; }
  static HEED_INLINE std::uint32_t bits(M m) {
    constexpr std::uint32_t kPlaces[] = {1, 2, 4, 8};
    return vaddvq_u32(vandq_u32(m, vld1q_u32(kPlaces)));
  }
  static HEED_INLINE M not_less(V a, V b) { return M(vmvnq_u32(vcltq_f32(a, b))); }

  /// Adds n to the exponent of p. All bits are set, which is a NaN, where n > 127.
  static HEED_INLINE V scale_weight(V p, V n, V lowest) {
    const int32x4_t shifted = vshlq_n_s32(vcvtq_s32_f32(n), 23);
    const int32x4_t scaled = vaddq_s32(vreinterpretq_s32_f32(p), shifted);
    const uint32x4_t kept = vbicq_u32(vreinterpretq_u32_s32(scaled), vcltq_f32(n, lowest));
    return vreinterpretq_f32_u32(vorrq_u32(kept, vcgtq_f32(n, vdupq_n_f32(127.0F))));
  }

  /// Processors of aarch64 notice by themselves that whole lines are written.
  static HEED_INLINE void store_nontemporal(float* p, V x) { vst1q_f32(p, x); }
  static HEED_INLINE void fence_nontemporal_stores() {}

  static HEED_INLINE std::uint32_t nonzero_bytes(const std::uint8_t* bytes) {
    constexpr std::uint8_t kPlaces[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    const auto bits_of = [&](const std::uint8_t* p) __attribute__((always_inline)) {
      const uint8x16_t x = vld1q_u8(p);
      const uint8x16_t bits = vandq_u8(vtstq_u8(x, x), vld1q_u8(kPlaces));
      return static_cast<std::uint32_t>(vaddv_u8(vget_low_u8(bits)) | vaddv_u8(vget_high_u8(bits))
                                                                          << 8);
    };
    return bits_of(bytes) | bits_of(bytes + 16) << 16;
  }
  static HEED_INLINE std::uint64_t ones(std::uint64_t x) {
    return vaddv_u8(vcnt_u8(vcreate_u8(x)));
  }

  template <class Combine>
  static HEED_INLINE float reduce(V x, Combine combine) {
    const V pair = combine(x, V(vextq_f32(x, x, 2)));
    return vgetq_lane_f32(combine(pair, V(vextq_f32(pair, pair, 1))), 0);
  }
  static HEED_INLINE void transpose(V (&rows)[4]) {
    const auto pairs = [](float32x4_t x) { return vreinterpretq_f64_f32(x); };
    const float64x2_t even_01 = pairs(vtrn1q_f32(rows[0], rows[1]));
    const float64x2_t odd_01 = pairs(vtrn2q_f32(rows[0], rows[1]));
    const float64x2_t even_23 = pairs(vtrn1q_f32(rows[2], rows[3]));
    const float64x2_t odd_23 = pairs(vtrn2q_f32(rows[2], rows[3]));
    rows[0] = vreinterpretq_f32_f64(vzip1q_f64(even_01, even_23));
    rows[1] = vreinterpretq_f32_f64(vzip1q_f64(odd_01, odd_23));
    rows[2] = vreinterpretq_f32_f64(vzip2q_f64(even_01, even_23));
    rows[3] = vreinterpretq_f32_f64(vzip2q_f64(odd_01, odd_23));
  }

  template <class Row>
  static HEED_INLINE void load_transposed(Row row, V (&columns)[4]) {
#pragma GCC unroll 4
    for (int lane = 0; lane < 4; ++lane) columns[lane] = V(vld1q_f32(row(lane)));
    transpose(columns);
  }

  static HEED_INLINE V load_twice(const float* p) {
    const float32x2_t pair = vld1_f32(p);
    return vcombine_f32(vdup_lane_f32(pair, 0), vdup_lane_f32(pair, 1));
  }
  static HEED_INLINE V rotate_pairs(V x, V cosines, V sines) {
    constexpr std::uint32_t kEven[] = {0x80000000U, 0, 0x80000000U, 0};
    const uint32x4_t across = vreinterpretq_u32_f32(vmulq_f32(vrev64q_f32(x), sines));
    return vfmaq_f32(vreinterpretq_f32_u32(veorq_u32(across, vld1q_u32(kEven))), x, cosines);
  }

  static HEED_INLINE V as_floats(I x) { return vreinterpretq_f32_s32(x); }
  static HEED_INLINE I as_integers(V x) { return vreinterpretq_s32_f32(x); }
  static HEED_INLINE V to_floats(I x) { return vcvtq_f32_s32(x); }
  static HEED_INLINE I to_integers(V x) { return vcvtnq_s32_f32(x); }
  static HEED_INLINE I shift_right(I x, int n) {
    return vreinterpretq_s32_u32(vshlq_u32(vreinterpretq_u32_s32(x), vdupq_n_s32(-n)));
  }
  static HEED_INLINE M less(I a, I b) { return M(vcltq_s32(a, b)); }
  static HEED_INLINE I load_bytes(const std::byte* p) {
    return vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(vmovl_u8(four_bytes(p)))));
  }
  static HEED_INLINE I load_signed_bytes(const std::byte* p) {
    return vmovl_s16(vget_low_s16(vmovl_s8(vreinterpret_s8_u8(four_bytes(p)))));
  }
  /// Two bytes in every lane, of which each lane moves its own half to the top.
  static HEED_INLINE I load_signed_nibbles(const std::byte* p) {
    constexpr std::int32_t kPlaces[] = {28, 24, 20, 16};
    std::uint16_t bits = 0;
    __builtin_memcpy(&bits, p, sizeof bits);
    return vshrq_n_s32(vshlq_s32(vdupq_n_s32(bits), vld1q_s32(kPlaces)), 28);
  }
  static HEED_INLINE I load_words(const std::byte* p) {
    return vreinterpretq_s32_u32(vmovl_u16(four_words(p)));
  }
  static HEED_INLINE void store_words(std::byte* p, I x) {
    const uint16x4_t words = vmovn_u32(vreinterpretq_u32_s32(x));
    __builtin_memcpy(p, &words, sizeof words);
  }
  static HEED_INLINE void store_bytes(std::byte* p, I x) {
    const uint16x4_t words = vmovn_u32(vreinterpretq_u32_s32(x));
    const uint8x8_t bytes = vmovn_u16(vcombine_u16(words, words));
    const std::uint32_t first = vget_lane_u32(vreinterpret_u32_u8(bytes), 0);
    __builtin_memcpy(p, &first, sizeof first);
  }
  static HEED_INLINE V load_halves(const std::byte* p) { return widen_halves(four_words(p)); }
  static HEED_INLINE V load_upper_halves(const std::byte* p) {
    return widen_halves(vget_low_u16(vshll_n_u8(four_bytes(p), 8)));
  }
  static HEED_INLINE V load_e4m3(const std::byte* p) {
    return Binary8E4M3::widen<xsimd::neon64>(load_bytes(p));
  }
  static HEED_INLINE V splat_half(const std::byte* p) {
    std::uint16_t bits = 0;
    __builtin_memcpy(&bits, p, sizeof bits);
    return widen_halves(vdup_n_u16(bits));
  }
  static HEED_INLINE void store_halves(std::byte* p, V x) {
    const float16x4_t halves = vcvt_f16_f32(x);
    __builtin_memcpy(p, &halves, sizeof halves);
  }

 private:
  /// The four bytes at p, and again.
  static HEED_INLINE uint8x8_t four_bytes(const std::byte* p) {
    std::uint32_t bits = 0;
    __builtin_memcpy(&bits, p, sizeof bits);
    return vreinterpret_u8_u32(vdup_n_u32(bits));
  }
  static HEED_INLINE uint16x4_t four_words(const std::byte* p) {
    uint16x4_t words;
    __builtin_memcpy(&words, p, sizeof words);
    return words;
  }
  static HEED_INLINE V widen_halves(uint16x4_t halves) {
    return vcvt_f32_f16(vreinterpret_f16_u16(halves));
  }
};

template <>
class MaskedVector<xsimd::neon64> {
  using V = Vec<xsimd::neon64>;

 public:
  HEED_INLINE explicit MaskedVector(std::int64_t count) : count_(count) {}
  HEED_INLINE V load(const float* p, float rest) const {
    if (count_ == 4) return vld1q_f32(p);
    float32x4_t x = vld1q_lane_f32(p, vdupq_n_f32(rest), 0);
    if (count_ > 1) x = vld1q_lane_f32(p + 1, x, 1);
    if (count_ > 2) x = vld1q_lane_f32(p + 2, x, 2);
    return x;
  }
  HEED_INLINE void store(float* p, V x) const {
    if (count_ == 4) return vst1q_f32(p, x);
    vst1q_lane_f32(p, x, 0);
    if (count_ > 1) vst1q_lane_f32(p + 1, x, 1);
    if (count_ > 2) vst1q_lane_f32(p + 2, x, 2);
  }

 private:
  std::int64_t count_;
};

}  // namespace
}  // namespace heed::kernels
