// Draws a token from a row of logits.
//
// First the largest logit is found. For top-k the logits from a guessed one on are listed, and the
// list is cut (sampling_cut.inl.h); the k tokens that are left are then the row. One pass computes
// all weights and their sum (sampling_weights.inl.h). For top-p a sample of the weights tells
// beforehand between which two weights the cut probably lies: the pass adds those above, lists
// those between, chunk by chunk, and what they weigh shows whether the guess was right; else all
// tokens are listed. A token is drawn by the sums of chunks of tokens: the one at which the sum of
// weights, in the order of tokens, exceeds random · total / 2^64. All takes time in proportion to
// the length of the row, whatever it holds.
//
// Memory: z is read twice, and once more for top-k (elements of 16 bits once, to be written as
// floats). What is listed, a few thousandths to a few hundredths of a row, is written and read.
//
// Error: a weight is off by what sampling_weights.inl.h says; sums and cuts are exact; the
// probability that a token is drawn with is its share of the sum within 2⁻⁶⁴.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/elements/elements.inl.h"
#include "kernels/interface.h"
#include "kernels/sampling/sampling_cut.inl.h"
#include "kernels/sampling/sampling_weights.inl.h"
#include "kernels/vector/lanes.inl.h"

namespace heed::kernels {
namespace {

__extension__ using Unsigned128 = unsigned __int128;

/// The upper half of a product.
HEED_INLINE std::uint64_t multiply_high(std::uint64_t a, std::uint64_t b) {
  return static_cast<std::uint64_t>((static_cast<Unsigned128>(a) * b) >> 64);
}

/// total · share, rounded up; 1 at least. share is in (0, 1], and an integer of 24 bits times a
/// power of two.
HEED_INLINE std::uint64_t share_of(std::uint64_t total, float share) {
  const std::uint32_t bits = bits_of(share), exponent = bits >> 23;
  const std::uint32_t fraction = bits & 0x7FFFFFU;
  const std::uint64_t integer = exponent == 0 ? fraction : fraction | 0x800000U;
  const std::uint32_t shift = 150 - (exponent == 0 ? 1 : exponent);
  if (shift > 100) return 1;  // total · integer has at most 63 + 24 bits
  const Unsigned128 product = static_cast<Unsigned128>(total) * integer;
  return static_cast<std::uint64_t>((product + ((Unsigned128{1} << shift) - 1)) >> shift);
}

/// Writes a row of another type as floats.
template <class Arch>
void widen_row(DType type, const std::byte* logits, std::int64_t length, float* z) {
  for_element_type(type, [&](auto element) {
    using E = decltype(element);
    constexpr std::int64_t lanes = kLanes<Arch>;
    std::int64_t i = 0;
    for (; i + lanes <= length; i += lanes) {
      store<Arch>(z + i, E::template widen<Arch>(logits, i));
    }
    if (i == length) return;
    const auto left = static_cast<std::int32_t>(length - i);
    MaskedVector<Arch>(left).store(z + i, widen_first<Arch, E>(logits, i, left));
  });
}

/// A row, or what top-k has left of one.
struct LogitRow {
  const float* z;
  const std::int32_t* numbers;  ///< of the tokens; null: they are all there
  std::int64_t length;
};

/// Lists the logits from `low` on, with keys in their order.
template <class Arch>
void list_logits(const LogitRow& row, float low, TokenList& list) {
  list.count = 0;
  for_each_vector<Arch, kAccumulators>(
      row.length, [&](auto access, int, std::int64_t i) __attribute__((always_inline)) {
        const Vec<Arch> v = access.load(row.z + i, -__builtin_inff());
        std::uint32_t lanes = Ops<Arch>::bits(v >= splat<Arch>(low));
        for (; lanes != 0; lanes &= lanes - 1) {
          const std::int64_t place = i + __builtin_ctz(lanes);
          if (place < row.length) list.add(ordered_bits(row.z[place]), place);
        }
      });
}

/// A logit that probably more than k tokens reach: as many of a sample that k ± four standard
/// deviations do.
HEED_INLINE float guess_logit(const LogitRow& row, std::int64_t k, TokenList& work) {
  constexpr std::int64_t tokens = 1024;
  const std::int64_t step = row.length / tokens;
  work.count = 0;
  for (std::int64_t i = step / 2; i < row.length; i += step) {
    work.add(ordered_bits(row.z[i]), i);
  }
  const std::int64_t expected = k / step + 1;
  std::int64_t deviation = 1;
  while (deviation * deviation < expected) ++deviation;
  const std::int64_t wanted = expected + 4 * deviation + 4;
  if (wanted >= work.count) return -__builtin_inff();
  narrow(work, work, 0, static_cast<std::uint64_t>(wanted), count_of);
  return row.z[work.places[0]];
}

/// One row, from logits to a token.
template <class Arch>
class RowSampler {
 public:
  HEED_INLINE RowSampler(const SampledRow& row, const float* z)
      : request_(row),
        row_{z, nullptr, row.length},
        sums_(row.scratch.sums),
        list_{row.scratch.keys, row.scratch.places},
        work_{row.scratch.work_keys, row.scratch.work_places} {}

  HEED_INLINE SampledToken sample() {
    const float largest = largest_logit<Arch>(row_.z, row_.length);
    constexpr float infinity = __builtin_inff();
    if (!(largest > -infinity && largest < infinity)) return {};
    if (request_.greedy) {
      const std::int64_t token = first_equal<Arch>(row_.z, row_.length, largest);
      return {static_cast<std::int32_t>(token), 1.0F};
    }
    if (request_.top_k > 0 && request_.top_k < row_.length) keep_first(request_.top_k);
    const LogitWeights<Arch> weights(largest, request_.factor);
    const float least = request_.min_p * kLargestWeight;
    if (request_.top_p < 1.0F) {
      cut_share(weights, least);
    } else {
      cut_.lowest = least;
      weigh_from(weights, least);
    }
    return draw(weights);
  }

 private:
  /// Makes the first k tokens the row.
  void keep_first(std::int64_t k) {
    constexpr float all = -__builtin_inff();
    float low = row_.length < kSampledRow ? all : guess_logit(row_, k, work_);
    list_logits<Arch>(row_, low, list_);
    if (list_.count < k) list_logits<Arch>(row_, all, list_);
    const auto target = static_cast<std::uint64_t>(k);
    const std::uint64_t larger = narrow(list_, work_, 0, target, count_of);
    const std::uint32_t logit = work_.keys[0];
    const std::int32_t last = work_.places[target - larger - 1];
    std::int64_t kept = 0;
    for (std::int64_t i = 0; i < list_.count; ++i) {
      const std::uint32_t key = list_.keys[i];
      const std::int32_t place = list_.places[i];
      if (key < logit || (key == logit && place > last)) continue;
      request_.scratch.kept[kept] = row_.z[place];
      request_.scratch.numbers[kept++] = place;
    }
    row_ = {request_.scratch.kept, request_.scratch.numbers, kept};
  }

  /// Keeps the first tokens that weigh a share of all, and of these those with s ≥ least.
  void cut_share(const LogitWeights<Arch>& weights, float least) {
    if (row_.length >= kSampledRow) {
      WeightRange range = guess_range(weights);
      const bool binding = least > range.low;  // min-p may cut before top-p does
      range.low = range.low > least ? range.low : least;
      range.high = range.high > least ? range.high : least;
      if (cut_range(weights, range, binding)) return;
    }
    cut_range(weights, {0.0F, __builtin_inff()}, false);
    if (cut_.lowest < least) {
      cut_ = {least, true, 0, 0};
      weigh_from(weights, least);
    }
  }

  HEED_INLINE WeightRange guess_range(const LogitWeights<Arch>& weights) const {
    float* const sample = reinterpret_cast<float*>(work_.keys);
    const std::int64_t step = row_.length / WeightSample::kTokens;
    std::int64_t count = 0;
    for (std::int64_t i = step / 2; i < row_.length; i += step) sample[count++] = row_.z[i];
    write_weights(weights, sample, count, sample);
    return WeightSample(sample, count, step).guess(request_.top_p);
  }

  /// Cuts within the range. Where the cut is not there: keeps all from its lower end on where
  /// `binding`, or else returns false.
  bool cut_range(const LogitWeights<Arch>& weights, const WeightRange& range, bool binding) {
    std::uint64_t above = 0, between = 0;
    const std::uint64_t total = weigh_and_list(weights, range);
    for_each_chunk(row_.length,
                   [&](std::int64_t begin, std::int64_t) { above += sums_[begin / kWeightChunk]; });
    for (std::int64_t i = 0; i < list_.count; ++i) between += weight_of(list_.keys[i]);
    const std::uint64_t target = share_of(total, request_.top_p);
    if (above >= target) return false;
    if (above + between >= target) {
      cut_ = cut_list(above, target);
    } else {
      if (!binding) return false;
      cut_ = {range.low, true, 0, 0};
    }
    add_kept();
    return true;
  }

  /// Adds what is kept of the list to the sums of its chunks.
  void add_kept() {
    for (std::int64_t i = 0; i < list_.count;) {
      const std::int64_t chunk = list_.places[i] / kWeightChunk, end = (chunk + 1) * kWeightChunk;
      UnitSum<Arch> kept;
      std::uint64_t rest = 0;
      for (; i + kLanes<Arch> <= list_.count && list_.places[i + kLanes<Arch> - 1] < end;
           i += kLanes<Arch>) {
        const Vec<Arch> s = load<Arch>(reinterpret_cast<const float*>(list_.keys) + i);
        const Mask<Arch> ties = s == splat<Arch>(cut_.lowest);
        kept.add(Units<Arch>(s), s > splat<Arch>(cut_.lowest));
        if (Ops<Arch>::any(ties)) rest += kept_of(i, Ops<Arch>::bits(ties));
      }
      for (; i < list_.count && list_.places[i] < end; ++i) rest += kept_of(i, 1);
      sums_[chunk] += kept.total() + rest;
    }
  }

  /// What is kept of the tokens of the list from the ith on whose bits are set.
  std::uint64_t kept_of(std::int64_t i, std::uint32_t bits) const {
    std::uint64_t sum = 0;
    for (; bits != 0; bits &= bits - 1) {
      const std::int64_t token = i + __builtin_ctz(bits);
      const float s = float_of(list_.keys[token]);
      if (cut_.keeps(s, row_.z, list_.places[token])) sum += units_of(s);
    }
    return sum;
  }

  /// Where the tokens of the list that bring `reached` to `target` end.
  HEED_INLINE Cut cut_list(std::uint64_t reached, std::uint64_t target) {
    reached = narrow(list_, work_, reached, target, weight_of);
    const float lowest = float_of(work_.keys[0]);
    const std::uint64_t each = units_of(lowest);
    const std::uint64_t ties = (target - reached + each - 1) / each;
    if (ties >= static_cast<std::uint64_t>(work_.count)) return {lowest, true, 0, 0};
    for (std::int64_t i = 0; i < work_.count; ++i) {
      work_.keys[i] = ordered_bits(row_.z[work_.places[i]]);
    }
    const std::uint64_t larger = narrow(work_, work_, 0, ties, count_of);
    return {lowest, false, work_.keys[0], work_.places[ties - larger - 1]};
  }

  /// Writes the sums of the weights from the range's upper end on, a sum for each chunk, and lists
  /// those within the range. Returns the sum of all.
  std::uint64_t weigh_and_list(const LogitWeights<Arch>& weights, const WeightRange& range) {
    const bool bounded = range.high < __builtin_inff();
    return bounded ? weigh<true, true>(weights, range) : weigh<true, false>(weights, range);
  }

  /// Writes the sums of the weights from `least` on, a sum for each chunk.
  void weigh_from(const LogitWeights<Arch>& weights, float least) {
    const WeightRange range{least, least};
    least > 0 ? weigh<false, true>(weights, range) : weigh<false, false>(weights, range);
  }

  /// Either of them; without an upper end or a least weight where not `Bounded`.
  template <bool Lists, bool Bounded>
  std::uint64_t weigh(const LogitWeights<Arch>& weights, const WeightRange& range) {
    alignas(kAlignment) float chunk[Lists ? kWeightChunk : 1];
    const Vec<Arch> high = splat<Arch>(range.high);
    std::uint64_t total = 0;
    list_.count = 0;
    for_each_chunk(row_.length, [&](std::int64_t begin, std::int64_t count) {
      UnitSum<Arch> all, above;
      const float* const z = row_.z + begin;
      for_each_vector<Arch, kAccumulators>(
          count, [&](auto access, int, std::int64_t i) __attribute__((always_inline)) {
            const Vec<Arch> s = weights(access.load(z + i, -__builtin_inff()));
            const Units<Arch> units(s);
            if constexpr (Bounded) above.add(units, s >= high);
            if constexpr (Lists || !Bounded) all.add(units);
            if constexpr (Lists) store<Arch>(chunk + i, s);
          });
      sums_[begin / kWeightChunk] = Lists || Bounded ? above.total() : all.total();
      if constexpr (Lists) {
        total += all.total();
        list_chunk(chunk, begin, count, range);
      }
    });
    return total;
  }

  /// Lists the weights of a chunk that are within a range. Apart from their computation, so that a
  /// branch that was not foreseen costs little, and several vectors at a time.
  void list_chunk(float* s, std::int64_t begin, std::int64_t count, const WeightRange& range) {
    constexpr std::int64_t lanes = kLanes<Arch>, step = 4 * lanes;
    const Vec<Arch> low = splat<Arch>(range.low), high = splat<Arch>(range.high);
    std::int64_t whole = count;
    for (; whole % step != 0; ++whole) s[whole] = __builtin_inff();  // of no range
    for (std::int64_t i = 0; i < whole; i += step) {
      Mask<Arch> within[4];
#pragma GCC unroll 4
      for (int u = 0; u < 4; ++u) {
        const Vec<Arch> v = load<Arch>(s + i + u * lanes);
        within[u] = (v >= low) & (v < high);
      }
      if (!Ops<Arch>::any((within[0] | within[1]) | (within[2] | within[3]))) continue;
#pragma GCC unroll 4
      for (int u = 0; u < 4; ++u) {
        if (i + u * lanes >= count) break;
        list_.template add_lanes<Arch>(Ops<Arch>::bits(within[u]), s + i + u * lanes,
                                       begin + i + u * lanes);
      }
    }
  }

  HEED_INLINE SampledToken draw(const LogitWeights<Arch>& weights) const {
    std::uint64_t total = 0;
    for_each_chunk(row_.length,
                   [&](std::int64_t begin, std::int64_t) { total += sums_[begin / kWeightChunk]; });
    std::uint64_t left = multiply_high(request_.random, total);
    std::int64_t begin = 0;
    for (const std::uint64_t* sum = sums_; left >= *sum; ++sum) {
      left -= *sum;
      begin += kWeightChunk;
    }
    alignas(kAlignment) float s[kWeightChunk];
    const std::int64_t rest = row_.length - begin;
    write_weights(weights, row_.z + begin, rest < kWeightChunk ? rest : kWeightChunk, s);
    for (std::int64_t i = 0;; ++i) {
      if (!cut_.keeps(s[i], row_.z, begin + i)) continue;
      const std::uint64_t units = units_of(s[i]);
      if (left >= units) {
        left -= units;
        continue;
      }
      const std::int64_t place = begin + i;
      const double share = static_cast<double>(units) / static_cast<double>(total);
      return {row_.numbers == nullptr ? static_cast<std::int32_t>(place) : row_.numbers[place],
              static_cast<float>(share)};
    }
  }

  static HEED_INLINE void write_weights(const LogitWeights<Arch>& weights, const float* z,
                                        std::int64_t count, float* s) {
    for_each_vector<Arch, kAccumulators>(
        count, [&](auto access, int, std::int64_t i) __attribute__((always_inline)) {
          access.store(s + i, weights(access.load(z + i, -__builtin_inff())));
        });
  }

  const SampledRow& request_;
  LogitRow row_;
  std::uint64_t* sums_;
  TokenList list_, work_;
  Cut cut_;
};

template <class Arch>
SampledToken sample_row(const SampledRow& row) {
  if (row.type == DType::f32) {
    return RowSampler<Arch>(row, reinterpret_cast<const float*>(row.logits)).sample();
  }
  widen_row<Arch>(row.type, row.logits, row.length, row.scratch.logits);
  return RowSampler<Arch>(row, row.scratch.logits).sample();
}

}  // namespace
}  // namespace heed::kernels
