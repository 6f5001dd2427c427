#include "tests/proof/inputs.h"

#include <cmath>

namespace heed::proof {

std::int64_t Random::below(std::int64_t n) {
  return static_cast<std::int64_t>(engine_() % static_cast<std::uint64_t>(n));
}

double Random::uniform() { return std::ldexp(static_cast<double>((engine_() >> 11) + 1), -53); }

double Random::normal() {
  if (has_spare_) {
    has_spare_ = false;
    return spare_;
  }
  constexpr double two_pi = 6.283185307179586;
  const double radius = std::sqrt(-2.0 * std::log(uniform())), angle = two_pi * uniform();
  spare_ = radius * std::sin(angle);
  has_spare_ = true;
  return radius * std::cos(angle);
}

std::string_view to_string(Distribution distribution) {
  switch (distribution) {
    case Distribution::normal:
      return "normal";
    case Distribution::sharp:
      return "sharp";
    case Distribution::tiny:
      return "tiny";
    case Distribution::huge:
      return "huge";
  }
  return "?";
}

void fill_vector(Random& random, Distribution distribution, std::span<float> vector) {
  double size = 1;
  if (distribution == Distribution::sharp && random.below(16) == 0) size = 8;
  if (distribution == Distribution::tiny) size = 1e-20;
  if (distribution == Distribution::huge) size = 1e18;
  for (float& x : vector) x = static_cast<float>(size * random.normal());
}

}  // namespace heed::proof
