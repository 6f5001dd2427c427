// Small floating-point numbers to floats and back by their bits, for ISAs that have no instruction
// for it and for types that no ISA has. Every number becomes a float exactly, a NaN a NaN.
//
// With E bits of exponent and M of fraction, shifted to where a float has them, a number's exponent
// lacks the difference of the biases, 127 − (2^(E − 1) − 1). Subnormal numbers are fixed by giving
// them the least exponent and its implicit bit, which is then subtracted; the way back adds a power
// of two whose last bit is the smallest number's unit, and lets the float addition round. Widening
// meets no denormal float, which some processors take a hundred cycles for.
#pragma once

#include <cstdint>

#include "kernels/vector/simd.inl.h"

namespace heed::kernels {
namespace {

/// What becomes of finite numbers beyond the range of a format: infinite, or the largest one.
enum class Overflow { infinite, saturated };

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

  /// The nearest numbers, ties to even, in the low bits of each lane.
  template <class Arch, Overflow Beyond>
  static HEED_INLINE Integers<Arch> narrow(Vec<Arch> floats) {
    using I = Integers<Arch>;
    using Op = Ops<Arch>;
    const auto constant = [](std::uint32_t x) { return I(static_cast<std::int32_t>(x)); };
    const auto select = [](Mask<Arch> m, I a, I b) {
      return Op::as_integers(Op::select(m, Op::as_floats(a), Op::as_floats(b)));
    };
    const I bits = Op::as_integers(floats), magnitude = bits & constant(0x7FFFFFFFU);
    const I odd = Op::shift_right(magnitude, kShift) & constant(1);
    const I half = constant((1U << (kShift - 1)) - 1U);
    const I normal = Op::shift_right(magnitude + half + odd - constant(kBias << 23), kShift);
    const I unit = constant((kBias + 1U + static_cast<std::uint32_t>(kShift)) << 23);
    const I subnormal = Op::as_integers(Op::as_floats(magnitude) + Op::as_floats(unit)) - unit;
    I code = select(Op::less(magnitude, constant((kBias + 1U) << 23)), subnormal, normal);
    const I most =
        constant(Beyond == Overflow::saturated || !Infinities ? kSpecial - 1U : kSpecial);
    code = select(Op::less(most, code), most, code);
    const I infinity = constant(0x7F800000U);
    code =
        select(Op::less(magnitude, infinity), code, constant(Infinities ? kSpecial : kMagnitude));
    code = select(Op::less(infinity, magnitude), constant(kMagnitude), code);
    return code | Op::shift_right(bits ^ magnitude, 31 - ExponentBits - FractionBits);
  }
};

using Binary16 = Minifloat<5, 10, true>;
using Binary8E4M3 = Minifloat<4, 3, false>;
using Binary8E5M2 = Minifloat<5, 2, true>;

}  // namespace
}  // namespace heed::kernels
