// The hyperbolic tangent, for softcaps. Its polynomials and error are those of
// kernels/vector/tanh_coefficients.h.
#pragma once

#include "kernels/vector/simd.inl.h"
#include "kernels/vector/tanh_coefficients.h"

namespace heed::kernels {
namespace {

/// tanh x; ±1 for infinities, NaN for NaN.
template <class Arch>
HEED_INLINE Vec<Arch> tanh_of(Vec<Arch> x) {
  using V = Vec<Arch>;
  const V u =
      Ops<Arch>::max(splat<Arch>(-kTanhLargest), Ops<Arch>::min(splat<Arch>(kTanhLargest), x));
  const V z = u * u;
  V p = splat<Arch>(kTanhNumerator[4]), q = splat<Arch>(kTanhDenominator[4]);
#pragma GCC unroll 4
  for (int k = 3; k >= 0; --k) {
    p = Ops<Arch>::fma(p, z, splat<Arch>(kTanhNumerator[k]));
    q = Ops<Arch>::fma(q, z, splat<Arch>(kTanhDenominator[k]));
  }
  return Ops<Arch>::divide(u * p, q);
}

}  // namespace
}  // namespace heed::kernels
