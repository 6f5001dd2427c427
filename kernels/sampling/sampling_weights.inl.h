// The weights of a row of logits, and their sums.
//
//   x_i = (z_i / 2 − max z / 2) · factor,  factor = 2 · log2 e / T    s_i = 2^20 · 2^(x_i)
//   W_i = s_i · 2^20, rounded to the nearest integer, ties to even
//
// W, an integer of at most 2^40, is what a token weighs: sums of integers do not depend on their
// order, so that what is kept and what is drawn is the same on every instruction set. To the same
// end products are rounded before they are added, also where there are fused multiply-adds. Halves
// cannot overflow where differences of two floats could. s does not decrease as z increases: 2^f is
// monotonic with the polynomial of kernels/vector/exp2_coefficients.h, over every float.
//
// Error: W as a share of the largest one, 2^40, is off by 2⁻⁴¹ (rounding), and relatively by
// (|x| · 2⁻²² + 2⁻²²): three roundings in x, and 1.94 ULP of the polynomial.
#pragma once

#include <cstdint>

#include "kernels/interface.h"
#include "kernels/vector/exp2_coefficients.h"
#include "kernels/vector/lanes.inl.h"

namespace heed::kernels {
namespace {

/// s of the largest logit.
inline constexpr float kLargestWeight = 0x1p20F;

/// x that smaller ones are replaced with, and NaN, which ∞ · 0 is where T is infinite: all below
/// −41 weigh 0 units of 2⁻⁴⁰.
inline constexpr float kLowestLogit = -64.0F;

/// The integer weight of s; exact in double until it is rounded, by adding 1.5 · 2^52.
HEED_INLINE std::uint64_t units_of(float s) {
  const double shifted = static_cast<double>(s) * 0x1p20 + 0x1.8p52;
  return __builtin_bit_cast(std::uint64_t, shifted) - __builtin_bit_cast(std::uint64_t, 0x1.8p52);
}

/// s for a vector of logits.
template <class Arch>
class LogitWeights {
 public:
  using V = Vec<Arch>;
  using O = Ops<Arch>;

  HEED_INLINE LogitWeights(float largest, float factor)
      : half_(splat<Arch>(largest * 0.5F)), factor_(splat<Arch>(factor)) {}

  HEED_INLINE V operator()(V z) const {
    const V x = O::max((z * splat<Arch>(0.5F) - half_) * factor_, splat<Arch>(kLowestLogit));
    const V exponent = O::floor(x), f = x - exponent;
    V p = splat<Arch>(kExp2Coefficients[5] * kLargestWeight);
#pragma GCC unroll 5
    for (int k = 4; k >= 0; --k) p = p * f + splat<Arch>(kExp2Coefficients[k] * kLargestWeight);
    if constexpr (O::kScalesAnyExponent) {
      return O::scale_weight(p, exponent, splat<Arch>(kLowestLogit));
    }
    return O::as_floats(O::as_integers(p) + (O::to_integers(exponent) << 23));
  }

 private:
  V half_, factor_;
};

/// The integer weights of a vector: the multiples of 2^20, and what is left, from −2^19 to 2^19.
template <class Arch>
struct Units {
  Integers<Arch> upper, lower;

  HEED_INLINE explicit Units(Vec<Arch> s)
      : upper(Ops<Arch>::to_integers(s)),
        lower(Ops<Arch>::to_integers((s - Ops<Arch>::to_floats(upper)) * splat<Arch>(0x1p20F))) {}
};

/// Adds integer weights of up to kWeightChunk tokens. Neither sum leaves 32 bits.
template <class Arch>
class UnitSum {
 public:
  using I = Integers<Arch>;

  HEED_INLINE void add(const Units<Arch>& units) {
    upper_ = upper_ + units.upper;
    lower_ = lower_ + units.lower;
  }
  /// Those in lanes where the mask is true.
  HEED_INLINE void add(const Units<Arch>& units, Mask<Arch> mask) {
    upper_ = upper_ + where(mask, units.upper);
    lower_ = lower_ + where(mask, units.lower);
  }

  HEED_INLINE std::uint64_t total() const {
    alignas(kAlignment) std::int32_t upper[kLanes<Arch>], lower[kLanes<Arch>];
    upper_.store_unaligned(upper);
    lower_.store_unaligned(lower);
    std::int64_t sum = 0;
    for (int i = 0; i < kLanes<Arch>; ++i) {
      sum += (static_cast<std::int64_t>(upper[i]) << 20) + lower[i];
    }
    return static_cast<std::uint64_t>(sum);
  }

 private:
  static HEED_INLINE I where(Mask<Arch> mask, I x) {
    using O = Ops<Arch>;
    return O::as_integers(O::select(mask, O::as_floats(x), splat<Arch>(0.0F)));
  }

  I upper_ = I(0), lower_ = I(0);
};

/// The largest logit, or NaN where one is NaN; −∞ for no logits.
template <class Arch>
float largest_logit(const float* z, std::int64_t length) {
  Vec<Arch> largest[kAccumulators];
  Mask<Arch> numbers[kAccumulators];
#pragma GCC unroll 4
  for (int u = 0; u < kAccumulators; ++u) {
    largest[u] = splat<Arch>(-__builtin_inff());
    numbers[u] = largest[u] == largest[u];  // NOLINT(misc-redundant-expression)
  }
  for_each_vector<Arch, kAccumulators>(
      length, [&](auto access, int u, std::int64_t i) __attribute__((always_inline)) {
        const Vec<Arch> v = access.load(z + i, -__builtin_inff());
        largest[u] = Ops<Arch>::max(v, largest[u]);
        numbers[u] = numbers[u] & (v == v);  // NOLINT(misc-redundant-expression): not NaN
      });
  constexpr std::uint32_t all = (1U << kLanes<Arch>)-1;
  if (Ops<Arch>::bits((numbers[0] & numbers[1]) & (numbers[2] & numbers[3])) != all) {
    return __builtin_nanf("");
  }
  return reduce<Maximum, Arch>(largest);
}

/// The first of the largest logits, which is one of them.
template <class Arch>
std::int64_t first_equal(const float* z, std::int64_t length, float largest) {
  constexpr std::int64_t lanes = kLanes<Arch>;
  std::int64_t i = 0;
  while (i + lanes <= length && !Ops<Arch>::any(load<Arch>(z + i) == splat<Arch>(largest))) {
    i += lanes;
  }
  while (z[i] != largest) ++i;
  return i;
}

/// The chunks of a row, over which integer weights are added.
template <class Body>
HEED_INLINE void for_each_chunk(std::int64_t length, Body body) {
  for (std::int64_t begin = 0; begin < length; begin += kWeightChunk) {
    const std::int64_t left = length - begin;
    body(begin, left < kWeightChunk ? left : kWeightChunk);
  }
}

}  // namespace
}  // namespace heed::kernels
