// The exponentials.
//
// exp2_mantissa is 2^f on [0, 1), for the weights of attention. Its polynomial and error are those
// of kernels/vector/exp2_coefficients.h.
//
// exp is e^x = 2^n · e^r with n = round(x · log2 e) and r = x − n · ln 2 (Cody & Waite), so that
// |r| ≤ 0.3467.
//   e^r ≈ 1 + r + r² · (c2 + … + c6 r⁴), relative error 2⁻²⁸·³. In units of 2⁻²⁴, the least that an
//   ULP is worth, the last rounding costs ½ (1 above 1, where an ULP is worth twice as much), the
//   roundings of the steps before it cost below ½, and that of r, the only inexact step of the
//   reduction, ¼. Measured over every float of [−104, 0]: 0.89 ULP with fma, 1.18 ULP where
//   products are rounded as well. 2^n is applied so that only one rounding can follow, down to the
//   smallest denormal. Range: 0 below −103.98 and at −∞, infinity above 88.73, NaN at NaN.
#pragma once

#include <cstdint>

#include "kernels/vector/exp2_coefficients.h"
#include "kernels/vector/simd.inl.h"

namespace heed::kernels {
namespace {

/// 2^f, in [1, 2], for f in [0, 1]; NaN gives NaN. f may be 1: t − floor(t) rounds up to 1 for t
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

/// The argument that larger ones are replaced with; e^x is infinite from 88.73 up.
inline constexpr float kExpHighest = 89.0F;

/// The n of the smallest argument. The result for it is 0 and comes without an underflow: masked
/// entries and the lanes past a row's end are e^−∞, and each underflow would cost a hundred cycles.
inline constexpr float kExpLowestN = -159.0F;

/// The argument that smaller ones are replaced with: kExpLowestN · ln 2, far below −103.98, from
/// where on e^x rounds to 0.
inline constexpr float kExpLowest = -110.2104F;

/// ln 2 = kLn2High + kLn2Low. The product of kLn2High, which has 9 bits, with any n up to 2¹⁵ is
/// exact, and so is its difference from x.
inline constexpr float kLn2High = 0.693359375F;
inline constexpr float kLn2Low = -2.12194440e-4F;

/// c2 … c6, from a Remez fit of relative error 0.051 · 2⁻²⁴.
inline constexpr float kExpCoefficients[] = {0.499999934322F, 0.166665203991F, 0.0416683907697F,
                                             0.00836874510461F, 0.00138145410565F};

/// e^x = power · 2^n.
template <class Arch>
struct ReducedExp {
  Vec<Arch> power;    ///< e^r
  Vec<Arch> n;        ///< round(x · log2 e)
  Vec<Arch> shifted;  ///< n + kRoundingShift
};

/// 2^n for n = −126 … 127, and 0 for n = −127.
template <class Arch>
HEED_INLINE Vec<Arch> power_of_two(Integers<Arch> n) {
  return Ops<Arch>::as_floats((n + Integers<Arch>(127)) << 23);
}

/// n as integers.
template <class Arch>
HEED_INLINE Integers<Arch> integer_n(const ReducedExp<Arch>& e) {
  return Ops<Arch>::as_integers(e.shifted) - Ops<Arch>::as_integers(splat<Arch>(kRoundingShift));
}

/// power · 2^n for n = kExpLowestN … 0, rounded once. 2^(n + 32) is normal or 0, and only the
/// product with 2⁻³² rounds.
template <class Arch>
HEED_INLINE Vec<Arch> scale_down(const ReducedExp<Arch>& e) {
  if constexpr (Ops<Arch>::kScalesAnyExponent) {
    return Ops<Arch>::scale_weight(e.power, e.n, splat<Arch>(kExpLowestN + 1));
  } else {
    return e.power * power_of_two<Arch>(integer_n<Arch>(e) + Integers<Arch>(32)) *
           splat<Arch>(0x1p-32F);
  }
}

/// power · 2^n for n = kExpLowestN … 128, rounded once; the same bits as scale_down() for n ≤ 0.
/// For n ≥ 0, 2^(n − 32) is normal, and only the product with 2³² can overflow.
template <class Arch>
HEED_INLINE Vec<Arch> scale(const ReducedExp<Arch>& e) {
  if constexpr (Ops<Arch>::kScalesAnyExponent) {
    return scale_down<Arch>(e);
  } else {
    using I = Integers<Arch>;
    const I n = integer_n<Arch>(e), detour = ((n >> 31) & I(64)) - I(32);
    return e.power * power_of_two<Arch>(n + detour) * power_of_two<Arch>(I(0) - detour);
  }
}

/// e^x in its two factors, for x between kExpLowest and kExpHighest.
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
  return scale_down<Arch>(reduce_exp<Arch>(Ops<Arch>::max(splat<Arch>(kExpLowest), x)));
}

/// e^x for any x; the same bits as exp_nonpositive where both are defined.
template <class Arch>
HEED_INLINE Vec<Arch> exp(Vec<Arch> x) {
  const Vec<Arch> bounded = Ops<Arch>::max(splat<Arch>(kExpLowest), x);
  return scale<Arch>(reduce_exp<Arch>(Ops<Arch>::min(splat<Arch>(kExpHighest), bounded)));
}

}  // namespace
}  // namespace heed::kernels
