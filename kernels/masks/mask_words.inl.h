// The elements of a mask as words of bits, and how many keys they show. Bit i of a word is that of
// the ith of 32 keys, and 1 where it is visible.
//
// Memory: each element is read once, each word and each number written once. Numbers of keys are
// those of whole partitions, 32 bytes of bits, which are counted while they are copied.
#pragma once

#include "kernels/interface.h"
#include "kernels/vector/simd.inl.h"

namespace heed::kernels {
namespace {

/// What 32 elements are: the visible ones, and those that a mask may have.
struct MaskWord {
  std::uint32_t visible, known;
};

/// Floats are compared by their bits, which no floating-point environment changes.
template <class Arch, class Element>
HEED_INLINE MaskWord word_of_floats(const std::byte* elements, const MaskFormat& format) {
  using Op = Ops<Arch>;
  using I = Integers<Arch>;
  constexpr std::int32_t kVectorLanes = kLanes<Arch>;
  const I magnitude(static_cast<std::int32_t>(format.magnitude));
  const I hidden(static_cast<std::int32_t>(format.hidden)), one(1), none(0);
  MaskWord word{0, 0};
#pragma GCC unroll 8
  for (std::int32_t i = 0; i < kWordKeys; i += kVectorLanes) {
    const std::byte* const own = elements + i * sizeof(Element);
    I x;
    if constexpr (sizeof(Element) == 2) {
      x = Op::load_words(own);
    } else {
      x = Op::as_integers(load<Arch>(reinterpret_cast<const float*>(own)));
    }
    const I beside = x ^ hidden;  // 0 for −∞
    const std::uint32_t zero = Op::bits(Op::less(x & magnitude, one));
    const std::uint32_t infinite =
        Op::bits(Op::less(beside, one)) & ~Op::bits(Op::less(beside, none));
    word.visible |= zero << i;
    word.known |= (zero | infinite) << i;
  }
  return word;
}

template <class Arch, class Element>
HEED_INLINE MaskWord word_of(const std::byte* elements, const MaskFormat& format) {
  if constexpr (sizeof(Element) == 1) {
    const auto* const bytes = reinterpret_cast<const std::uint8_t*>(elements);
    return {Ops<Arch>::nonzero_bytes(bytes), ~0U};
  } else {
    return word_of_floats<Arch, Element>(elements, format);
  }
}

/// Returns the first element that a mask may not have, or `count`.
template <class Arch, class Element>
std::int64_t words_of(const MaskFormat& format, const std::byte* elements, std::int64_t count,
                      std::uint32_t* words) {
  constexpr auto kSize = static_cast<std::int64_t>(sizeof(Element));
  for (std::int64_t begin = 0; begin < count; begin += kWordKeys) {
    const std::byte* from = elements + begin * kSize;
    Element last[kWordKeys];
    if (const std::int64_t rest = count - begin; rest < kWordKeys) {
      for (Element& element : last) element = static_cast<Element>(format.hidden);
      __builtin_memcpy(last, from, static_cast<std::size_t>(rest * kSize));
      from = reinterpret_cast<const std::byte*>(last);
    }
    const MaskWord own = word_of<Arch, Element>(from, format);
    if (own.known != ~0U) return begin + __builtin_ctz(~own.known);
    *words++ = own.visible;
  }
  return count;
}

inline void words_of_bits(const std::byte* bits, std::int64_t count, std::uint32_t* words) {
  if (count == 0) return;
  __builtin_memcpy(words, bits, static_cast<std::size_t>((count + 7) / 8));
  const std::int64_t rest = count % kWordKeys;
  if (rest > 0) words[count / kWordKeys] &= ~0U >> (kWordKeys - rest);
}

template <class Arch>
std::int64_t mask_words(const MaskFormat& format, const std::byte* elements, std::int64_t count,
                        std::uint32_t* words) {
  switch (format.bits) {
    case 8:
      return words_of<Arch, std::uint8_t>(format, elements, count, words);
    case 16:
      return words_of<Arch, std::uint16_t>(format, elements, count, words);
    case 32:
      return words_of<Arch, std::uint32_t>(format, elements, count, words);
    default:
      words_of_bits(elements, count, words);
      return count;
  }
}

template <class Arch>
void mask_totals(const void* bits, std::int64_t partitions, std::uint32_t* words,
                 std::int32_t* totals) {
  constexpr std::int32_t kPairs = kPartitionWords / 2;
  const auto* from = static_cast<const std::byte*>(bits);
  std::uint64_t total = static_cast<std::uint32_t>(*totals);
  for (std::int64_t p = 0; p < partitions; ++p) {
    std::uint64_t pairs[kPairs];
    __builtin_memcpy(pairs, from, sizeof(pairs));
    __builtin_memcpy(words, pairs, sizeof(pairs));
    for (const std::uint64_t pair : pairs) total += Ops<Arch>::ones(pair);
    *++totals = static_cast<std::int32_t>(total);
    from += sizeof(pairs), words += kPartitionWords;
  }
}

}  // namespace
}  // namespace heed::kernels
