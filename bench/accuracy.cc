#include "bench/accuracy.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "tests/proof/bounds.h"
#include "tests/proof/elements.h"
#include "tests/proof/inputs.h"
#include "tests/proof/reference.h"

namespace heed::bench {
namespace {

constexpr int kSampledRows = 16;
constexpr std::uint64_t kSeed = 7;

/// Takes one row into account. NaN lies beyond every bound.
void add_row(double error, double bound, const std::string& row, Accuracy& accuracy) {
  if (!std::isnan(accuracy.max_error) && !(error <= accuracy.max_error)) accuracy.max_error = error;
  if (error <= bound || !accuracy.fault.empty()) return;
  accuracy.fault =
      fmt::format("{} lies {:.3g} from float64, where rounding explains {:.3g}", row, error, bound);
}

double largest_error(std::span<const float> row, std::span<const double> reference) {
  double largest = 0;
  for (std::size_t i = 0; i < row.size(); ++i) {
    const double error = std::abs(row[i] - reference[i]);
    if (std::isnan(error)) return error;
    largest = std::max(largest, error);
  }
  return largest;
}

/// The first row, the last, and some between.
std::vector<proof::Row> sample_rows(const proof::Geometry& geometry) {
  const std::vector<proof::Row> all = geometry.rows();
  std::vector<proof::Row> rows{all.front(), all.back()};
  proof::Random random(kSeed);
  for (int i = 0; i < kSampledRows; ++i) rows.push_back(random.pick(std::span(all)));
  return rows;
}

std::vector<double> softmax_reference(std::span<const float> x) {
  const double largest = *std::max_element(x.begin(), x.end());
  std::vector<double> y(x.size());
  double sum = 0;
  for (std::size_t i = 0; i < x.size(); ++i) sum += y[i] = std::exp(x[i] - largest);
  for (double& weight : y) weight /= sum;
  return y;
}

// With ε = 2^−24, n entries, X the largest |x| and unit scale and temperature: an exponent x − max
// is at most 2X, and rounded by at most 2·ε·2X however it is formed; the exponential is within
// 2 ULP = 4·ε; each weight is thus right to r = 4·ε·X + 4·ε, the sum to r + n·ε, and dividing by it
// adds 2·ε. First-order terms of this size need no second order beyond the 1% of headroom.
double softmax_bound(std::span<const float> x, std::span<const double> reference) {
  const double epsilon = std::ldexp(1.0, -24);
  double largest = 0;
  for (const float value : x) largest = std::max(largest, std::abs(static_cast<double>(value)));
  const double weight = 4 * epsilon * largest + 4 * epsilon;
  const double relative = 2 * weight + (static_cast<double>(x.size()) + 2) * epsilon;
  return 1.01 * relative * *std::max_element(reference.begin(), reference.end());
}

}  // namespace

Accuracy check_attention(const proof::Geometry& geometry, const AttentionTensors& tensors) {
  Accuracy accuracy;
  std::vector<float> buffer;
  for (const proof::Row& row : sample_rows(geometry)) {
    const proof::ReferenceRow reference = proof::reference_row(geometry, tensors, row);
    const std::span<const float> out = proof::floats_of(
        tensors.out + geometry.out(row), static_cast<std::int64_t>(reference.out.size()), buffer);
    const double bound =
        proof::error_bounds(reference, geometry.config().head_dim, geometry.pairs()).out;
    add_row(largest_error(out, reference.out), bound,
            fmt::format("sequence {}, token {}, head {}", row.sequence, row.token, row.head),
            accuracy);
  }
  return accuracy;
}

Accuracy check_softmax(std::span<const float> x, std::span<const float> y, std::int64_t length) {
  Accuracy accuracy;
  const auto size = static_cast<std::size_t>(length);
  const auto rows = static_cast<std::int64_t>(x.size() / size);
  proof::Random random(kSeed);
  for (int i = 0; i < kSampledRows; ++i) {
    const std::int64_t row = i == 0 ? 0 : i == 1 ? rows - 1 : random.below(rows);
    const std::size_t start = static_cast<std::size_t>(row) * size;
    const std::vector<double> reference = softmax_reference(x.subspan(start, size));
    add_row(largest_error(y.subspan(start, size), reference),
            softmax_bound(x.subspan(start, size), reference), fmt::format("row {}", row), accuracy);
  }
  return accuracy;
}

}  // namespace heed::bench
