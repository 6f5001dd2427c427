// Where to cut a row: lists of tokens, and the first tokens in the order of their keys that measure
// as much as is asked for. Nothing is sorted.
//
// Keys are counted in a histogram of 2048 slots between the smallest and the largest; those in the
// slot of the cut are listed again, until one key is left: three times at most, for 32 bits.
//
// Memory: a list is read and written up to three times, the last ones of which are short.
#pragma once

#include <cstdint>

#include "kernels/interface.h"
#include "kernels/sampling/sampling_weights.inl.h"
#include "kernels/vector/lanes.inl.h"

namespace heed::kernels {
namespace {

HEED_INLINE std::uint32_t bits_of(float x) { return __builtin_bit_cast(std::uint32_t, x); }
HEED_INLINE float float_of(std::uint32_t bits) { return __builtin_bit_cast(float, bits); }

/// Bits in the order of the numbers, both zeros being one.
HEED_INLINE std::uint32_t ordered_bits(float z) {
  const std::uint32_t bits = bits_of(z + 0.0F);
  return bits >> 31 != 0 ? ~bits : bits | 0x80000000U;
}

/// Some tokens of a row in the order of their places in it, with their keys.
struct TokenList {
  std::uint32_t* keys;
  std::int32_t* places;
  std::int64_t count = 0;

  HEED_INLINE void add(std::uint32_t key, std::int64_t place) {
    keys[count] = key;
    places[count] = static_cast<std::int32_t>(place);
    ++count;
  }
  /// Adds the lanes of a vector of weights whose bits are set. Writes whole vectors: there is room
  /// for them, as no more than `place` tokens are listed.
  template <class Arch>
  HEED_INLINE void add_lanes(std::uint32_t lanes, const float* s, std::int64_t place) {
    if constexpr (Ops<Arch>::kCompresses) {
      Integers<Arch> numbers;
      const Vec<Arch> first = Ops<Arch>::compress(lanes, load<Arch>(s), numbers);
      store<Arch>(reinterpret_cast<float*>(keys + count), first);
      (numbers + Integers<Arch>(static_cast<std::int32_t>(place))).store_unaligned(places + count);
      count += static_cast<std::int64_t>(Ops<Arch>::ones(lanes));
    } else {
      for (; lanes != 0; lanes &= lanes - 1) {
        const int lane = __builtin_ctz(lanes);
        add(bits_of(s[lane]), place + lane);
      }
    }
  }
};

struct KeyRange {
  std::uint32_t low, high;
};

HEED_INLINE KeyRange range_of(const TokenList& list) {
  KeyRange range{0xFFFFFFFFU, 0};
  for (std::int64_t i = 0; i < list.count; ++i) {
    const std::uint32_t key = list.keys[i];
    range.low = key < range.low ? key : range.low;
    range.high = key > range.high ? key : range.high;
  }
  return range;
}

/// Writes to `kept`, which may be the list itself, its tokens whose key is the one at which the
/// measure of those from the largest key down, added to `reached`, comes to `target`; all of them
/// do. Returns the measure of those with larger keys, `reached` included.
template <class Measure>
std::uint64_t narrow(const TokenList& list, TokenList& kept, std::uint64_t reached,
                     std::uint64_t target, Measure measure) {
  constexpr std::uint32_t slots = 1U << 11;
  std::uint64_t measures[slots];
  const TokenList* from = &list;
  for (;;) {
    const KeyRange range = range_of(*from);
    int shift = 0;
    while (((range.high - range.low) >> shift) >= slots) ++shift;
    const auto slot_of = [&](std::uint32_t key) { return (key - range.low) >> shift; };
    std::uint32_t slot = slot_of(range.high);
    for (std::uint32_t i = 0; i <= slot; ++i) measures[i] = 0;
    for (std::int64_t i = 0; i < from->count; ++i) {
      measures[slot_of(from->keys[i])] += measure(from->keys[i]);
    }
    while (slot > 0 && reached + measures[slot] < target) reached += measures[slot--];
    std::int64_t count = 0;
    for (std::int64_t i = 0; i < from->count; ++i) {
      const std::uint32_t key = from->keys[i];
      kept.keys[count] = key;
      kept.places[count] = from->places[i];
      count += slot_of(key) == slot ? 1 : 0;
    }
    kept.count = count;
    from = &kept;
    if (shift == 0) return reached;
  }
}

/// Every token measures 1.
HEED_INLINE std::uint64_t count_of(std::uint32_t) { return 1; }
/// A token measures what it weighs; its key is s.
HEED_INLINE std::uint64_t weight_of(std::uint32_t key) { return units_of(float_of(key)); }

/// The tokens that are kept: those with a larger s than `lowest`; of those with this s the ones
/// with a larger logit than `logit` says, and with this logit those up to the place `last`.
struct Cut {
  float lowest = 0;
  bool all_ties = true;  ///< all with s = lowest are kept
  std::uint32_t logit = 0;
  std::int64_t last = 0;

  HEED_INLINE bool keeps(float s, const float* z, std::int64_t place) const {
    if (s != lowest || all_ties) return s >= lowest;
    const std::uint32_t bits = ordered_bits(z[place]);
    return bits > logit || (bits == logit && place <= last);
  }
};

/// Weights from `low` up to, but not including, `high`.
struct WeightRange {
  float low = 0, high = __builtin_inff();
};

/// Rows that are shorter are listed as a whole.
inline constexpr std::int64_t kSampledRow = 16384;

/// Some weights of a row, by the leading bits of their floats, sixteen to a binade: a guess of
/// where the first tokens end that weigh a share of all.
class WeightSample {
 public:
  static constexpr std::int64_t kTokens = 4096;

  /// The weights of every `step`th token.
  HEED_INLINE WeightSample(const float* s, std::int64_t count, std::int64_t step) : step_(step) {
    for (std::int64_t i = 0; i < count; ++i) {
      if (s[i] < float_of(kFirst << kShift)) continue;
      const std::uint32_t slot = (bits_of(s[i]) >> kShift) - kFirst;
      ++count_;
      ++counts_[slot];
      sums_[slot] += s[i];
      squares_[slot] += s[i] * s[i];
    }
  }

  /// The range that probably holds the last weight of the first tokens that weigh `share` of all:
  /// outside of it the sample is off by more than three standard deviations. Of tokens that weigh
  /// much the sample may have none, or one that stands for itself alone; those it has weigh at
  /// least what they weigh, and so does the largest one.
  HEED_INLINE WeightRange guess(float share) const {
    const double head = static_cast<double>(share), tail = 1 - head;
    Estimate above, below;
    for (std::uint32_t slot = 0; slot < kSlots; ++slot) above.add(sums_[slot], squares_[slot], 1);
    const bool flat =
        above.sum * static_cast<double>(step_) > static_cast<double>(kFlat * kLargestWeight);
    WeightRange range;
    std::int64_t left = count_;
    for (std::uint32_t slot = 0; slot < kSlots && left > kFewest; ++slot) {
      left -= counts_[slot];
      above.add(sums_[slot], squares_[slot], -1);
      below.add(sums_[slot], squares_[slot], 1);
      const double low = head * below.sum, variance = head * head * below.squares;
      const double high = tail * above.sum, both = variance + tail * tail * above.squares;
      const double least =
          tail * (above.sum + static_cast<double>(kLargestWeight)) / static_cast<double>(step_);
      if (flat && exceeds(low - high, both)) {
        range.high = float_of((slot + 1 + kFirst) << kShift);
        break;
      }
      if (left >= kFewest && (exceeds(high - low, both) || exceeds(least - low, variance))) {
        range.low = float_of((slot + 1 + kFirst) << kShift);
      }
    }
    return range;
  }

 private:
  /// Sums of weights of the sample, and of their squares.
  struct Estimate {
    double sum = 0, squares = 0;

    HEED_INLINE void add(float weights, float weight_squares, int sign) {
      sum += sign * static_cast<double>(weights);
      squares += sign * static_cast<double>(weight_squares);
    }
  };

  /// Whether a difference is at least three standard deviations.
  static HEED_INLINE bool exceeds(double difference, double variance) {
    return difference > 0 && difference * difference >= 9 * variance;
  }

  static constexpr int kShift = 19;
  static constexpr std::uint32_t kFirst = 0x35000000U >> kShift;                 ///< of 2⁻²¹
  static constexpr std::uint32_t kSlots = (0x49800000U >> kShift) - kFirst + 1;  ///< up to 2^20

  /// Where all weigh less than so many of the largest token, tokens that the sample has not may be
  /// most of it: then there is no upper end.
  static constexpr float kFlat = 8;
  /// Weights of the sample that are never below the range: fewer say nothing.
  static constexpr std::int64_t kFewest = 8;

  std::int64_t step_, count_ = 0;
  std::int32_t counts_[kSlots] = {};
  float sums_[kSlots] = {}, squares_[kSlots] = {};
};

}  // namespace
}  // namespace heed::kernels
