// The exponentials.
//
// exp2_mantissa: 2^f on [0, 1), the weights of attention (kernels/vector/exp2_coefficients.h).
//
// exp: e^x = 2^n · e^r with n = round(x · log2 e) and r = x − n · ln 2 (Cody & Waite), |r| ≤
// 0.3467.
//   e^r ≈ 1 + r + r² · (c2 + … + c6 r⁴), relative error 2⁻²⁸·³. In units of 2⁻²⁴, the least that an
//   ULP is worth, the last rounding costs ½ (1 above 1, where an ULP is worth twice as much), those
//   of the steps before it below ½, that of r, the only inexact step of the reduction, ¼. Measured
//   over every float of [−104, 0]: 0.89 ULP with fma, 1.18 ULP where products are rounded as well.
//   2^n is applied so that only one rounding can follow, down to the smallest denormal.
//   Range: 0 below −103.98 and at −∞, infinity above 88.73, NaN at NaN.
#pragma once

#include <cstdint>

#include "kernels/vector/exp2_coefficients.h"
#include "kernels/vector/simd.inl.h"

namespace heed::kernels {
namespace {

/// 2^f for f in [0, 1], in [1, 2]; NaN gives NaN. t − floor(t) is 1 where it rounds up to it, for t
/// just below 0.
template <class Arch>
HEED_INLINE Vec<Arch> exp2_mantissa(Vec<Arch> f) {
  Vec<Arch> p = splat<Arch>(kExp2Coefficients[5]);
#pragma GCC unroll 5
  for (int k = 4; k >= 0; --k) p = Ops<Arch>::fma(p, f, splat<Arch>(kExp2Coefficients[k]));
  return p;
}

/// Adding 1.5 · 2²³ rounds to an integer, which is then in the low bits of the sum.
inline constexpr float kRoundingShift = 12582912.0F;

/// What larger x are taken for; e^x is infinite from 88.73 up.
inline constexpr float kExpHighest = 89.0F;

/// What smaller x are taken for: −159 · ln 2, far below −103.98, where e^x rounds to 0. See Scale.
inline constexpr float kExpLowest = -110.2104F;

/// ln 2 in two parts: the product of the first, which has 9 bits, with any n up to 2¹⁵ is exact,
/// and so is its difference from x.
inline constexpr float kLn2High = 0.693359375F;
inline constexpr float kLn2Low = -2.12194440e-4F;

/// c2 … c6: Remez, relative error 0.051 · 2⁻²⁴.
inline constexpr float kExpCoefficients[] = {0.499999934322F, 0.166665203991F, 0.0416683907697F,
                                             0.00836874510461F, 0.00138145410565F};

/// e^x = power · 2^n.
template <class Arch>
struct ReducedExp {
  Vec<Arch> power;  ///< e^r
  Vec<Arch> n;
  Vec<Arch> shifted;  ///< n + kRoundingShift
};

/// power · 2^n for n = −159 … 128, rounded once. n = −159 gives 0, and without an underflow: masked
/// entries and the lanes behind a row's end are e^−∞, and each underflow would cost a hundred
/// cycles.
template <class Arch>
struct Scale {
  using V = Vec<Arch>;
  using Bits = xsimd::batch<std::int32_t, Arch>;

  /// 2^n for n = −126 … 127, and 0 for n = −127.
  static HEED_INLINE V power_of_two(Bits n) {
    return xsimd::bitwise_cast<V>((n + Bits(127)) << 23);
  }

  static HEED_INLINE Bits integer(V shifted) {
    return xsimd::bitwise_cast<Bits>(shifted) -
           xsimd::bitwise_cast<Bits>(splat<Arch>(kRoundingShift));
  }

  /// For n ≤ 0: 2^(n + 32) is normal or 0, and only the product with 2⁻³² rounds.
  static HEED_INLINE V down(const ReducedExp<Arch>& e) {
    return e.power * power_of_two(integer(e.shifted) + Bits(32)) * splat<Arch>(0x1p-32F);
  }

  /// As down(), and the other way round for n ≥ 0.
  static HEED_INLINE V any(const ReducedExp<Arch>& e) {
    const Bits n = integer(e.shifted), detour = ((n >> 31) & Bits(64)) - Bits(32);
    return e.power * power_of_two(n + detour) * power_of_two(Bits(0) - detour);
  }
};

#if XSIMD_WITH_AVX512DQ
template <>
struct Scale<xsimd::avx512dq> {
  using Arch = xsimd::avx512dq;
  static HEED_INLINE Vec<Arch> any(const ReducedExp<Arch>& e) {
    const __mmask16 counts = _mm512_cmp_ps_mask(e.n, _mm512_set1_ps(-159.0F), _CMP_NLE_UQ);
    return _mm512_maskz_scalef_ps(counts, e.power, e.n);
  }
  static HEED_INLINE Vec<Arch> down(const ReducedExp<Arch>& e) { return any(e); }
};
#endif

template <class Arch>
HEED_INLINE ReducedExp<Arch> reduce_exp(Vec<Arch> x) {
  using V = Vec<Arch>;
  const V shifted = Ops<Arch>::fma(x, splat<Arch>(1.44269504089F), splat<Arch>(kRoundingShift));
  const V n = shifted - splat<Arch>(kRoundingShift);
  const V r =
      Ops<Arch>::fma(n, splat<Arch>(-kLn2Low), Ops<Arch>::fma(n, splat<Arch>(-kLn2High), x));
  V p = splat<Arch>(kExpCoefficients[4]);
#pragma GCC unroll 4
  for (int k = 3; k >= 0; --k) p = Ops<Arch>::fma(p, r, splat<Arch>(kExpCoefficients[k]));
  p = Ops<Arch>::fma(p, r, splat<Arch>(1.0F));
  return {Ops<Arch>::fma(p, r, splat<Arch>(1.0F)), n, shifted};
}

/// e^x for x ≤ 0; NaN gives NaN.
template <class Arch>
HEED_INLINE Vec<Arch> exp_nonpositive(Vec<Arch> x) {
  return Scale<Arch>::down(reduce_exp<Arch>(Ops<Arch>::max(splat<Arch>(kExpLowest), x)));
}

/// e^x for any x; the same bits as exp_nonpositive where both are defined.
template <class Arch>
HEED_INLINE Vec<Arch> exp(Vec<Arch> x) {
  const Vec<Arch> bounded = Ops<Arch>::max(splat<Arch>(kExpLowest), x);
  return Scale<Arch>::any(reduce_exp<Arch>(Ops<Arch>::min(splat<Arch>(kExpHighest), bounded)));
}

}  // namespace
}  // namespace heed::kernels
