#include "tools/softmax_exact.h"

#include <algorithm>
#include <cmath>

#include "tests/proof/numbers.h"

namespace heed::tools {
namespace {

using proof::kInfinity;

/// The logits z / T; where T is 0, 0 for the largest and −∞ for the others; where T is ∞, 0.
std::vector<double> logits_of(std::span<const float> x, float scale, float temperature) {
  const double factor = temperature == 0 ? scale : static_cast<double>(scale) / temperature;
  std::vector<double> z;
  for (const float entry : x) z.push_back(entry == -kInfinity ? entry : entry * factor);
  if (temperature == 0 && !z.empty()) {
    const double largest = *std::ranges::max_element(z);
    for (double& logit : z) logit = logit == largest && largest > -kInfinity ? 0 : -kInfinity;
  }
  return z;
}

}  // namespace

ExactRow exact_row(std::span<const float> x, float scale, float temperature) {
  const std::vector<double> z = logits_of(x, scale, temperature);
  ExactRow row;
  double top = -kInfinity, sum = 0, errors = 0;
  for (const double logit : z) top = std::max(top, logit);
  if (top == -kInfinity) {
    row.y.resize(z.size());
    row.log_y.resize(z.size(), -kInfinity);
    row.y_bounds = row.log_y_bounds = row.y;
    return row;
  }
  std::vector<double> exponent_errors, weight_errors;
  for (const double logit : z) {
    const double a = logit == -kInfinity ? 0 : 3 * kEpsilon * (top - logit);
    exponent_errors.push_back(a);
    weight_errors.push_back(std::expm1(a) + 4 * kEpsilon * std::exp(a));
    row.y.push_back(std::exp(logit - top));
    sum += row.y.back();
    errors += row.y.back() * weight_errors.back() + 0x1p-148;
  }
  const double log_sum = std::log(sum), s = errors / sum + 70 * kEpsilon;
  const double sum_of_log = -std::log1p(-s);
  row.lse = top + log_sum;
  row.lse_bound = kSecondOrder * (kEpsilon * (std::abs(top) + std::abs(row.lse)) + sum_of_log);
  for (std::size_t i = 0; i < z.size(); ++i) {
    row.y[i] /= sum;
    row.log_y.push_back(z[i] - row.lse);
    row.y_bounds.push_back(row.y[i] * ((1 + weight_errors[i]) * (1 + 2 * kEpsilon) / (1 - s) - 1) *
                               kSecondOrder +
                           0x1p-147);
    row.log_y_bounds.push_back(kSecondOrder *
                               (exponent_errors[i] + sum_of_log + kEpsilon * log_sum +
                                kEpsilon * (z[i] == -kInfinity ? 0 : std::abs(row.log_y[i]))));
  }
  return row;
}

}  // namespace heed::tools
