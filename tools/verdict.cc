#include "tools/verdict.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "tests/proof/numbers.h"

namespace heed::tools {

bool same_bits(float a, float b) {
  return std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b) ||
         (std::isnan(a) && std::isnan(b));
}

bool within_one_ulp(float a, float b) {
  using proof::kInfinity;
  return same_bits(a, b) || std::nextafter(a, kInfinity) == b || std::nextafter(a, -kInfinity) == b;
}

bool any_passed(std::span<const Verdict> verdicts) {
  return std::ranges::any_of(verdicts, &Verdict::passed);
}

void Verdict::fail(const std::string& sentence) {
  if (fault_.empty()) fault_ = sentence;
}

void Verdict::expect_bits(float actual, float expected, const Where& where) {
  if (passed() && !same_bits(actual, expected)) {
    fail(fmt::format("{}: {:a} must have the bits of {:a}", where(), actual, expected));
  }
}

void Verdict::expect_one_ulp(float actual, float expected, const Where& where) {
  if (passed() && !within_one_ulp(actual, expected)) {
    fail(fmt::format("{}: {:a} must be within one ULP of {:a}", where(), actual, expected));
  }
}

void Verdict::expect_within(double actual, double exact, double bound, const Where& where) {
  if (actual == exact) return;
  const double error = std::abs(actual - exact);
  if (error <= bound) {
    largest_share_ = std::max(largest_share_, error / bound);
  } else if (passed()) {
    fail(fmt::format("{}: {} must be within {:.3g} of {}", where(), actual, bound, exact));
  }
}

}  // namespace heed::tools
