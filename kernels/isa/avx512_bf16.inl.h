// What AVX512-BF16 adds to AVX-512: products of bf16 in pairs, two of which an instruction adds to
// a sum.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/isa/avx512.inl.h"
#include "kernels/vector/simd.inl.h"

namespace heed::kernels {
namespace {

/// sum = fma(a₀, b₀, fma(a₁, b₁, sum)), denormal numbers taken for zero: found to be so on Zen 5,
/// in 32 million cases of all magnitudes, and in the emulation of Sapphire Rapids.
struct PairProducts {
  static constexpr bool kPairs = true;
  template <class Arch>
  static HEED_INLINE void accumulate(Vec<Arch> a, Vec<Arch> b, Vec<Arch>& sum) {
    asm("vdpbf16ps %2, %1, %0" : "+v"(sum.data) : "v"(a.data), "v"(b.data));
  }
  /// The nearest bf16 numbers: those of `lower` in the lower halves of lanes. (The instruction for
  /// both vectors at once, vcvtne2ps2bf16, gives the same, but not in Bochs 3.0, where who has no
  /// such processor runs this; one more instruction of forty is not worth that.)
  template <class Arch>
  static HEED_INLINE Integers<Arch> pack(Vec<Arch> lower, Vec<Arch> upper) {
    alignas(kAlignment) static constexpr std::uint16_t kOrder[32] = {
        0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
        8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    const auto halves = [](Vec<Arch> x) {
      return __builtin_bit_cast(__m256i, _mm512_cvtneps_pbh(x));
    };
    const __m512i both =
        _mm512_inserti64x4(_mm512_castsi256_si512(halves(lower)), halves(upper), 1);
    return _mm512_permutexvar_epi16(_mm512_load_si512(kOrder), both);
  }
};

}  // namespace
}  // namespace heed::kernels
