// What the weights of query rows tell, from the pass that computes outputs.
//
//   w_j = p_j / l        entropy = −Σ w ln w = (log2 l − Σ p·(t − m) / l) · ln 2
//
// Weights p stay where the prefill kernel made them, as pieces: those of some vectors of rows for
// some keys, with the m that they are relative to, their sum and their Σ p·(t − m). Once m and l of
// all keys are known, each piece is read once more, from L2 or L3, and its weights become rows, a
// vector of keys at a time. A sink is one more choice: it takes weight and adds to the entropy.
// Masses of groups that divide a vector are summed over the vectors of a block first, so that they
// depend on its shape, and with it on the ISA. Memory: a float for each row and key of an item.
#pragma once

#include "kernels/attention/block.inl.h"
#include "kernels/attention/rows.inl.h"
#include "kernels/attention/temperatures.inl.h"
#include "kernels/attention/weights.inl.h"
#include "kernels/interface.h"
#include "kernels/scratch.h"
#include "kernels/vector/lanes.inl.h"
#include "kernels/vector/log.inl.h"

namespace heed::kernels {
namespace {

/// In memory m, Σ p and Σ p·(t − m) of each row follow, a row of `width` floats each, and then the
/// weights, `width` floats for each key or, where two keys share a float, for each pair.
struct Piece {
  std::int32_t first_row, width;  ///< of the item's rows: whole vectors
  std::int32_t key, keys;         ///< the first one, and how many
  float* end;

  HEED_INLINE float* told() { return reinterpret_cast<float*>(this) + kPieceFloats; }
  HEED_INLINE float* weights() { return told() + kToldFloats * static_cast<std::size_t>(width); }
};
static_assert(sizeof(Piece) <= kPieceFloats * sizeof(float));

/// The largest weights of a row, the larger ones first and of equal ones the earlier key.
struct LargestWeights {
  float* weights = nullptr;
  std::int32_t* keys = nullptr;
  std::int32_t count = 0;

  void clear() const {
    for (std::int32_t i = 0; i < count; ++i) weights[i] = 0.0F, keys[i] = -1;
  }

  /// What a weight must be above to be one of them.
  float least() const { return weights[count - 1]; }

  void insert(float weight, std::int32_t key) const {
    std::int32_t i = count - 1;
    for (; i > 0 && weight > weights[i - 1]; --i) {
      weights[i] = weights[i - 1];
      keys[i] = keys[i - 1];
    }
    weights[i] = weight;
    keys[i] = key;
  }
};

/// The rows of a vector, which are lanes of weights: what is known of all of their keys, and what
/// they are asked for.
template <class Arch>
class ToldRows {
 public:
  static constexpr int kRows = kLanes<Arch>;
  using V = Vec<Arch>;

  /// Of `count` rows from row `first` of the item on, whose keys have the state `state`.
  void begin(const AttentionShape& shape, const AttentionItem& item, const State& state,
             std::int32_t first, std::int32_t count) {
    shape_ = &shape, item_ = &item;
    first_ = item.row_begin + first;
    const V zero = splat<Arch>(0.0F);
    m_ = load<Arch>(state.m), l_ = load<Arch>(state.l), e_ = zero;
    scale_ = Ops<Arch>::select(l_ == zero, zero, Ops<Arch>::divide(splat<Arch>(1.0F), l_));
    largest_ = zero, largest_key_ = Ops<Arch>::as_floats(Integers<Arch>(-1));
    alignas(kAlignment) float told[kRows];
    for (std::int32_t i = 0; i < kRows; ++i) {
      told_[i] = i < count && writes_row(shape, item, first_ + i);
      told[i] = told_[i] ? 1.0F : 0.0F;
      least_[i] = told_[i] ? 0.0F : __builtin_inff();
      if (!told_[i]) continue;
      if (asked().top > 1) largest_of(i).clear();
      clear_weights(i);
    }
    shown_ = load<Arch>(told) > zero;
  }

  /// Adds the logits of a piece, whose told() of these rows this is. Returns what its weights are
  /// to be multiplied with.
  V add_logits(const float* told, std::ptrdiff_t width) {
    const V m = load<Arch>(told), l = load<Arch>(told + width), e = load<Arch>(told + 2 * width);
    const V factor = weights_by_rule().rescale(m, m_), zero = splat<Arch>(0.0F);
    e_ = e_ + Ops<Arch>::select(factor == zero, zero, (e + (m - m_) * l) * factor);
    return factor * scale_;
  }

  /// Adds the rows' sinks, which are one more choice.
  void add_sinks(const float* units) {
    alignas(kAlignment) float sinks[kRows];
    for (std::int32_t i = 0; i < kRows; ++i) {
      sinks[i] = item_->sinks[(first_ + i) % shape_->group];
    }
    const V own = load<Arch>(sinks), zero = splat<Arch>(0.0F);
    const V unit = item_->temperatures == nullptr ? splat<Arch>(shape_->unit) : load<Arch>(units);
    const SinkState<Arch> sink(weights_by_rule(), own, unit);
    const V p = sink.l * weights_by_rule().rescale(sink.m, m_);
    e_ = e_ + Ops<Arch>::select(p > zero, p * (own * unit - m_), zero);
  }

  /// The weights of a key in the rows that are told of; 0 in others.
  HEED_INLINE V weights(V p, V factor) const {
    return Ops<Arch>::select(shown_, p * factor, splat<Arch>(0.0F));
  }

  /// Looks for the largest one among the weights of a key.
  HEED_INLINE void compare(V w, std::int32_t key) {
    const Mask<Arch> larger = w > largest_;
    largest_ = Ops<Arch>::select(larger, w, largest_);
    largest_key_ =
        Ops<Arch>::select(larger, Ops<Arch>::as_floats(Integers<Arch>(key)), largest_key_);
  }

  /// Takes the weights of `count` keys, a row of kRows floats for each query row.
  void take(const float* rows, std::int32_t key, std::int32_t count) {
    if (asked().mass != nullptr && kRows % shape_->group != 0) add_masses(rows, key, count);
    if (asked().top > 1) insert(rows, key, count);
    if (asked().weights != nullptr) write(rows, key, count);
  }

  /// Adds rows of weights to the masses of their heads, in order; also sums of them in which each
  /// row is of the same head in all.
  void add_masses(const float* rows, std::int32_t key, std::int32_t count) const {
    if (count == kRows) return add_masses(FullVector<Arch>(), rows, key);
    add_masses(MaskedVector<Arch>(count), rows, key);
  }

  void finish() const {
    alignas(kAlignment) float l[kRows], e[kRows], weight[kRows], key[kRows];
    store<Arch>(l, l_), store<Arch>(e, e_);
    store<Arch>(weight, largest_), store<Arch>(key, largest_key_);
    const RowMap map{shape_->group, asked().row_stride};
    for (int i = 0; i < kRows; ++i) {
      if (!told_[i]) continue;
      if (asked().entropy != nullptr) asked().entropy[map.offset(first_ + i)] = entropy(l[i], e[i]);
      if (asked().top != 1) continue;
      asked().top_weights[map.offset(first_ + i)] = weight[i];
      __builtin_memcpy(asked().top_keys + map.offset(first_ + i), key + i, sizeof(float));
    }
  }

 private:
  WeightsBy<Arch> weights_by_rule() const { return WeightsBy<Arch>(shape_->rule); }
  const Explanation& asked() const { return *item_->explanation; }

  LargestWeights largest_of(std::int32_t i) const {
    const std::ptrdiff_t place =
        RowMap{shape_->group, asked().row_stride}.offset(first_ + i) * asked().top;
    return {asked().top_weights + place, asked().top_keys + place, asked().top};
  }

  /// The weight of a key in a row.
  std::byte* weight(std::int32_t i, std::int32_t key) const {
    const std::ptrdiff_t bytes = asked().type == DType::f32 ? 4 : 2;
    return asked().weights + RowMap{shape_->group, asked().weight_stride}.offset(first_ + i) +
           key * bytes;
  }

  void clear_weights(std::int32_t i) const {
    if (asked().weights == nullptr) return;
    for (std::byte* to = weight(i, 0); to < weight(i, item_->keys); ++to) *to = std::byte{0};
  }

  template <class Access>
  HEED_INLINE void add_masses(Access access, const float* rows, std::int32_t key) const {
    const std::int32_t group = shape_->group, heads = group < kRows ? group : kRows;
    for (std::int32_t i = 0; i < heads; ++i) {
      float* const mass = asked().mass + (first_ + i) % group * asked().mass_stride + key;
      V sum = access.load(mass, 0.0F);
      for (std::int32_t row = i; row < kRows; row += group) {
        sum = sum + load<Arch>(rows + row * kRows);
      }
      access.store(mass, sum);
    }
  }

  void insert(const float* rows, std::int32_t key, std::int32_t count) {
    for (std::int32_t i = 0; i < kRows; ++i) {
      const V own = load<Arch>(rows + i * kRows);
      if (!Ops<Arch>::any(own > splat<Arch>(least_[i]))) continue;
      const LargestWeights row = largest_of(i);
      for (std::int32_t j = 0; j < count; ++j) {
        const float w = rows[i * kRows + j];
        if (w > row.least()) row.insert(w, key + j);
      }
      least_[i] = row.least();
    }
  }

  void write(const float* rows, std::int32_t key, std::int32_t count) const {
    for (std::int32_t i = 0; i < kRows; ++i) {
      if (told_[i]) narrow_row<Arch>(asked().type, rows + i * kRows, count, weight(i, key));
    }
  }

  static float entropy(float l, float e) {
    if (l == 0.0F) return 0.0F;
    if (!(l <= __FLT_MAX__)) return __builtin_nanf("");
    constexpr double ln2 = 0.693147180559945309417;
    const double h = (log2_of(l) - static_cast<double>(e) / static_cast<double>(l)) * ln2;
    return h > 0.0 ? static_cast<float>(h) : 0.0F;
  }

  alignas(kAlignment) float least_[kRows];  ///< what weights must be above to be among the largest
  V m_, l_, scale_;                         ///< of all keys, and 1 / l
  V e_;                                     ///< Σ p·(t − m)
  V largest_, largest_key_;
  Mask<Arch> shown_;  ///< told_ as lanes
  const AttentionShape* shape_;
  const AttentionItem* item_;
  std::int32_t first_;  ///< of the rows of the KV head
  bool told_[kRows];    ///< rows that there are, with weights of the rule
};

/// Keeps the pieces of an item, and tells what its blocks of rows, of at most `Widest` vectors, are
/// asked. Weights are of products P.
template <class Arch, class P, int Widest>
class Explainer {
 public:
  Explainer(const AttentionShape& shape, const AttentionItem& item)
      : shape_(shape), item_(item), swapped_(!P::kPairs && shape.pairs ? 1 : 0) {
    clear();
  }

  void clear() { end_ = item_.explanation == nullptr ? nullptr : item_.explanation->memory; }

  /// The place of a piece, into which its weights may be computed.
  Piece& begin(std::int32_t first_row, std::int32_t width, std::int32_t key, std::int32_t keys) {
    auto& piece = *reinterpret_cast<Piece*>(end_);
    piece = {first_row, width, key, keys, nullptr};
    return piece;
  }

  /// Keeps the piece that was begun.
  void keep(Piece& piece) {
    const std::int32_t rows = P::kPairs ? piece.keys / 2 : piece.keys;
    end_ = piece.end = piece.weights() + static_cast<std::ptrdiff_t>(rows) * piece.width;
  }

  /// Tells of a block's rows, with the state of all of their keys.
  __attribute__((noinline)) void tell(const Block& b, const State& state) const {
    Rows rows[Widest];
    for (std::int32_t v = 0; v < b.vectors; ++v) {
      const std::int32_t lane = v * kRows, left = b.rows - lane;
      rows[v].begin(shape_, item_, state.from(lane), b.first_row + lane,
                    left < kRows ? left : kRows);
      if (item_.sinks != nullptr) rows[v].add_sinks(b.terms.unit + lane);
    }
    Piece* next = nullptr;
    for (float* at = item_.explanation->memory; at < end_; at = next->end) {
      next = reinterpret_cast<Piece*>(at);
      const std::int32_t lane = next->first_row - b.first_row;
      if (lane >= 0 && lane < b.width) read<Widest>(*next, rows + lane / kRows);
    }
    for (std::int32_t v = 0; v < b.vectors; ++v) rows[v].finish();
  }

 private:
  static constexpr int kRows = kLanes<Arch>;
  using Rows = ToldRows<Arch>;

  /// Reads a piece of as many vectors, those of `rows`.
  template <int Count>
  void read(Piece& piece, Rows* rows) const {
    if constexpr (Count > 1) {
      if (piece.width < Count * kRows) return read<Count - 1>(piece, rows);
    }
    const Explanation& asked = *item_.explanation;
    Vec<Arch> factors[Count];
    for (int v = 0; v < Count; ++v) {
      factors[v] = rows[v].add_logits(piece.told() + v * kRows, piece.width);
    }
    const bool of_heads = kRows % shape_.group == 0;
    if ((asked.mass != nullptr && of_heads) || asked.top == 1) {
      sum_vectors<Count>(piece, factors, rows);
    }
    if ((asked.mass != nullptr && !of_heads) || asked.top > 1 || asked.weights != nullptr) {
      for (int v = 0; v < Count; ++v) {
        for_each_vector_of_keys<1>(piece, factors + v, v, rows + v, false,
                                   [&](const float* told, std::int32_t key, std::int32_t count) {
                                     rows[v].take(told, key, count);
                                   });
      }
    }
  }

  /// Looks for the largest weights, and adds them to the masses, those of all vectors together.
  template <int Count>
  __attribute__((noinline)) void sum_vectors(Piece& piece, const Vec<Arch> (&factors)[Count],
                                             Rows* rows) const {
    for_each_vector_of_keys<Count>(
        piece, factors, 0, rows, true,
        [&](const float* told, std::int32_t key, std::int32_t count) {
          if (item_.explanation->mass != nullptr && kRows % shape_.group == 0) {
            rows->add_masses(told, key, count);
          }
        });
  }

  /// Calls take(rows, key, count) for the weights of a vector of keys after the other, as rows:
  /// those of `Count` vectors of query rows from vector `first` of the piece on, summed.
  template <int Count, class Take>
  HEED_INLINE void for_each_vector_of_keys(Piece& piece, const Vec<Arch>* factors,
                                           std::int32_t first, Rows* rows, bool compares,
                                           const Take& take) const {
    const float* const p = piece.weights() + first * kRows;
    const std::int32_t last = item_.keys - piece.key;
    const std::int32_t keys = piece.keys < last ? piece.keys : last;
    alignas(kAlignment) float told[kRows * kRows];
    for (std::int32_t j = 0; j < keys; j += kRows) {
      const std::int32_t count = keys - j < kRows ? keys - j : kRows;
      Vec<Arch> sum[kRows];
#pragma GCC unroll 16
      for (std::int32_t i = 0; i < kRows; ++i) {
        sum[i] = splat<Arch>(0.0F);
        if (i >= count) continue;
#pragma GCC unroll 4
        for (int v = 0; v < Count; ++v) {
          const Vec<Arch> w =
              rows[v].weights(weights_of(p + v * kRows, piece.width, j + i), factors[v]);
          if (compares) rows[v].compare(w, piece.key + j + i);
          sum[i] = v == 0 ? w : sum[i] + w;
        }
      }
      Ops<Arch>::transpose(sum);
#pragma GCC unroll 16
      for (int i = 0; i < kRows; ++i) store<Arch>(told + i * kRows, sum[i]);
      take(told, piece.key + j, count);
    }
  }

  /// Key j of a piece, in a vector of rows.
  HEED_INLINE Vec<Arch> weights_of(const float* p, std::int32_t width, std::int32_t j) const {
    if constexpr (!P::kPairs) return load<Arch>(p + (j ^ swapped_) * width);
    const auto pair = Ops<Arch>::as_integers(load<Arch>(p + j / 2 * width));
    return Ops<Arch>::as_floats(j % 2 == 0 ? pair << 16 : pair & Integers<Arch>(-0x10000));
  }

  const AttentionShape& shape_;
  const AttentionItem& item_;
  std::int32_t swapped_;  ///< 1 where the second key of a pair lies first
  float* end_;
};

}  // namespace
}  // namespace heed::kernels
