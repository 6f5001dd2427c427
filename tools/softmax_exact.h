// Rows of softmax in float64, and how far heed may be from them.
//
// ε = 2^−24 is the rounding unit, z = x · scale / T, d_i = max z − z_i, y the exact softmax.
//
// Exponent. The factor scale / T, the difference from the maximum and their product are rounded
// once
//   each: z_i − max z is off by a_i = 3·ε·d_i.
// Weight. The exponential is within 2 ULP, 4·ε or, among the denormals, 2^−148: w_i is off by the
//   factor 1 + r_i, r_i ≤ (exp(a_i) − 1) + 4·ε·exp(a_i), and by 2^−148.
// Sum. Each float sum of a chunk is off by at most 68·ε (kernels/vector/lanes.inl.h, 4 lanes),
// those are
//   added in double, and the whole is rounded to float once or twice: with the weights' own errors
//   S = Σ y_i·r_i + n·2^−148 + 70·ε, relative to the sum, which is at least 1.
// softmax      y_i·((1 + r_i)·(1 + 2·ε)/(1 − S) − 1) + 2^−147: a reciprocal and a product.
// log-softmax  a_i − log(1 − S) + ε·|log sum| + ε·|log y_i|
// LSE          ε·|max z| (the factor) − log(1 − S) + ε·|lse|
// What the second order adds is below a hundredth of these.
#pragma once

#include <cmath>
#include <span>
#include <string_view>
#include <vector>

#include "tests/proof/numbers.h"
#include "tools/verdict.h"

namespace heed::tools {

using proof::kEpsilon;
inline constexpr double kSecondOrder = 1.01;

/// One row in float64, and how far heed may be from it.
struct ExactRow {
  std::vector<double> y, log_y;
  double lse = -proof::kInfinity;
  std::vector<double> y_bounds, log_y_bounds;
  double lse_bound = 0;
};

ExactRow exact_row(std::span<const float> x, float scale, float temperature);

/// Rows with temperatures of their own, masks, and elements of 16 bits (check_softmax_rows.cc).
Check softmax_rows_check();

}  // namespace heed::tools
