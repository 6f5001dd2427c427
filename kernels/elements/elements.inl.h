// The element types: how rows of each become rows of floats, and floats become them.
//
// A type is a struct here and a line in for_element_type. Rounding is to the nearest, ties to even;
// a finite number beyond the range of a type becomes infinite in f16 and bf16, and the largest one
// in the types of 8 bits. Memory traffic: each row is read once and written once, to where it is
// read from next.
#pragma once

#include <cstddef>
#include <cstdint>

#include "heed/dtype.h"
#include "kernels/interface.h"
#include "kernels/vector/lanes.inl.h"
#include "kernels/vector/minifloat.inl.h"

namespace heed::kernels {
namespace {

/// How kernels/elements/columns.inl.h transposes elements: as floats, or packed.
enum class Packing { none, halves, bfloats, bytes, codes, blocks };

/// How the elements of a type lie in memory, and become floats.
///
///     kPacking                how they are transposed
///     kBlock, kBytes          so many elements are stored together, in so many bytes
///     Vec<Arch> widen<Arch>(const std::byte* row, std::ptrdiff_t x)
///                             the vector of elements from x on, a multiple of the lanes
///     void narrow<Arch>(Vec<Arch> floats, std::byte* to)
///                             the nearest elements, ties to even
///     void narrow_block<Arch>(const float* floats, std::byte* block)
///                             the same, of types that have blocks
///
/// Packing::codes: codes of kCodeBits bits, which `widen` gives as they are: they become values
/// with scales in a tensor of their own (kernels/elements/rows.inl.h).
///
///     void pack(const std::byte* codes, std::int32_t count, std::byte* row)
///                             a row from `count` codes in a byte each
///
/// Packing::bytes: numbers from words that hold them in their upper bytes.
///
///     Integers<Arch> halves<Arch>(Integers<Arch> words)
///     Vec<Arch> from_halves<Arch>(Vec<Arch> x)
///
/// Packing::blocks: a scale of kHeader bytes, then codes of kCodeBits bits.
///
///     int byte_of(int x)      the byte that holds element x of a block, after the scale
///     Integers<Arch> place_codes<Arch>(Integers<Arch> codes, int x)
///                             the codes of elements x … as signed numbers in the upper bits of
///                             bytes
template <DType Type>
struct Element;

template <>
struct Element<DType::f32> {
  static constexpr Packing kPacking = Packing::none;
  static constexpr int kBlock = 1, kBytes = 4;
  template <class Arch>
  static HEED_INLINE Vec<Arch> widen(const std::byte* row, std::ptrdiff_t x) {
    return load<Arch>(reinterpret_cast<const float*>(row) + x);
  }
  template <class Arch>
  static HEED_INLINE void narrow(Vec<Arch> floats, std::byte* to) {
    store<Arch>(reinterpret_cast<float*>(to), floats);
  }
};

template <>
struct Element<DType::f16> {
  static constexpr Packing kPacking = Packing::halves;
  static constexpr int kBlock = 1, kBytes = 2;
  template <class Arch>
  static HEED_INLINE Vec<Arch> widen(const std::byte* row, std::ptrdiff_t x) {
    return Ops<Arch>::load_halves(row + 2 * x);
  }
  template <class Arch>
  static HEED_INLINE void narrow(Vec<Arch> floats, std::byte* to) {
    Ops<Arch>::store_halves(to, floats);
  }
};

template <>
struct Element<DType::bf16> {
  static constexpr Packing kPacking = Packing::bfloats;
  static constexpr int kBlock = 1, kBytes = 2;
  template <class Arch>
  static HEED_INLINE Vec<Arch> widen(const std::byte* row, std::ptrdiff_t x) {
    return Ops<Arch>::as_floats(Ops<Arch>::load_words(row + 2 * x) << 16);
  }
  /// A carry beyond the fraction is the next exponent, or infinity; NaN is made quiet.
  template <class Arch>
  static HEED_INLINE void narrow(Vec<Arch> floats, std::byte* to) {
    using I = Integers<Arch>;
    const I bits = Ops<Arch>::as_integers(floats);
    const I lowest = Ops<Arch>::shift_right(bits, 16) & I(1);
    const I rounded = Ops<Arch>::shift_right(bits + I(0x7FFF) + lowest, 16);
    const I quiet = Ops<Arch>::shift_right(bits | I(0x00400000), 16);
    const Mask<Arch> nan = Ops<Arch>::less(I(0x7F800000), bits & I(0x7FFFFFFF));
    const Vec<Arch> kept =
        Ops<Arch>::select(nan, Ops<Arch>::as_floats(quiet), Ops<Arch>::as_floats(rounded));
    Ops<Arch>::store_words(to, Ops<Arch>::as_integers(kept));
  }
};

template <>
struct Element<DType::int8> {
  static constexpr Packing kPacking = Packing::codes;
  static constexpr int kBlock = 1, kBytes = 1, kCodeBits = 8;
  template <class Arch>
  static HEED_INLINE Vec<Arch> widen(const std::byte* row, std::ptrdiff_t x) {
    return Ops<Arch>::to_floats(Ops<Arch>::load_signed_bytes(row + x));
  }
  static HEED_INLINE void pack(const std::byte* codes, std::int32_t count, std::byte* row) {
    for (std::int32_t i = 0; i < count; ++i) row[i] = codes[i];
  }
};

template <>
struct Element<DType::int4> {
  static constexpr Packing kPacking = Packing::codes;
  static constexpr int kBlock = 2, kBytes = 1, kCodeBits = 4;
  template <class Arch>
  static HEED_INLINE Vec<Arch> widen(const std::byte* row, std::ptrdiff_t x) {
    return Ops<Arch>::to_floats(Ops<Arch>::load_signed_nibbles(row + x / 2));
  }
  static HEED_INLINE void pack(const std::byte* codes, std::int32_t count, std::byte* row) {
    for (std::int32_t i = 0; i < count / 2; ++i) {
      row[i] = (codes[2 * i] & std::byte{15}) | codes[2 * i + 1] << 4;
    }
  }
};

template <>
struct Element<DType::fp8_e4m3> {
  static constexpr Packing kPacking = Packing::bytes;
  static constexpr int kBlock = 1, kBytes = 1;
  template <class Arch>
  static HEED_INLINE Vec<Arch> widen(const std::byte* row, std::ptrdiff_t x) {
    return Ops<Arch>::load_e4m3(row + x);
  }
  /// Halves that are 2⁻⁸ times the numbers in the upper bytes of words.
  template <class Arch>
  static HEED_INLINE Integers<Arch> halves(Integers<Arch> words) {
    return Ops<Arch>::e4m3_halves(words);
  }
  template <class Arch>
  static HEED_INLINE Vec<Arch> from_halves(Vec<Arch> x) {
    return x * splat<Arch>(256.0F);
  }
  template <class Arch>
  static HEED_INLINE void narrow(Vec<Arch> floats, std::byte* to) {
    Ops<Arch>::store_bytes(to, Binary8E4M3::narrow<Arch, Overflow::saturated>(floats));
  }
};

/// The upper bytes of halves.
template <>
struct Element<DType::fp8_e5m2> {
  static constexpr Packing kPacking = Packing::bytes;
  static constexpr int kBlock = 1, kBytes = 1;
  template <class Arch>
  static HEED_INLINE Vec<Arch> widen(const std::byte* row, std::ptrdiff_t x) {
    return Ops<Arch>::load_upper_halves(row + x);
  }
  template <class Arch>
  static HEED_INLINE Integers<Arch> halves(Integers<Arch> words) {
    return words;
  }
  template <class Arch>
  static HEED_INLINE Vec<Arch> from_halves(Vec<Arch> x) {
    return x;
  }
  template <class Arch>
  static HEED_INLINE void narrow(Vec<Arch> floats, std::byte* to) {
    Ops<Arch>::store_bytes(to, Binary8E5M2::narrow<Arch, Overflow::saturated>(floats));
  }
};

/// The least and the largest of some floats, whole vectors of them, and whether all are finite.
template <class Arch>
struct Range {
  float low = 0, high = 0;
  bool finite = true;

  HEED_INLINE Range(const float* floats, std::int32_t count) {
    Vec<Arch> least = load<Arch>(floats), most = least, trace = splat<Arch>(0.0F);
#pragma GCC unroll 8
    for (std::int32_t i = 0; i < count; i += kLanes<Arch>) {
      const Vec<Arch> x = load<Arch>(floats + i);
      least = Ops<Arch>::min(x, least);
      most = Ops<Arch>::max(x, most);
      trace = trace + x * splat<Arch>(0.0F);  // 0, or NaN
    }
    low = Ops<Arch>::reduce(least, Minimum());
    high = Ops<Arch>::reduce(most, Maximum());
    finite = !Ops<Arch>::any(Ops<Arch>::not_less(trace, splat<Arch>(1.0F)));
  }
};

/// Writes the scale of a block, within the range of halves, and returns what is there then. Blocks
/// that are not finite get a scale that is NaN, for which 0 is returned.
template <class Arch>
HEED_INLINE Vec<Arch> write_scale(float scale, bool finite, std::byte* block) {
  constexpr float largest = 65504.0F;
  const float bounded = scale > largest ? largest : scale < -largest ? -largest : scale;
  alignas(kAlignment) std::byte halves[2 * kLanes<Arch>];
  Ops<Arch>::store_halves(halves, splat<Arch>(finite ? bounded : __builtin_nanf("")));
  block[0] = halves[0];
  block[1] = halves[1];
  return finite ? Ops<Arch>::splat_half(block) : splat<Arch>(0.0F);
}

/// The nearest codes to numbers, within [low, high]; a NaN becomes the largest one.
template <class Arch>
HEED_INLINE Integers<Arch> nearest_codes(Vec<Arch> x, float low, float high) {
  return Ops<Arch>::to_integers(
      Ops<Arch>::max(Ops<Arch>::min(x, splat<Arch>(high)), splat<Arch>(low)));
}

/// The nearest codes to floats / scale, within [low, high]; 0 for a scale of 0.
template <class Arch>
HEED_INLINE Integers<Arch> codes_of(Vec<Arch> floats, Vec<Arch> scale, float low, float high) {
  const Vec<Arch> zero = splat<Arch>(0.0F);
  const Vec<Arch> steps = Ops<Arch>::select(scale == zero, zero, Ops<Arch>::divide(floats, scale));
  return nearest_codes<Arch>(steps, low, high);
}

/// A scale, the largest magnitude / 127, then the codes.
template <>
struct Element<DType::q8_0> {
  static constexpr Packing kPacking = Packing::blocks;
  static constexpr int kBlock = 32, kBytes = 34;
  static constexpr int kHeader = 2, kCodeBits = 8;
  /// The byte of the code of element x of a block.
  static constexpr int byte_of(int x) { return x; }
  template <class Arch>
  static HEED_INLINE Integers<Arch> place_codes(Integers<Arch> codes, int) {
    return codes;
  }
  template <class Arch>
  static HEED_INLINE Vec<Arch> widen(const std::byte* row, std::ptrdiff_t x) {
    const std::byte* const block = row + x / kBlock * kBytes;
    const auto codes = Ops<Arch>::load_signed_bytes(block + 2 + x % kBlock);
    return Ops<Arch>::to_floats(codes) * Ops<Arch>::splat_half(block);
  }
  template <class Arch>
  static HEED_INLINE void narrow_block(const float* floats, std::byte* block) {
    const Range<Arch> range(floats, kBlock);
    const float largest = range.high > -range.low ? range.high : -range.low;
    const Vec<Arch> scale = write_scale<Arch>(largest / 127.0F, range.finite, block);
#pragma GCC unroll 8
    for (int i = 0; i < kBlock; i += kLanes<Arch>) {
      Ops<Arch>::store_bytes(block + 2 + i,
                             codes_of<Arch>(load<Arch>(floats + i), scale, -127.0F, 127.0F));
    }
  }
};

/// A scale, the element of the largest magnitude / −8 (of two, the positive one), then 16 bytes
/// with the codes of the block's first half in their lower bits and those of its second half above.
template <>
struct Element<DType::q4_0> {
  static constexpr Packing kPacking = Packing::blocks;
  static constexpr int kBlock = 32, kBytes = 18;
  static constexpr int kHeader = 2, kCodeBits = 4;
  static constexpr int byte_of(int x) { return x % (kBlock / 2); }
  /// Codes of element x … as signed numbers in the upper halves of their bytes.
  template <class Arch>
  static HEED_INLINE Integers<Arch> place_codes(Integers<Arch> codes, int x) {
    const Integers<Arch> numbers = codes ^ Integers<Arch>(-0x77777778);
    return x < kBlock / 2 ? numbers << 4 : numbers;
  }
  template <class Arch>
  static HEED_INLINE Vec<Arch> widen(const std::byte* row, std::ptrdiff_t x) {
    using I = Integers<Arch>;
    const std::byte* const block = row + x / kBlock * kBytes;
    const I pairs = Ops<Arch>::load_bytes(block + 2 + x % (kBlock / 2));
    const I codes = (Ops<Arch>::shift_right(pairs, x % kBlock < kBlock / 2 ? 0 : 4) & I(15)) - I(8);
    return Ops<Arch>::to_floats(codes) * Ops<Arch>::splat_half(block);
  }
  template <class Arch>
  static HEED_INLINE void narrow_block(const float* floats, std::byte* block) {
    using I = Integers<Arch>;
    const Range<Arch> range(floats, kBlock);
    const float largest = range.high >= -range.low ? range.high : range.low;
    const Vec<Arch> scale = write_scale<Arch>(largest / -8.0F, range.finite, block);
    const auto codes = [&](int i) {
      return codes_of<Arch>(load<Arch>(floats + i), scale, -8.0F, 7.0F) + I(8);
    };
#pragma GCC unroll 4
    for (int i = 0; i < kBlock / 2; i += kLanes<Arch>) {
      Ops<Arch>::store_bytes(block + 2 + i, codes(i) | codes(i + kBlock / 2) << 4);
    }
  }
};

/// Elements that are multiplied in pairs, those at 2 · i + 1 before those at 2 · i.
template <class E>
struct InPairs : E {};

template <class E>
inline constexpr bool kInPairs = false;
template <class E>
inline constexpr bool kInPairs<InPairs<E>> = true;

/// Calls body(Element<type>()).
template <class Body>
HEED_INLINE auto for_element_type(DType type, Body body) {
  switch (type) {
    case DType::f16:
      return body(Element<DType::f16>());
    case DType::bf16:
      return body(Element<DType::bf16>());
    case DType::int8:
      return body(Element<DType::int8>());
    case DType::int4:
      return body(Element<DType::int4>());
    case DType::fp8_e4m3:
      return body(Element<DType::fp8_e4m3>());
    case DType::fp8_e5m2:
      return body(Element<DType::fp8_e5m2>());
    case DType::q8_0:
      return body(Element<DType::q8_0>());
    case DType::q4_0:
      return body(Element<DType::q4_0>());
    case DType::f32:
      break;
  }
  return body(Element<DType::f32>());
}

/// Bytes of a row of `dims` elements.
HEED_INLINE std::ptrdiff_t row_bytes(DType type, std::int32_t dims) {
  return for_element_type(type, [&](auto element) {
    return static_cast<std::ptrdiff_t>(dims) / element.kBlock * element.kBytes;
  });
}

/// The `count` elements from x on, a vector or fewer, and zeros: nothing past them is read. Blocks
/// are whole.
template <class Arch, class E>
HEED_INLINE Vec<Arch> widen_first(const std::byte* row, std::ptrdiff_t x, std::int32_t count) {
  if (count == kLanes<Arch>) return E::template widen<Arch>(row, x);
  if constexpr (E::kPacking == Packing::blocks) {
    return E::template widen<Arch>(row, x);
  } else if constexpr (E::kBytes == sizeof(float)) {
    return MaskedVector<Arch>(count).load(reinterpret_cast<const float*>(row) + x, 0.0F);
  } else {
    alignas(kAlignment) std::byte rest[kLanes<Arch> * E::kBytes / E::kBlock] = {};
    const std::byte* const from = row + x / E::kBlock * E::kBytes;
    for (std::int32_t i = 0; i < count / E::kBlock * E::kBytes; ++i) rest[i] = from[i];
    return E::template widen<Arch>(rest, 0);
  }
}

}  // namespace
}  // namespace heed::kernels
