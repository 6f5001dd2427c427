// Random inputs, the same for the same seed on every machine.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace heed::proof {

/// Seeded numbers.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}

  /// Uniform in 0 … n − 1; n ≥ 1.
  std::int64_t below(std::int64_t n);
  /// Uniform in (0, 1].
  double uniform();
  /// Mean 0, variance 1, and about normal, up to 6.5: 40 flips of a coin and a uniform number. A
  /// logarithm and a sine for each would be a third of the time of some tests.
  double normal();
  template <class T>
  T pick(std::span<const T> from) {
    return from[static_cast<std::size_t>(below(static_cast<std::int64_t>(from.size())))];
  }

 private:
  /// SplitMix64 (Steele, Lea and Flood, 2014): the next 64 bits.
  std::uint64_t bits();

  std::uint64_t state_;
};

/// What numbers the vectors of a tensor hold.
enum class Distribution {
  normal,  ///< of variance 1: nearly flat weights
  sharp,   ///< one vector in sixteen is eight times as long: logits far apart, few keys matter
  tiny,    ///< normal · 1e−20: products are subnormal
  huge,    ///< normal · 1e18: logits near the end of the range of floats
};

std::string_view to_string(Distribution distribution);

/// Fills one head's vector of one token.
void fill_vector(Random& random, Distribution distribution, std::span<float> vector);

}  // namespace heed::proof
