#include "tests/proof/sampling_inputs.h"

#include <algorithm>
#include <cstddef>
#include <limits>

#include "tests/proof/numbers.h"

namespace heed::proof {
namespace {

float logit(LogitKind kind, Random& random) {
  const auto normal = [&](double deviation) {
    return static_cast<float>(deviation * random.normal());
  };
  switch (kind) {
    case LogitKind::sharp:
      return normal(random.below(100) == 0 ? 9 : 2.5);
    case LogitKind::few_values:
      return static_cast<float>(random.below(4));
    case LogitKind::masked:
      return random.below(3) == 0 ? -kInfinity : normal(3);
    case LogitKind::equal:
      return random.below(2) == 0 ? 0.0F : -0.0F;
    case LogitKind::close:
      return 100 + 1e-5F * normal(1);
    case LogitKind::all_masked:
      return -kInfinity;
    default:
      return normal(1);
  }
}

/// Makes every nth token of a row unlikely, n for samples of two sizes.
void mislead(std::span<float> row) {
  for (const std::size_t tokens : {std::size_t{1024}, std::size_t{4096}}) {
    const std::size_t step = std::max<std::size_t>(1, row.size() / tokens);
    for (std::size_t i = step / 2; i < row.size(); i += step) row[i] -= 12;
  }
}

}  // namespace

std::string_view name_of(LogitKind kind) {
  constexpr std::array<std::string_view, kLogitKinds.size()> names = {
      "flat",  "sharp",      "few values", "masked",   "equal",
      "close", "misleading", "all masked", "with NaN", "with +∞"};
  return names[static_cast<std::size_t>(kind)];
}

void fill_logits(LogitKind kind, Random& random, std::span<float> row) {
  for (float& z : row) z = logit(kind, random);
  float& one = row[static_cast<std::size_t>(random.below(std::ssize(row)))];
  if (kind == LogitKind::misleading) mislead(row);
  if (kind == LogitKind::with_nan) one = std::numeric_limits<float>::quiet_NaN();
  if (kind == LogitKind::with_inf) one = kInfinity;
}

}  // namespace heed::proof
