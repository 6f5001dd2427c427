#include "tests/proof/inputs.h"

#include <bit>
#include <cmath>

namespace heed::proof {

std::uint64_t Random::bits() {
  state_ += 0x9E3779B97F4A7C15U;
  std::uint64_t z = state_;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9U;
  z = (z ^ z >> 27) * 0x94D049BB133111EBU;
  return z ^ z >> 31;
}

std::int64_t Random::below(std::int64_t n) {
  return static_cast<std::int64_t>(bits() % static_cast<std::uint64_t>(n));
}

double Random::uniform() { return static_cast<double>((bits() >> 11) + 1) * 0x1p-53; }

double Random::normal() {
  constexpr int flips = 40, rest = 64 - flips;
  // A flip has the variance 1/4, and a uniform number 1/12.
  const double deviation = std::sqrt(flips / 4.0 + 1 / 12.0);
  const std::uint64_t random = bits(), range = std::uint64_t{1} << rest;
  const double heads = std::popcount(random >> rest);
  const double uniform = (static_cast<double>(random % range) + 0.5) / static_cast<double>(range);
  return (heads - flips / 2.0 + uniform - 0.5) / deviation;
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
