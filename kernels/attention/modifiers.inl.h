// What changes logits between products and weights, in this order (docs/canonical-row.md):
//
//   softcap   t = tanh(t) · (c · unit)         t is q·k · scale / c; Gemma 2 (arXiv 2408.00118)
//   ALiBi     t = t + slope · unit · (j − i)   Press et al. (arXiv 2108.12409)
//   bias      t = t + b · unit
//
// with unit = log2 e / T. Rows may have temperatures, and with them factors, of their own; with
// pairs these meet the logits first. Each is a pass over logits in L1, done only where it is asked
// for: a load, a store and an operation or two for each vector of them, and for a softcap a dozen.
#pragma once

#include "kernels/attention/rows.inl.h"
#include "kernels/attention/temperatures.inl.h"
#include "kernels/attention/visible.inl.h"
#include "kernels/interface.h"
#include "kernels/scratch.h"
#include "kernels/vector/lanes.inl.h"
#include "kernels/vector/simd.inl.h"
#include "kernels/vector/tanh.inl.h"

namespace heed::kernels {
namespace {

// The modifiers of a vector of logits.

template <class Arch>
HEED_INLINE Vec<Arch> with_softcap(Vec<Arch> t, Vec<Arch> cap) {
  return tanh_of<Arch>(t) * cap;
}

/// `distance` is that from the queries to the keys, which is negative for keys before.
template <class Arch>
HEED_INLINE Vec<Arch> with_alibi(Vec<Arch> t, Vec<Arch> slope, Integers<Arch> distance) {
  return Ops<Arch>::fma(slope, Ops<Arch>::to_floats(distance), t);
}

/// A bias of −∞ hides the key, whatever its logit and the unit are.
template <class Arch>
HEED_INLINE Vec<Arch> with_bias(Vec<Arch> t, Vec<Arch> bias, Vec<Arch> unit) {
  const Vec<Arch> hidden = splat<Arch>(-__builtin_inff());
  return Ops<Arch>::select(bias == hidden, hidden, t + bias * unit);
}

/// Whether logits change before they become weights.
HEED_INLINE bool modifies(const AttentionShape& shape, const AttentionItem& item) {
  return shape.softcap > 0.0F || item.slopes != nullptr || item.bias != nullptr ||
         (shape.pairs && item.temperatures != nullptr);
}

/// The terms of a query row's logits that depend on its head and its position.
struct RowTerms {
  /// The key position that it stands at. Its distances to keys fit 32 bits, as the numbers of
  /// queries and of keys do.
  std::int32_t position;
  float slope;            ///< to base 2; 0 without ALiBi
  const std::byte* bias;  ///< of key 0; null without biases
  LogitFactors factors;
};

HEED_INLINE RowTerms terms_of(const AttentionShape& shape, const AttentionItem& item,
                              std::int32_t row, const LogitFactors& factors) {
  const std::int32_t token = row / shape.group, head = row % shape.group;
  TokenPlace place{0, token, item.query_position + token};
  if (item.places != nullptr) place = item.places[token];
  RowTerms terms{static_cast<std::int32_t>(place.position), 0.0F, nullptr, factors};
  if (item.slopes != nullptr) terms.slope = item.slopes[head] * factors.unit;
  if (item.bias != nullptr) {
    terms.bias = item.bias + place.sequence * item.bias_sequence +
                 place.token * item.bias_stride.token + head * item.bias_stride.head;
  }
  return terms;
}

/// The terms of rows that are lanes.
struct TermLanes {
  std::int32_t* position;
  float* slope;
  const std::byte** bias;
  float *query, *unit, *softcap;  ///< the factors
  static_assert(sizeof(*position) + sizeof(*slope) + sizeof(*bias) + sizeof(LogitFactors) ==
                kTermsFloats * sizeof(float));

  static HEED_INLINE TermLanes at(float* memory, std::ptrdiff_t width) {
    return {reinterpret_cast<std::int32_t*>(memory),
            memory + width,
            reinterpret_cast<const std::byte**>(memory + 2 * width),
            memory + 4 * width,
            memory + 5 * width,
            memory + 6 * width};
  }
  /// The terms from this lane on.
  HEED_INLINE TermLanes from(std::ptrdiff_t lane) const {
    return {position + lane, slope + lane, bias + lane, query + lane, unit + lane, softcap + lane};
  }
  HEED_INLINE void set(std::ptrdiff_t lane, const RowTerms& terms) const {
    position[lane] = terms.position;
    slope[lane] = terms.slope;
    bias[lane] = terms.bias;
    query[lane] = terms.factors.query;
    unit[lane] = terms.factors.unit;
    softcap[lane] = terms.factors.softcap;
  }
};

/// The bias of a key on, in a row whose keys have biases of their own.
HEED_INLINE const std::byte* bias_of(const AttentionShape& shape, const std::byte* row,
                                     std::ptrdiff_t key) {
  return row + key * (shape.bias_type == DType::f32 ? 4 : 2);
}

/// The one bias of a row.
template <class Arch>
HEED_INLINE float single_bias(const AttentionShape& shape, const std::byte* row) {
  alignas(kAlignment) float buffer[kLanes<Arch>];
  return *as_floats<Arch>(shape.bias_type, row, 1, buffer);
}

/// Multiplies logits, of whole vectors.
template <class Arch>
void scale_logits(float* t, std::ptrdiff_t count, float factor) {
  for (std::ptrdiff_t i = 0; i < count; i += kLanes<Arch>) {
    store<Arch>(t + i, load<Arch>(t + i) * splat<Arch>(factor));
  }
}

/// Caps logits, of whole vectors.
template <class Arch>
__attribute__((noinline)) void cap_logits(float* t, std::ptrdiff_t count, float cap) {
  for (std::ptrdiff_t i = 0; i < count; i += kLanes<Arch>) {
    store<Arch>(t + i, with_softcap<Arch>(load<Arch>(t + i), splat<Arch>(cap)));
  }
}

/// Logits with a vector of query rows for each key, as prefill has them, `width` floats apart: row
/// j is that of key first + j, or, with pairs whose keys are swapped, first + (j ^ 1).
template <class Arch>
struct LogitColumns {
  float* t;
  std::ptrdiff_t width;
  std::int32_t first, count;
  bool swapped;

  HEED_INLINE float* at(std::int32_t key) const {
    return t + ((key - first) ^ (swapped ? 1 : 0)) * width;
  }
};

/// Scales and caps logits of rows that have factors of their own, of which a softcap of 0 is none.
template <class Arch>
__attribute__((noinline)) void apply_factors(const AttentionShape& shape,
                                             const LogitColumns<Arch>& logits,
                                             const TermLanes& rows) {
  const Vec<Arch> query = load<Arch>(rows.query), cap = load<Arch>(rows.softcap);
  const Mask<Arch> uncapped = cap == splat<Arch>(0.0F);
  for (std::int32_t j = 0; j < logits.count; ++j) {
    float* const to = logits.t + j * logits.width;
    Vec<Arch> t = load<Arch>(to);
    if (shape.pairs) t = t * query;
    if (shape.softcap > 0.0F) t = Ops<Arch>::select(uncapped, t, with_softcap<Arch>(t, cap));
    store<Arch>(to, t);
  }
}

template <class Arch>
__attribute__((noinline)) void add_alibi(const LogitColumns<Arch>& logits, const TermLanes& rows) {
  const Vec<Arch> slope = load<Arch>(rows.slope);
  const auto position = Integers<Arch>::load_unaligned(rows.position);
  for (std::int32_t key = logits.first; key < logits.first + logits.count; ++key) {
    float* const t = logits.at(key);
    store<Arch>(t, with_alibi<Arch>(load<Arch>(t), slope, Integers<Arch>(key) - position));
  }
}

/// Keys whose biases are widened at a time.
inline constexpr std::int32_t kWidenedBiases = 64;

/// Adds the biases of some keys, of which those of as many as there are lanes become columns.
template <class Arch>
__attribute__((noinline)) void add_biases(const AttentionShape& shape,
                                          const LogitColumns<Arch>& logits, KeyInterval keys,
                                          const TermLanes& rows) {
  constexpr int lanes = kLanes<Arch>;
  alignas(kAlignment) float widened[lanes * kWidenedBiases];
  const Vec<Arch> unit = load<Arch>(rows.unit);
  const float* row[lanes];
  const bool widens = shape.bias_type != DType::f32;
  // The next tile's biases of the rows are prefetched: too many rows for prefetchers to follow.
  const std::ptrdiff_t ahead = widens ? 0 : shape.tile_keys;
  Vec<Arch> bias[lanes];
  const auto add = [&](std::int32_t key, std::int32_t count) {
#pragma GCC unroll 16
    for (int i = 0; i < lanes; ++i) {
      if (i >= count) break;
      float* const t = logits.at(key + i);
      store<Arch>(t, with_bias<Arch>(load<Arch>(t), bias[i], unit));
    }
  };
  for (std::int32_t begin = keys.first; begin < keys.last; begin += kWidenedBiases) {
    const std::int32_t left = keys.last - begin;
    const std::int32_t count = left < kWidenedBiases ? left : kWidenedBiases;
    for (int i = 0; i < lanes; ++i) {
      row[i] = as_floats<Arch>(shape.bias_type, bias_of(shape, rows.bias[i], begin), count,
                               widened + i * kWidenedBiases);
      if (!widens) continue;
      const std::byte* const next =
          bias_of(shape, rows.bias[i], std::ptrdiff_t{begin} + shape.tile_keys);
      const std::byte* const end = bias_of(shape, next, kWidenedBiases);
      for (const std::byte* line = next; line < end; line += kAlignment) {
        __builtin_prefetch(line, 0, 2);
      }
    }
    std::int32_t j = 0;
    for (; j + lanes <= count; j += lanes) {
      Ops<Arch>::load_transposed([&](int lane) { return row[lane] + j; }, bias);
#pragma GCC unroll 16
      for (int i = 0; i < lanes; ++i) __builtin_prefetch(row[i] + j + ahead, 0, 2);
      add(begin + j, lanes);
    }
    if (j == count) continue;
    const MaskedVector<Arch> rest(count - j);
#pragma GCC unroll 16
    for (int i = 0; i < lanes; ++i) bias[i] = rest.load(row[i] + j, 0.0F);
    Ops<Arch>::transpose(bias);
    add(begin + j, count - j);
  }
}

/// The same where each row has one bias for all keys.
template <class Arch>
void add_single_biases(const AttentionShape& shape, const LogitColumns<Arch>& logits,
                       const TermLanes& rows) {
  alignas(kAlignment) float biases[kLanes<Arch>];
  for (int i = 0; i < kLanes<Arch>; ++i) biases[i] = single_bias<Arch>(shape, rows.bias[i]);
  const Vec<Arch> bias = load<Arch>(biases), unit = load<Arch>(rows.unit);
  for (std::int32_t j = 0; j < logits.count; ++j) {
    float* const t = logits.t + j * logits.width;
    store<Arch>(t, with_bias<Arch>(load<Arch>(t), bias, unit));
  }
}

/// Adds what depends on heads and positions to the logits of a vector of rows. `keys` are those
/// that the item has among the keys of the logits: others have no biases.
template <class Arch>
HEED_INLINE void add_terms(const AttentionShape& shape, const AttentionItem& item,
                           const LogitColumns<Arch>& logits, KeyInterval keys,
                           const TermLanes& rows) {
  if (item.slopes != nullptr) add_alibi<Arch>(logits, rows);
  if (item.bias == nullptr) return;
  if (shape.bias_per_key) {
    add_biases<Arch>(shape, logits, keys, rows);
  } else {
    add_single_biases<Arch>(shape, logits, rows);
  }
}

/// Modifies the logits of one row, as decode has them: those of `count` keys from this key on. The
/// last vector may become anything past them.
template <class Arch>
__attribute__((noinline)) void modify_row(const AttentionShape& shape, const AttentionItem& item,
                                          const LogitFactors& factors, float* t, std::int32_t first,
                                          std::int32_t count, std::int32_t row) {
  constexpr int lanes = kLanes<Arch>;
  const auto whole = static_cast<std::ptrdiff_t>(padded(count, lanes));
  if (factors.softcap > 0.0F) cap_logits<Arch>(t, whole, factors.softcap);
  if (item.slopes == nullptr && item.bias == nullptr) return;
  const RowTerms terms = terms_of(shape, item, row, factors);
  if (item.slopes != nullptr) {
    alignas(kAlignment) std::int32_t steps[lanes];
    for (int i = 0; i < lanes; ++i) steps[i] = i;
    const auto step = Integers<Arch>::load_unaligned(steps);
    for (std::int32_t j = 0; j < count; j += lanes) {
      const Integers<Arch> distance = step + Integers<Arch>(first + j - terms.position);
      store<Arch>(t + j, with_alibi<Arch>(load<Arch>(t + j), splat<Arch>(terms.slope), distance));
    }
  }
  if (item.bias == nullptr) return;
  const Vec<Arch> unit = splat<Arch>(factors.unit);
  if (!shape.bias_per_key) {
    const Vec<Arch> bias = splat<Arch>(single_bias<Arch>(shape, terms.bias));
    for (std::int32_t j = 0; j < count; j += lanes) {
      store<Arch>(t + j, with_bias<Arch>(load<Arch>(t + j), bias, unit));
    }
    return;
  }
  alignas(kAlignment) float widened[kPartitionKeys];
  const float* const biases =
      as_floats<Arch>(shape.bias_type, bias_of(shape, terms.bias, first), count, widened);
  for_each_vector<Arch, 1>(count, [&](auto access, int, std::int64_t j) {
    store<Arch>(t + j, with_bias<Arch>(load<Arch>(t + j), access.load(biases + j, 0.0F), unit));
  });
}

}  // namespace
}  // namespace heed::kernels
