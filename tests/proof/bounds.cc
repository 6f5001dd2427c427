#include "tests/proof/bounds.h"

#include <algorithm>
#include <cmath>

namespace heed::proof {

Bounds error_bounds(const ReferenceRow& row, std::int64_t head_dim, bool pairs) {
  if (std::isinf(row.lse)) return {};  // without weight
  const double epsilon = std::ldexp(1.0, -24), smallest = std::ldexp(1.0, pairs ? -126 : -149);
  const double rounding = pairs ? 0x1p-8 / (1 - 0x1p-8) : 0;
  const double chain = (static_cast<double>(head_dim) + 4) * epsilon;
  const double exponential = 4.4 * epsilon;
  const double mean = chain * row.mean_terms + exponential;
  const double largest = chain * row.largest_terms + exponential;
  const double weights = mean * std::exp(largest);
  if (!(weights < 1)) return {2 * row.largest_value, INFINITY};
  const auto keys = static_cast<double>(row.visible_keys);
  const double partitions = std::ceil(keys / 256) + 1;
  const double additions =
      std::min(keys, 256.0) + std::min(partitions, 64.0) + std::ceil(partitions / 64) + 1;
  const double relative = weights / (1 - weights);
  return {row.largest_value * (2 * (relative + rounding) + (2 * additions + 2) * epsilon) +
              additions * smallest,
          relative + rounding + additions * epsilon + 3 * epsilon * std::abs(row.lse)};
}

}  // namespace heed::proof
