// The rational function of tanh that defines softcaps (the canonical row):
//
//   tanh u ≈ u · P(u²) / Q(u²)    P and Q by Horner, each step one fma; |u| at most kTanhLargest
//
// A minimax fit of the relative error over (0, kTanhLargest], which is 2.1e-8; beyond it tanh u
// rounds to 1. With the roundings of every step the relative error is at most 3.3e-7, and 3.9e-7
// where products are rounded as well (every float of [2⁻²⁵, 9.5]); |tanh| is at most 1 + 2⁻²².
//
// This header has no code, so that scalar code that repeats the arithmetic can read the same
// numbers.
#pragma once

namespace heed::kernels {

inline constexpr float kTanhLargest = 9.02F;

inline constexpr float kTanhNumerator[] = {0.999999979F, 0.133797181F, 0.0034940348F,
                                           2.05834847e-05F, 1.33190754e-08F};
inline constexpr float kTanhDenominator[] = {1.0F, 0.467130334F, 0.0258710741F, 0.000328309321F,
                                             7.76202114e-07F};

}  // namespace heed::kernels
