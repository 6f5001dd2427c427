// The logarithm of one number, in double: a row needs no more than one.
//
//   log2 x = e + 2 / ln 2 · artanh s,   x = 2^e · f,  f in [√½, √2),  s = (f − 1) / (f + 1)
//
// |s| ≤ 0.1716, so the terms after s¹⁷, at which the series of artanh is cut, are less than
// s¹⁹ / 19 / (1 − s²) · 2.9 < 2⁻⁵⁰. The roundings add less than 2⁻⁵⁰ for results up to 1, and half
// an ULP of double for larger ones.
#pragma once

#include <cstdint>

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

}  // namespace
}  // namespace heed::kernels
