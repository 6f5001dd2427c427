// How far a float32 row may lie from the exact one.
//
// ε = 2^−24 is the rounding unit, A_j = Σ_x |q_x·k_jx|·|scale|/T the sum of a logit's absolute
// terms (natural units), w_j the exact weights (Σ w_j = 1), n the visible keys, D the head
// dimension.
//
// Logit. The default scale, the factor and q·factor are rounded once each, the chain D times, and D
// times more at most once per product where an ISA has no FMA (a product's rounding and its sum's
// reach each term at most D + 1 times in all). So |t_j − exact| ≤ (D + 4)·ε·A_j to first order; the
// second order, a factor below 1 + 2·D·ε, and the exponent's own below are covered by e^y ≥ 1 + y.
// Weight. t − floor(t) is exact except in (−1, 0), where it rounds by 2^−25: 0.35·ε of the weight.
// The polynomial is within 2 ULP = 4·ε (exp_test). So p_j is w_j·(1 + ρ_j) with
//   |ρ_j| ≤ exp(y_j) − 1 ≤ y_j·exp(y_j),   y_j = (D + 4)·ε·A_j + 4.4·ε.
// With R = Σ w_j·|ρ_j| ≤ (mean of y)·exp(largest y):
//   |Σp·v/Σp − out| = |Σ w·ρ·(v − out)| / (1 + Σ w·ρ) ≤ 2·V·R / (1 − R),   V = largest visible |v|.
// Sums. A range of n keys touches at most P = ⌈n/256⌉ + 1 partitions, merged in sections of 64. At
// most N = min(n, 256) + min(P, 64) + ⌈P/64⌉ + 1 additions touch a term of l or O, one product more
// without FMA: N·ε for l, (N + 1)·ε for O, relative to Σ p·|v| ≤ V·l, and ε for the division: (2·N
// + 2)·ε·V. Left out weights: below 2^−110 each, less than ε/2 for any n < 2^80. Underflow. Each of
// the N operations on O loses at most 2^−149 absolutely, and l ≥ 1. LSE. Relative errors of Σp
// become absolute ones of the logarithm: −log(1 − R) ≤ R / (1 − R), N·ε; the result is rounded once
// and may be one ULP (2·ε) further off: 3·ε·|lse|. Modifiers. A softcap's tanh and its
// factor add 9·ε of the capped logit, and pass on the error of what they get at most as it is;
// ALiBi and a bias add 4·ε of their terms (unit, product and sum, twice without FMA) and 2·ε of the
// sum; a sink's logit has 3·ε of its own. All of it is in A_j, divided by (D + 4). Products of
// bf16. Weights are rounded by 2^−8 of each at most: 2·2^−8/(1 − 2^−8)·V for outputs, 2^−8/(1 −
// 2^−8) for the LSE. Underflow loses 2^−126.
#pragma once

#include <cstdint>

#include "tests/proof/reference.h"

namespace heed::proof {

struct Bounds {
  double out = 0;  ///< absolute, for every element of the row
  double lse = 0;  ///< absolute
};

/// Bounds for rows with finite inputs whose weights are exponentials (T > 0); `pairs` where
/// products are of bf16.
Bounds error_bounds(const ReferenceRow& row, std::int64_t head_dim, bool pairs = false);

}  // namespace heed::proof
