#include "tests/proof/head_norm_reference.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace heed::tests {
namespace {

using Real = long double;

Real weight_of(const RmsNorm& norm, std::size_t i) {
  return (norm.weight == nullptr ? Real{1} : Real{norm.weight[i]}) + norm.weight_offset;
}

}  // namespace

std::vector<Bounded> head_norm_reference(const RmsNorm& norm, std::span<const Bounded> x) {
  const auto n = static_cast<Real>(x.size());
  Real least = 0, exact = 0, most = 0;
  for (const auto& [value, bound] : x) {
    const Real size = std::abs(value);
    exact += size * size;
    least += std::pow(std::max<Real>(size - bound, 0), 2);
    most += std::pow(size + bound, 2);
  }
  const auto factor = [&](Real squares) { return 1 / std::sqrt(squares / n + norm.epsilon); };
  const Real r = factor(exact), high = factor(least), low = factor(most);
  const Real roundings = 0x1p-24L + (n / 16 + 8) * 0x1p-53L;
  std::vector<Bounded> y;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const Real weight = weight_of(norm, i), size = std::abs(x[i].exact);
    const Real moved = std::abs(weight) * (x[i].bound * high + size * std::max(high - r, r - low));
    const Real value = x[i].exact * r * weight;
    y.push_back({static_cast<double>(value),
                 static_cast<double>(moved + (std::abs(value) + moved) * roundings + 0x1p-150L)});
  }
  return y;
}

std::vector<float> head_norm_oracle(const RmsNorm& norm, std::span<const float> x) {
  std::array<double, 8> sums = {};
  for (std::size_t i = 0; i < x.size(); ++i) {
    sums[i % 8] += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  }
  const double fours[] = {sums[0] + sums[4], sums[1] + sums[5], sums[2] + sums[6],
                          sums[3] + sums[7]};
  const double squares = (fours[0] + fours[2]) + (fours[1] + fours[3]);
  const double factor = 1 / std::sqrt(squares / static_cast<double>(x.size()) + norm.epsilon);
  std::vector<float> y;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double weight = norm.weight == nullptr ? 1 : static_cast<double>(norm.weight[i]);
    y.push_back(static_cast<float>(static_cast<double>(x[i]) * factor *
                                   (weight + static_cast<double>(norm.weight_offset))));
  }
  return y;
}

}  // namespace heed::tests
