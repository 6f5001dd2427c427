// Softmax and its gradients in double, written from their definitions, and how far float32 may be
// off.
//
// ε = 2⁻²⁴, n elements, z' = z − max z, w = exp(z'). First order in ε; kSlack covers the rest.
//
// z'    factor = scale / T, the difference and the product are rounded once each: 3·ε·|z'|.
// w     exp is within 2 ULP, at most 4·ε: relative error δ_i = (3·|z'_i| + 4)·ε; a subnormal w is
// off by
//       at most 2·2⁻¹⁴⁹ more.
// Σ w   the errors of its terms, D = Σ w·δ / Σ w relative to it, and those of the additions: chunks
// of
//       1024 elements in 4 accumulators of L lanes, then one after the other in double: A·ε with
//       A = 1024 / 4L + log2(4L).
// softmax       w · (1 / Σ w), two roundings: relative δ_i + D + (A + 2)·ε, absolute 4·2⁻¹⁴⁹.
// lse           max z is off by 1·ε·|max z|, log Σ w by D + A·ε, and the result is rounded:
//               ε·(|max z| + |lse|) + D + A·ε.
// log-softmax   z' − log Σ w: 3·ε·|z'| + D + A·ε + ε·log Σ w + ε·|z' − log Σ w|.
//
// Gradients, for y and dy as given. A sum of float products is off by (A + 1)·ε·Σ|y·dy|, its
// rounding to float included in +1 where there is no product. softmax       (y · (dy − s)) ·
// factor: |y·factor|·(error of s + 2·ε·|s| + ε·|dy − s|) + 4·ε·|dx|. log-softmax   (dy − e^y · s) ·
// factor: |factor|·(e^y·(error of s + 6·ε·|s|) + ε·|dy − e^y·s|) + 2·ε·|dx|.
// The gradient of T is −1/T · Σ g·(l − m): g as above without the factor, l = log y and m = Σ p·l /
// Σ p for the weights p (y, or e^y). Errors of s and of m are common to a row: e_s adds p·e_s to
// each g, but Σ p·(l − m) = 0, so that only what rounding makes of it is left; e_m adds e_m · |Σ
// g|, which is 0 but for the roundings of y. Per term: g is off by 2·ε·|g| (log-softmax:
// 5·ε·|e^y·s| + ε·|g|), l by 6·ε·|l| (0), the difference and the product round: 2·ε; the sum adds
// A·ε.
#pragma once

#include <span>
#include <vector>

namespace heed::tests {

/// A number and how far a result may be from it.
struct Bounded {
  double exact = 0;
  double bound = 0;
};

struct SoftmaxReference {
  std::vector<Bounded> softmax, log_softmax;
  Bounded lse;
};

/// For rows without NaN and +∞, on an ISA with `lanes` lanes.
SoftmaxReference softmax_reference(std::span<const float> x, float scale, float temperature,
                                   int lanes);

/// Finite y and dy; y may be −∞ for the log-softmax.
std::vector<Bounded> softmax_gradient_reference(std::span<const float> y, std::span<const float> dy,
                                                double factor, int lanes);
std::vector<Bounded> log_softmax_gradient_reference(std::span<const float> y,
                                                    std::span<const float> dy, double factor,
                                                    int lanes);

/// dL/dT; y may be 0 for the softmax and −∞ for the log-softmax.
Bounded softmax_temperature_gradient_reference(std::span<const float> y, std::span<const float> dy,
                                               double temperature, int lanes);
Bounded log_softmax_temperature_gradient_reference(std::span<const float> y,
                                                   std::span<const float> dy, double temperature,
                                                   int lanes);

}  // namespace heed::tests
