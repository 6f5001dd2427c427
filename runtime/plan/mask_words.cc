#include "runtime/plan/mask_words.h"

#include <emmintrin.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "runtime/schedule/visibility.h"

namespace heed::detail {
namespace {

/// Floats of a mask by their bits.
struct MaskFloats {
  std::uint32_t sign, hidden;  ///< of −0, and of −∞
};

/// One bit for each of 32 bytes that are not 0.
std::uint32_t word_of(const std::uint8_t* bytes) {
  const auto zeros = [](const std::uint8_t* p) {
    const __m128i x = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return static_cast<std::uint32_t>(_mm_movemask_epi8(_mm_cmpeq_epi8(x, _mm_setzero_si128())));
  };
  return ~(zeros(bytes) | zeros(bytes + 16) << 16);
}

/// What 32 elements are: the visible ones, and those that are 0 or −∞. Each becomes a byte first,
/// which compilers do for several at a time.
struct MaskWord {
  std::uint32_t visible, known;
};

template <class Element>
MaskWord mask_word(const Element* elements, Element magnitudes, Element hidden) {
  std::array<std::uint8_t, kWordKeys> visible, known;
  for (std::size_t i = 0; i < kWordKeys; ++i) {
    const Element bits = elements[i];
    const bool zero = (bits & magnitudes) == 0, infinite = bits == hidden;
    visible[i] = static_cast<std::uint8_t>(zero);
    known[i] = static_cast<std::uint8_t>(static_cast<int>(zero) | static_cast<int>(infinite));
  }
  return {word_of(visible.data()), word_of(known.data())};
}

/// The words of `count` elements. Returns the first one that is neither 0 nor −∞, or `count`.
template <class Element>
std::int64_t pack_floats(const Element* elements, std::int64_t count, const MaskFloats& of,
                         std::uint32_t* words) {
  const auto magnitudes = static_cast<Element>(~of.sign);
  const auto hidden = static_cast<Element>(of.hidden);
  std::int64_t begin = 0;
  for (; begin + kWordKeys <= count; begin += kWordKeys, ++words) {
    const MaskWord own = mask_word(elements + begin, magnitudes, hidden);
    if (own.known != ~0U) return begin + std::countr_one(own.known);
    *words = own.visible;
  }
  if (begin == count) return count;
  std::array<Element, kWordKeys> rest;
  rest.fill(hidden);
  std::copy(elements + begin, elements + count, rest.begin());
  const MaskWord own = mask_word(rest.data(), magnitudes, hidden);
  if (own.known != ~0U) return begin + std::countr_one(own.known);
  *words = own.visible;
  return count;
}

void pack_bytes(const std::uint8_t* bytes, std::int64_t count, std::uint32_t* words) {
  std::int64_t begin = 0;
  for (; begin + kWordKeys <= count; begin += kWordKeys, bytes += kWordKeys) {
    *words++ = word_of(bytes);
  }
  if (begin == count) return;
  *words = 0;
  for (std::int64_t i = 0; begin + i < count; ++i) *words |= std::uint32_t{bytes[i] != 0} << i;
}

void pack_bits(const std::uint8_t* bytes, std::int64_t count, std::uint32_t* words) {
  static_assert(std::endian::native == std::endian::little);
  if (count == 0) return;
  std::memcpy(words, bytes, static_cast<std::size_t>((count + 7) / 8));
  const std::int64_t rest = count % kWordKeys;
  if (rest > 0) words[count / kWordKeys] &= ~0U >> (kWordKeys - rest);
}

}  // namespace

std::int64_t pack_mask(const KeyMask& mask, std::int64_t first, std::int64_t count,
                       std::uint32_t* words) {
  const auto* const bytes = static_cast<const std::uint8_t*>(mask.data);
  switch (mask.type) {
    case MaskType::bits:
      pack_bits(bytes + first / 8, count, words);
      break;
    case MaskType::bytes:
      pack_bytes(bytes + first, count, words);
      break;
    case MaskType::f32:
      return pack_floats(static_cast<const std::uint32_t*>(mask.data) + first, count,
                         {0x80000000, 0xFF800000}, words);
    case MaskType::f16:
      return pack_floats(static_cast<const std::uint16_t*>(mask.data) + first, count,
                         {0x8000, 0xFC00}, words);
    case MaskType::bf16:
      return pack_floats(static_cast<const std::uint16_t*>(mask.data) + first, count,
                         {0x8000, 0xFF80}, words);
  }
  return count;
}

std::int32_t ones_of_partition(const std::uint32_t* words) {
  std::uint32_t bytes = 0;
  for (std::int64_t w = 0; w < kPartitionWords; ++w) bytes += ones_of_bytes(words[w]);
  static_assert(8 * kPartitionWords <= 255);
  constexpr std::uint32_t even = 0x00FF00FF;
  const std::uint32_t pairs = (bytes & even) + (bytes >> 8U & even);
  return static_cast<std::int32_t>((pairs + (pairs >> 16U)) & 0xFFFFU);
}

}  // namespace heed::detail
