// Small floating-point numbers to floats by their bits, for ISAs that have no instruction for it
// and for types that no ISA has. Every number becomes a float exactly, a NaN a NaN.
//
// With E bits of exponent and M of fraction, shifted to where a float has them, a number's exponent
// lacks the difference of the biases, 127 − (2^(E − 1) − 1). Subnormal numbers are fixed by giving
// them the least exponent and its implicit bit, which is then subtracted: no step meets a denormal
// float, which some processors take a hundred cycles for.
#pragma once

#include <cstdint>

#include "kernels/vector/simd.inl.h"

namespace heed::kernels {
namespace {

/// A format of 1 + ExponentBits + FractionBits bits.
template <int ExponentBits, int FractionBits, bool Infinities>
struct Minifloat {
  static constexpr std::uint32_t kBias = 127U - ((1U << (ExponentBits - 1)) - 1U);
  static constexpr int kShift = 23 - FractionBits;
  static constexpr std::uint32_t kFraction = (1U << FractionBits) - 1U;
  static constexpr std::uint32_t kMagnitude = (1U << (ExponentBits + FractionBits)) - 1U;
  /// From here on magnitudes are infinite or NaN; without infinities the last one alone is NaN.
  static constexpr std::uint32_t kSpecial = Infinities ? kMagnitude - kFraction : kMagnitude;

  /// Numbers in the low bits of each lane.
  template <class Arch>
  static HEED_INLINE Vec<Arch> widen(Integers<Arch> bits) {
    using I = Integers<Arch>;
    const auto constant = [](std::uint32_t x) { return I(static_cast<std::int32_t>(x)); };
    const I magnitude = bits & constant(kMagnitude);
    const I sign = (bits ^ magnitude) << (31 - ExponentBits - FractionBits);
    const I placed = magnitude << kShift;
    const Vec<Arch> normal = Ops<Arch>::as_floats(placed + constant(kBias << 23));
    const Vec<Arch> subnormal = Ops<Arch>::as_floats(placed | constant((kBias + 1U) << 23)) -
                                Ops<Arch>::as_floats(constant((kBias + 1U) << 23));
    const Vec<Arch> special =
        Ops<Arch>::as_floats(Infinities ? placed | constant(0x7F800000U) : constant(0x7FC00000U));
    const Mask<Arch> small = Ops<Arch>::less(magnitude, constant(kFraction + 1U));
    const Mask<Arch> large = Ops<Arch>::less(constant(kSpecial - 1U), magnitude);
    const Vec<Arch> finite = Ops<Arch>::select(small, subnormal, normal);
    return Ops<Arch>::as_floats(Ops<Arch>::as_integers(Ops<Arch>::select(large, special, finite)) |
                                sign);
  }
};

using Binary16 = Minifloat<5, 10, true>;
using Binary8E4M3 = Minifloat<4, 3, false>;

/// Half precision from floats: rounded to the nearest, ties to even; NaN stays one.
HEED_INLINE std::uint16_t half_bits(float x) {
  const std::uint32_t bits = __builtin_bit_cast(std::uint32_t, x);
  const std::uint32_t sign = bits >> 16 & 0x8000U;
  std::uint32_t magnitude = bits & 0x7FFFFFFFU;
  if (magnitude > 0x7F800000U) return static_cast<std::uint16_t>(sign | 0x7E00U);
  if (magnitude >= 0x477FF000U) return static_cast<std::uint16_t>(sign | 0x7C00U);
  if (magnitude < 0x38800000U) {  // the float's own rounding, at the unit of subnormal halves
    const float shifted = __builtin_bit_cast(float, magnitude) + 0.5F;
    return static_cast<std::uint16_t>(sign |
                                      (__builtin_bit_cast(std::uint32_t, shifted) - 0x3F000000U));
  }
  magnitude += 0xFFFU + (magnitude >> 13 & 1U);
  return static_cast<std::uint16_t>(sign | (magnitude - 0x38000000U) >> 13);
}

}  // namespace
}  // namespace heed::kernels
