#include "tests/proof/softmax_reference.h"

#include <algorithm>
#include <cmath>

#include "tests/proof/numbers.h"

namespace heed::tests {
namespace {

using proof::kEpsilon;
using proof::kInfinity;

// Errors relative to their result stay below 104 · 3 · ε + A · ε < 1e−4, so that their squares add
// less than this factor; exact results are rounded to double.
constexpr double kSlack = 1 + 1e-3;

double additions(int lanes) { return 1024.0 / (4 * lanes) + std::log2(4 * lanes); }

bool masked(float x) { return std::isinf(x) && x < 0; }

/// z' of every element, and max z.
struct Logits {
  std::vector<double> relative;
  double largest = -kInfinity;
};

/// Temperatures of 0 and ∞ are limits: of the elements that count all weigh the same.
Logits logits(std::span<const float> x, float scale, float temperature) {
  const double factor = static_cast<double>(scale) / temperature;
  const double sign = scale < 0 ? -1 : 1;
  double top = -kInfinity;
  for (const float v : x) {
    if (!masked(v)) top = std::max(top, sign * v);
  }
  Logits z;
  z.largest = temperature == 0 || std::isinf(temperature) ? 0 : std::abs(factor) * top;
  for (const float v : x) {
    const double below = sign * v - top;
    if (masked(v)) {
      z.relative.push_back(-kInfinity);
    } else if (scale == 0 || std::isinf(temperature)) {
      z.relative.push_back(0);
    } else if (temperature == 0) {
      z.relative.push_back(below == 0 ? 0 : -kInfinity);
    } else {
      z.relative.push_back(std::abs(factor) * below);
    }
  }
  if (scale == 0) z.largest = 0;
  return z;
}

Bounded weightless_logarithm() { return {-kInfinity, 0}; }

double sum_error(double absolute_sum, int lanes) {
  return (additions(lanes) + 1) * kEpsilon * absolute_sum;
}

/// An entry with weight: p, l, g, and how far these are off for themselves. p is so relative to
/// itself.
struct WeightedEntry {
  double weight, logarithm, gradient;
  double weight_error, logarithm_error, gradient_error;
};

double mean_logarithm(std::span<const WeightedEntry> entries) {
  double weights = 0, logs = 0;
  for (const WeightedEntry& e : entries) {
    weights += e.weight;
    logs += e.weight * e.logarithm;
  }
  return weights == 0 ? 0 : logs / weights;
}

/// dL/dT of a row whose sum s is off by `of_sum`.
Bounded temperature_gradient(std::span<const WeightedEntry> entries, double of_sum,
                             double temperature, int lanes) {
  const double mean = mean_logarithm(entries), a = additions(lanes);
  double total = 0, own = 0, smallest = 0;                              // of the terms
  double weights = 0, spread = 0, slips = 0, logs = 0, log_errors = 0;  // Σ p, p·|l − m| …
  double gradients = 0, absolute_gradients = 0;
  for (const WeightedEntry& e : entries) {
    const double l = e.logarithm - mean, term = e.gradient * l;
    total += term;
    own += e.gradient_error * std::abs(l) + std::abs(e.gradient) * e.logarithm_error +
           (2 + a) * kEpsilon * std::abs(term);
    smallest += (std::abs(l) + std::abs(e.gradient) + 2) * 0x1p-147;
    weights += e.weight;
    spread += e.weight * std::abs(l);
    slips += e.weight * e.logarithm_error;
    logs += e.weight * std::abs(e.logarithm);
    log_errors += e.weight * (e.logarithm_error + e.weight_error * std::abs(e.logarithm)) +
                  0x1p-147 * (1 + std::abs(e.logarithm));
    gradients += e.gradient;
    absolute_gradients += std::abs(e.gradient) + e.gradient_error;
  }
  if (weights == 0) return {0, kSlack * smallest / temperature};
  const double of_mean =
      (log_errors + (a + 1) * kEpsilon * logs) / weights + (a + 6) * kEpsilon * std::abs(mean);
  const double rounding = (a + 8) * kEpsilon;
  const double bound = own + smallest + of_sum * (slips + rounding * spread) +
                       of_mean * (std::abs(gradients) + rounding * absolute_gradients) +
                       of_sum * of_mean * weights;
  const double exact = -total / temperature;
  return {exact, kSlack * (bound / temperature + kEpsilon * std::abs(exact)) + 0x1p-149};
}

}  // namespace

SoftmaxReference softmax_reference(std::span<const float> x, float scale, float temperature,
                                   int lanes) {
  const Logits z = logits(x, scale, temperature);
  double sum = 0, weighted = 0;
  for (const double r : z.relative) {
    if (r == -kInfinity) continue;
    sum += std::exp(r);
    weighted += std::exp(r) * (3 * -r + 4) * kEpsilon;
  }
  const double log_sum = std::log(sum);
  const double sum_bound = weighted / sum + additions(lanes) * kEpsilon;
  SoftmaxReference reference;
  reference.lse = weightless_logarithm();
  if (sum > 0) {
    const double lse = z.largest + log_sum;
    reference.lse = {lse, kSlack * (kEpsilon * (std::abs(z.largest) + std::abs(lse)) + sum_bound)};
  }
  for (const double r : z.relative) {
    if (r == -kInfinity) {
      reference.softmax.push_back({});
      reference.log_softmax.push_back(weightless_logarithm());
      continue;
    }
    const double share = std::exp(r) / sum, delta = (3 * -r + 4) * kEpsilon;
    reference.softmax.push_back(
        {share, kSlack * share * (delta + sum_bound + 2 * kEpsilon) + 4 * 0x1p-149});
    reference.log_softmax.push_back(
        {r - log_sum,
         kSlack * (kEpsilon * (3 * -r + log_sum + std::abs(r - log_sum)) + sum_bound)});
  }
  return reference;
}

std::vector<Bounded> softmax_gradient_reference(std::span<const float> y, std::span<const float> dy,
                                                double factor, int lanes) {
  double sum = 0, absolute = 0;
  for (std::size_t i = 0; i < y.size(); ++i) {
    const double term = static_cast<double>(y[i]) * dy[i];
    sum += term;
    absolute += std::abs(term);
  }
  const double of_sum = sum_error(absolute, lanes) + 2 * kEpsilon * std::abs(sum);
  std::vector<Bounded> dx;
  for (std::size_t i = 0; i < y.size(); ++i) {
    const double exact = y[i] * (dy[i] - sum) * factor;
    const double inner = of_sum + kEpsilon * std::abs(dy[i] - sum);
    dx.push_back(
        {exact,
         kSlack * (std::abs(y[i] * factor) * inner + 4 * kEpsilon * std::abs(exact)) + 0x1p-148});
  }
  return dx;
}

std::vector<Bounded> log_softmax_gradient_reference(std::span<const float> y,
                                                    std::span<const float> dy, double factor,
                                                    int lanes) {
  double sum = 0, absolute = 0;
  for (const float v : dy) {
    sum += v;
    absolute += std::abs(v);
  }
  const double of_sum = sum_error(absolute, lanes) + 6 * kEpsilon * std::abs(sum);
  std::vector<Bounded> dx;
  for (std::size_t i = 0; i < y.size(); ++i) {
    const double weight = std::exp(static_cast<double>(y[i]));
    const double difference = dy[i] - weight * sum, exact = difference * factor;
    const double inner = weight * of_sum + kEpsilon * std::abs(difference);
    dx.push_back(
        {exact, kSlack * (std::abs(factor) * inner + 2 * kEpsilon * std::abs(exact)) + 0x1p-148});
  }
  return dx;
}

Bounded softmax_temperature_gradient_reference(std::span<const float> y, std::span<const float> dy,
                                               double temperature, int lanes) {
  double sum = 0, absolute = 0;
  for (std::size_t i = 0; i < y.size(); ++i) {
    const double term = static_cast<double>(y[i]) * dy[i];
    sum += term;
    absolute += std::abs(term);
  }
  std::vector<WeightedEntry> entries;
  for (std::size_t i = 0; i < y.size(); ++i) {
    if (y[i] == 0) continue;
    const double l = std::log(static_cast<double>(y[i])), g = y[i] * (dy[i] - sum);
    entries.push_back({y[i], l, g, 0, 6 * kEpsilon * std::abs(l), 2 * kEpsilon * std::abs(g)});
  }
  const double of_sum = sum_error(absolute, lanes) + 2 * kEpsilon * std::abs(sum);
  return temperature_gradient(entries, of_sum, temperature, lanes);
}

Bounded log_softmax_temperature_gradient_reference(std::span<const float> y,
                                                   std::span<const float> dy, double temperature,
                                                   int lanes) {
  double sum = 0, absolute = 0;
  for (const float v : dy) {
    sum += v;
    absolute += std::abs(v);
  }
  std::vector<WeightedEntry> entries;
  for (std::size_t i = 0; i < y.size(); ++i) {
    if (masked(y[i])) continue;
    const double weight = std::exp(static_cast<double>(y[i])), g = dy[i] - weight * sum;
    const double of_gradient =
        kEpsilon * (5 * std::abs(weight * sum) + std::abs(g)) + 0x1p-147 * std::abs(sum);
    entries.push_back({weight, y[i], g, 4 * kEpsilon, 0, of_gradient});
  }
  const double of_sum = sum_error(absolute, lanes) + kEpsilon * std::abs(sum);
  return temperature_gradient(entries, of_sum, temperature, lanes);
}

}  // namespace heed::tests
