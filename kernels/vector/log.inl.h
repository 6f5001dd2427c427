// Logarithms: of one number, in double, for the sum of a row's weights; and of vectors.
//
//   log2 x = e + 2 / ln 2 · artanh s,   x = 2^e · f,  f in [√½, √2),  s = (f − 1) / (f + 1)
//
// |s| ≤ 0.1716, so the terms after s¹⁷, at which the series of artanh is cut, are less than
// s¹⁹ / 19 / (1 − s²) · 2.9 < 2⁻⁵⁰. The roundings add less than 2⁻⁵⁰ for results up to 1, and half
// an ULP of double for larger ones.
//
// Vectors: log x = e · ln 2 + 2·s·(1 + s²/3 + s⁴/5 + s⁶/7 + s⁸/9), x and s as above, in float. With
// ε = 2⁻²⁴: f − 1 is exact, f + 1 and the quotient round, and so do the series and its product, so
// that log f is off by 4.3·ε of itself: what was left out is 0.1·ε of it, and errors of s² count
// for no more. |e · ln 2| is above twice |log f|, its upper part is exact and its lower one off by
// 2⁻³⁵ of it, and the addition rounds. In all that is below 6·ε of the result.
#pragma once

#include <cstdint>

#include "kernels/vector/exp.inl.h"
#include "kernels/vector/simd.inl.h"

namespace heed::kernels {
namespace {

/// The coefficients of the series: 2 / ((2k + 1) · ln 2).
inline constexpr double kLogSeries[] = {
    2.88539008177792681,  0.961796693925975604, 0.577078016355585363,
    0.412198583111132402, 0.320598897975325201, 0.262308189252538801,
    0.221953083213686678, 0.192359338785195121, 0.169728828339878048};

/// log2 of a finite, positive, normal x; exact for powers of two.
HEED_INLINE double log2_of(float x) {
  constexpr std::uint32_t sqrt_half = 0x3F3504F3U;
  const std::uint32_t bits = __builtin_bit_cast(std::uint32_t, x);
  const std::int32_t exponent = static_cast<std::int32_t>(bits - sqrt_half) >> 23;
  const float mantissa =
      __builtin_bit_cast(float, bits - (static_cast<std::uint32_t>(exponent) << 23));
  const double f = static_cast<double>(mantissa);
  const double s = (f - 1.0) / (f + 1.0), s2 = s * s, s4 = s2 * s2, s8 = s4 * s4;
  // Terms are added in pairs, then in pairs of pairs (Estrin): a row waits for the result, so the
  // chain of operations must be short.
  const auto pair = [=](int k) { return kLogSeries[k] + kLogSeries[k + 1] * s2; };
  const double low = pair(0) + pair(2) * s4, high = pair(4) + pair(6) * s4;
  return static_cast<double>(exponent) + s * (low + s8 * (high + s8 * kLogSeries[8]));
}

/// The natural logarithm of a finite, positive, normal x.
HEED_INLINE double log_of(float x) { return log2_of(x) * 0.693147180559945309417; }

/// The natural logarithm of a sum of weights; a sum of 0 gives 0, and NaN gives NaN.
HEED_INLINE double log_of_sum(double sum) {
  return sum > 0.0 ? log_of(static_cast<float>(sum)) : sum;
}

/// The natural logarithm of finite x > 0, denormal ones too; of 0 and NaN it gives any number.
template <class Arch>
HEED_INLINE Vec<Arch> log(Vec<Arch> x) {
  using V = Vec<Arch>;
  using I = Integers<Arch>;
  const Mask<Arch> small = x < splat<Arch>(0x1p-126F);
  const V normal = Ops<Arch>::select(small, x * splat<Arch>(0x1p24F), x);
  const I bits = Ops<Arch>::as_integers(normal);
  const I exponent = (bits - I(0x3F3504F3)) >> 23;
  const V f = Ops<Arch>::as_floats(bits - (exponent << 23));
  const V e = Ops<Arch>::to_floats(exponent) -
              Ops<Arch>::select(small, splat<Arch>(24.0F), splat<Arch>(0.0F));
  const V one = splat<Arch>(1.0F), s = Ops<Arch>::divide(f - one, f + one), s2 = s * s;
  V series = splat<Arch>(1.0F / 9.0F);
#pragma GCC unroll 3
  for (int k = 7; k >= 3; k -= 2) {
    series = Ops<Arch>::fma(series, s2, splat<Arch>(1.0F / static_cast<float>(k)));
  }
  const V log_f = (s + s) * Ops<Arch>::fma(series, s2, one);
  return Ops<Arch>::fma(e, splat<Arch>(kLn2High), Ops<Arch>::fma(e, splat<Arch>(kLn2Low), log_f));
}

}  // namespace
}  // namespace heed::kernels
