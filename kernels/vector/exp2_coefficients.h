// The polynomial of 2^f for f in [0, 1) that defines the weights of attention (the canonical row):
//
//   2^f ≈ c0 + f·(c1 + f·(c2 + f·(c3 + f·(c4 + f·c5))))    by Horner, each step one fma
//
// c0 = 1, so that 2^0 is exact. The other coefficients start from a Remez fit that levels the sum
// of the error of approximation and the worst roundings of each step; then their roundings to float
// were searched for the smallest worst error over every float of [0, 1). It is 1.83 ULP with
// fma, 1.94 ULP where products are rounded as well (an ULP of results in [1, 2) being 2⁻²³), and no
// result is below 1 or above 2.
//
// This header has no code, so that scalar code that repeats the arithmetic can read the same
// numbers.
#pragma once

namespace heed::kernels {

inline constexpr float kExp2Coefficients[] = {0x1p0F,         0x1.62e50cp-1F, 0x1.ebceep-3F,
                                              0x1.c9b43cp-5F, 0x1.24a5bap-7F, 0x1.f2bc84p-10F};

}  // namespace heed::kernels
