// Softmax in the stream: from a tile of logits to weights, a running maximum and a running sum.
//
//   exponential   p = 2^(t − m) taken as poly(t − floor(t)) · 2^(floor(t) − m), m an integer
//   argmax        p = (t == m), m the largest t itself
//
// m being an integer, rescaling by 2^(m − m') is exact: when and how often m moves leaves no trace
// in the result, so it moves only when it must. Error of p: the polynomial's and the rounding of t.
// Memory: the tile is read twice and written once, in L1.
#pragma once

#include "kernels/interface.h"
#include "kernels/vector/exp.inl.h"
#include "kernels/vector/simd.inl.h"

namespace heed::kernels {
namespace {

/// m of a row that has seen no key: below every finite logit, yet safe to subtract.
inline constexpr float kNoMaximum = -3.402823466e38F;

/// Weights below 2^kLowestExponent are 0. The contract lets weights under 2⁻¹⁰⁰ of the row's
/// largest go, and m never exceeds the row's largest; products with values above 2⁻¹⁶ then stay
/// normal, so that neither rescaling rounds nor denormal operands slow the pipes.
inline constexpr float kLowestExponent = -110.0F;

/// m follows only a logit that is more than this above it; integers of any size that differ by more
/// also do so as floats. Weights stay below 2^(kRescaleThreshold + 1); a row of n
/// keys has |O| < n · 2^(kRescaleThreshold + 1) · max|v|, finite for |v| up to 2^(127 − 9) / n: 2⁹⁴
/// ≈ 2e28 at n = 2²⁴.
inline constexpr float kRescaleThreshold = 8.0F;

/// A power of two that may be too small for a float, as a product of three. The last factor is as
/// small as it can be, so that no product before it rounds, unless the result is 0 anyway.
template <class Arch>
struct FarFactor {
  Vec<Arch> first, second, last;
  HEED_INLINE Vec<Arch> operator()(Vec<Arch> x) const { return x * first * second * last; }
};

/// The exponent of a factor at least: three of them make the largest float 0.
inline constexpr float kFarExponent = -125.0F;

template <class Arch, WeightRule Rule>
struct Weights;

template <class Arch>
struct Weights<Arch, WeightRule::exponential> {
  using V = Vec<Arch>;
  static HEED_INLINE V candidate(V top) { return Ops<Arch>::floor(top); }
  static HEED_INLINE Mask<Arch> moves(V candidate, V m) {
    return candidate - m > splat<Arch>(kRescaleThreshold);
  }
  static HEED_INLINE V weight(V t, V m) {
    const V whole = Ops<Arch>::floor(t);
    return Ops<Arch>::scale_weight(exp2_mantissa<Arch>(t - whole), whole - m,
                                   splat<Arch>(kLowestExponent));
  }
  /// The factor that takes sums relative to `from` to sums relative to `to` ≥ from.
  static HEED_INLINE V rescale(V from, V to) {
    return Ops<Arch>::scale_weight(splat<Arch>(1.0F), from - to, splat<Arch>(kLowestExponent));
  }
  /// The same for outputs that nothing larger is added to, so that small ones count.
  static HEED_INLINE FarFactor<Arch> rescale_far(V from, V to) {
    const V lowest = splat<Arch>(kFarExponent);
    const auto part = [&](V n) { return Ops<Arch>::max(lowest, n); };
    const auto power = [&](V n) { return Ops<Arch>::scale_weight(splat<Arch>(1.0F), n, lowest); };
    const V n = from - to, last = part(n), second = part(n - last);
    return {power(part(n - last - second)), power(second), power(last)};
  }
};

template <class Arch>
struct Weights<Arch, WeightRule::argmax> {
  using V = Vec<Arch>;
  static HEED_INLINE V candidate(V top) { return top; }
  static HEED_INLINE Mask<Arch> moves(V candidate, V m) { return candidate > m; }
  /// A logit is below m, equal to it, or NaN and passed on.
  static HEED_INLINE V weight(V t, V m) {
    return Ops<Arch>::select(t < m, splat<Arch>(0.0F),
                             Ops<Arch>::select(t == m, splat<Arch>(1.0F), t));
  }
  static HEED_INLINE V rescale(V from, V to) {
    return Ops<Arch>::select(from == to, splat<Arch>(1.0F), splat<Arch>(0.0F));
  }
  static HEED_INLINE FarFactor<Arch> rescale_far(V from, V to) {
    return {splat<Arch>(1.0F), splat<Arch>(1.0F), rescale(from, to)};
  }
};

/// The weights of a rule that is known at run time, for what merges states, adds sinks and tells
/// weights. What makes weights of all logits is compiled for each rule.
template <class Arch>
class WeightsBy {
 public:
  using V = Vec<Arch>;
  HEED_INLINE explicit WeightsBy(WeightRule rule) : argmax_(rule == WeightRule::argmax) {}

  HEED_INLINE V candidate(V top) const {
    return argmax_ ? Argmax::candidate(top) : Exponential::candidate(top);
  }
  HEED_INLINE V weight(V t, V m) const {
    return argmax_ ? Argmax::weight(t, m) : Exponential::weight(t, m);
  }
  HEED_INLINE V rescale(V from, V to) const {
    return argmax_ ? Argmax::rescale(from, to) : Exponential::rescale(from, to);
  }
  HEED_INLINE FarFactor<Arch> rescale_far(V from, V to) const {
    return argmax_ ? Argmax::rescale_far(from, to) : Exponential::rescale_far(from, to);
  }

 private:
  using Argmax = Weights<Arch, WeightRule::argmax>;
  using Exponential = Weights<Arch, WeightRule::exponential>;

  bool argmax_;
};

/// The state of a block's rows over a range of keys: maximum, sum and Oᵀ (value_head_dim rows), all
/// relative to m. `width` floats a row.
struct State {
  float* m;
  float* l;
  float* o;

  static HEED_INLINE State at(float* memory, std::ptrdiff_t width) {
    return {memory, memory + width, memory + 2 * width};
  }
  /// The state from this lane on.
  HEED_INLINE State from(std::ptrdiff_t lane) const { return {m + lane, l + lane, o + lane}; }
};

template <class Arch>
HEED_INLINE void clear_sums(State state, std::ptrdiff_t width) {
  for (std::ptrdiff_t x = 0; x < width; x += kLanes<Arch>) {
    store<Arch>(state.m + x, splat<Arch>(kNoMaximum));
    store<Arch>(state.l + x, splat<Arch>(0.0F));
  }
}

template <class Arch>
HEED_INLINE void scale_output(float* o, std::ptrdiff_t width, std::ptrdiff_t dims,
                              Vec<Arch> factor) {
  for (std::ptrdiff_t x = 0; x < dims; ++x, o += width) store<Arch>(o, load<Arch>(o) * factor);
}

/// What the weights of some rows are summed into, and what is known of them.
struct RunningState {
  State state;
  std::ptrdiff_t stride;  ///< of O's rows
  std::ptrdiff_t dims;    ///< O's rows
  bool overwrite;         ///< no key yet: O has not been written, m and l are those of no key
  const float* guess;     ///< what m may be: that of the keys before, in this partition or the last
  /// Null, or where m and, of these keys alone, Σ p and Σ p·(t − m) go: a row of whole vectors
  /// each.
  float* told = nullptr;
};

/// Whether m may be `m`, an m of keys before, where `top` is the largest logit. It may lie any way
/// above it: it is not above the row's largest, which is all that kLowestExponent asks.
template <class Arch>
HEED_INLINE bool may_be_maximum(Vec<Arch> m, Vec<Arch> top) {
  return !Ops<Arch>::any(Ops<Arch>::floor(top) - m > splat<Arch>(kRescaleThreshold));
}

/// Rounds the weights of both keys of a pair to bf16, adds them to l, and writes them to a row of
/// their own.
template <class P, class Arch>
HEED_INLINE void write_pair(Vec<Arch> first, Vec<Arch> second, float* to, Vec<Arch>& l) {
  const Integers<Arch> pair = P::template pack<Arch>(first, second);
  store<Arch>(to, Ops<Arch>::as_floats(pair));
  l = l + Ops<Arch>::as_floats(pair << 16);
  l = l + Ops<Arch>::as_floats(pair & Integers<Arch>(-0x10000));
}

/// The nearest bf16 numbers, ties to even, as floats. Of a NaN whose lower half is 0, a NaN.
template <class Arch>
HEED_INLINE Vec<Arch> nearest_bf16(Vec<Arch> x) {
  using I = Integers<Arch>;
  const I bits = Ops<Arch>::as_integers(x);
  const I lowest = Ops<Arch>::shift_right(bits, 16) & I(1);
  return Ops<Arch>::as_floats((bits + I(0x7FFF) + lowest) & I(-0x10000));
}

/// How the weights of a tile are made and lie.
enum class WeightRows {
  floats,   ///< a row for each key, in order, from logits
  swapped,  ///< bf16 numbers as floats, from logits to be scaled, the second key of a pair first
  packed,   ///< the same, a row for both keys of a pair, from rows in order
};

/// e += p · (t − m), where p is not 0.
template <class Arch>
HEED_INLINE void add_logit(Vec<Arch> p, Vec<Arch> t, Vec<Arch> m, Vec<Arch>& e) {
  e = Ops<Arch>::select(p > splat<Arch>(0.0F), Ops<Arch>::fma(p, t - m, e), e);
}

/// The weights of a tile of logits, key by key: they take their places, and are added to l, and
/// where Told says so their logits to e, which nobody looks at else.
template <class Arch, WeightRule Rule, int Count, WeightRows Form, class P, bool Told>
HEED_INLINE void write_weights(float* tile, std::ptrdiff_t keys, float factor,
                               const Vec<Arch> (&m)[Count], Vec<Arch> (&l)[Count],
                               Vec<Arch> (&e)[Count]) {
  constexpr int lanes = kLanes<Arch>;
  constexpr int width = Count * lanes;
  constexpr std::ptrdiff_t step = Form == WeightRows::floats ? 1 : 2;
  constexpr std::ptrdiff_t first = Form == WeightRows::swapped ? 1 : 0;
  const auto logit = [&](const float* t) {
    if constexpr (Form == WeightRows::floats) return load<Arch>(t);
    return load<Arch>(t) * splat<Arch>(factor);
  };
  for (std::ptrdiff_t j = 0; j < keys; j += step) {
#pragma GCC unroll 8
    for (int v = 0; v < Count; ++v) {
      float* const t = tile + (j + first) * width + v * lanes;
      const Vec<Arch> t_first = logit(t);
      Vec<Arch> p = Weights<Arch, Rule>::weight(t_first, m[v]);
      if constexpr (Form == WeightRows::floats) {
        store<Arch>(t, p);
        l[v] = l[v] + p;
        if constexpr (Told) add_logit<Arch>(p, t_first, m[v], e[v]);
      } else {
        float* const second = tile + (j + 1 - first) * width + v * lanes;
        const Vec<Arch> t_second = logit(second);
        Vec<Arch> other = Weights<Arch, Rule>::weight(t_second, m[v]);
        if constexpr (Told) {
          add_logit<Arch>(nearest_bf16<Arch>(p), t_first, m[v], e[v]);
          add_logit<Arch>(nearest_bf16<Arch>(other), t_second, m[v], e[v]);
        }
        if constexpr (Form == WeightRows::packed) {
          write_pair<P, Arch>(p, other, tile + j / 2 * width + v * lanes, l[v]);
        } else {
          p = nearest_bf16<Arch>(p);
          other = nearest_bf16<Arch>(other);
          store<Arch>(t, p);
          store<Arch>(second, other);
          l[v] = l[v] + p;
          l[v] = l[v] + other;
        }
      }
    }
  }
}

/// The same, and what they tell (RunningState::told).
template <class Arch, WeightRule Rule, int Count, WeightRows Form, class P>
HEED_INLINE void tell_weights(float* tile, std::ptrdiff_t keys, float factor,
                              const Vec<Arch> (&m)[Count], Vec<Arch> (&l)[Count], float* told) {
  constexpr int lanes = kLanes<Arch>;
  constexpr int width = Count * lanes;
  Vec<Arch> e[Count];
#pragma GCC unroll 8
  for (int v = 0; v < Count; ++v) {
    store<Arch>(told + v * lanes, m[v]);
    store<Arch>(told + width + v * lanes, l[v]);
    e[v] = splat<Arch>(0.0F);
  }
  write_weights<Arch, Rule, Count, Form, P, true>(tile, keys, factor, m, l, e);
#pragma GCC unroll 8
  for (int v = 0; v < Count; ++v) {
    float* const sum = told + width + v * lanes;
    store<Arch>(sum, l[v] - load<Arch>(sum));
    store<Arch>(told + 2 * width + v * lanes, e[v]);
  }
}

/// Turns the logits of `keys` keys, an even number but for `floats`, into weights in place, and
/// brings m, l and O up to date. Logits of other forms than `floats` are multiplied by `factor`.
/// Returns whether the guess of m would have been right.
template <class Arch, WeightRule Rule, int Count, WeightRows Form, class P>
__attribute__((noinline)) bool exponentiate(float* tile, std::ptrdiff_t keys,
                                            const RunningState& running, float factor) {
  using W = Weights<Arch, Rule>;
  constexpr int lanes = kLanes<Arch>;
  constexpr int width = Count * lanes;
  const State& state = running.state;
  Vec<Arch> m[Count], l[Count];
#pragma GCC unroll 8
  for (int v = 0; v < Count; ++v) {
    m[v] = splat<Arch>(-__builtin_inff());
    l[v] = load<Arch>(state.l + v * lanes);
  }
  // The largest product with a positive factor is that of the largest logit.
  const bool scale_first = Form != WeightRows::floats && !(factor > 0.0F);
  const float after = scale_first ? 1.0F : factor;
  for (std::ptrdiff_t j = 0; j < keys; ++j) {
#pragma GCC unroll 8
    for (int v = 0; v < Count; ++v) {
      float* const t = tile + j * width + v * lanes;
      if (scale_first) store<Arch>(t, load<Arch>(t) * splat<Arch>(factor));
      m[v] = Ops<Arch>::max(load<Arch>(t), m[v]);
    }
  }
  bool right = true;
#pragma GCC unroll 8
  for (int v = 0; v < Count; ++v) {
    if constexpr (Form != WeightRows::floats) m[v] = m[v] * splat<Arch>(after);
    right &= may_be_maximum<Arch>(load<Arch>(running.guess + v * lanes), m[v]);
    const Vec<Arch> previous = load<Arch>(state.m + v * lanes), top = W::candidate(m[v]);
    const Mask<Arch> moves = W::moves(top, previous);
    m[v] = Ops<Arch>::select(moves, top, previous);
    if (Ops<Arch>::any(moves)) {
      const Vec<Arch> rescaling = W::rescale(previous, m[v]);
      l[v] = l[v] * rescaling;
      if (!running.overwrite) {
        scale_output<Arch>(state.o + v * lanes, running.stride, running.dims, rescaling);
      }
      store<Arch>(state.m + v * lanes, m[v]);
    }
  }
  if (running.told == nullptr) {
    write_weights<Arch, Rule, Count, Form, P, false>(tile, keys, after, m, l, m);
  } else {
    tell_weights<Arch, Rule, Count, Form, P>(tile, keys, after, m, l, running.told);
  }
#pragma GCC unroll 8
  for (int v = 0; v < Count; ++v) store<Arch>(state.l + v * lanes, l[v]);
  return right;
}

/// total += state, the states of a block's rows over two ranges of keys, `total` that of the
/// earlier one. Both must be initialised; rows of either may have seen no key.
template <class Arch>
__attribute__((noinline)) void merge_states(WeightRule rule, State total, State state,
                                            std::ptrdiff_t width, std::ptrdiff_t dims) {
  const WeightsBy<Arch> weights(rule);
  for (std::ptrdiff_t x = 0; x < width; x += kLanes<Arch>) {
    const Vec<Arch> m_total = load<Arch>(total.m + x), m_state = load<Arch>(state.m + x);
    const Vec<Arch> m = Ops<Arch>::max(m_total, m_state);
    const Vec<Arch> f_total = weights.rescale(m_total, m);
    const Vec<Arch> f_state = weights.rescale(m_state, m);
    const auto add = [&](float* a, const float* b) {
      store<Arch>(a, load<Arch>(a) * f_total + load<Arch>(b) * f_state);
    };
    store<Arch>(total.m + x, m);
    add(total.l + x, state.l + x);
    for (std::ptrdiff_t d = 0; d < dims; ++d) add(total.o + d * width + x, state.o + d * width + x);
  }
}

/// The states of sinks, which are natural logits that take weight and have no value. A logit of −∞
/// is none, also where it is the product with the unit that overflows.
template <class Arch>
struct SinkState {
  Vec<Arch> m, l;

  HEED_INLINE SinkState(const WeightsBy<Arch>& weights, Vec<Arch> sinks, Vec<Arch> unit) {
    const Vec<Arch> nothing = splat<Arch>(-__builtin_inff());
    const Vec<Arch> t = sinks * unit, top = weights.candidate(t);
    const Mask<Arch> none = (sinks == nothing) | (t == nothing);
    m = Ops<Arch>::select(none, splat<Arch>(kNoMaximum), top);
    l = Ops<Arch>::select(none, splat<Arch>(0.0F), weights.weight(t, top));
  }
};

/// Adds a sink to the state of all keys of each of a vector of rows, whose O becomes 0 where they
/// have no weight.
template <class Arch>
__attribute__((noinline)) void add_sinks_to(WeightRule rule, State state, Vec<Arch> sinks,
                                            Vec<Arch> unit, std::ptrdiff_t width,
                                            std::ptrdiff_t dims) {
  const WeightsBy<Arch> weights(rule);
  const SinkState<Arch> sink(weights, sinks, unit);
  const Vec<Arch> m_keys = load<Arch>(state.m), l_keys = load<Arch>(state.l);
  const Vec<Arch> m = Ops<Arch>::max(m_keys, sink.m);
  const FarFactor<Arch> of_keys = weights.rescale_far(m_keys, m);
  const Vec<Arch> zero = splat<Arch>(0.0F);
  const Mask<Arch> none = l_keys == zero;
  store<Arch>(state.m, m);
  store<Arch>(state.l, of_keys(l_keys) + sink.l * weights.rescale(sink.m, m));
  for (std::ptrdiff_t d = 0; d < dims; ++d) {
    float* const o = state.o + d * width;
    store<Arch>(o, Ops<Arch>::select(none, zero, of_keys(load<Arch>(o))));
  }
}

/// sections += section for the lanes whose `closing` is not 0, whose section is then empty. The
/// other lanes keep both states.
template <class Arch>
__attribute__((noinline)) void close_lanes(WeightRule rule, State sections, State section,
                                           const float* closing, std::ptrdiff_t width,
                                           std::ptrdiff_t dims) {
  const WeightsBy<Arch> weights(rule);
  using V = Vec<Arch>;
  const V zero = splat<Arch>(0.0F), none = splat<Arch>(kNoMaximum);
  for (std::ptrdiff_t x = 0; x < width; x += kLanes<Arch>) {
    const Mask<Arch> closes = load<Arch>(closing + x) > zero;
    const V m_section = load<Arch>(section.m + x), m_before = load<Arch>(sections.m + x);
    const V m_closed = Ops<Arch>::select(closes, m_section, none);
    const V m = Ops<Arch>::max(m_before, m_closed);
    const V f_before = weights.rescale(m_before, m), f_closed = weights.rescale(m_closed, m);
    const auto close = [&](float* total, float* own) {
      const V value = load<Arch>(own), closed = Ops<Arch>::select(closes, value, zero);
      store<Arch>(total, load<Arch>(total) * f_before + closed * f_closed);
      store<Arch>(own, Ops<Arch>::select(closes, zero, value));
    };
    store<Arch>(sections.m + x, m);
    store<Arch>(section.m + x, Ops<Arch>::select(closes, none, m_section));
    close(sections.l + x, section.l + x);
    for (std::ptrdiff_t d = 0; d < dims; ++d) {
      close(sections.o + d * width + x, section.o + d * width + x);
    }
  }
}

}  // namespace
}  // namespace heed::kernels
