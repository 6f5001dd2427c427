// How the weights of a row follow from its entries, up to the factor that makes their sum 1:
//
//   exponential   w = exp(factor · (x − top))
//   argmax        w = (x == top)                 the limit of T → 0
//   uniform       w = 1                          the limit of T → ∞
//
// A rule is made from a row's factor. Entries of −∞ are masked: w = 0. NaN gives NaN. A rule turns
// entries into logits, which are x, or −x for a negative factor. Once relate_to() has told it
// `top`, which reference_of() makes of the row's largest logit, it turns logits into weights and
// logarithms of weights.
//
//   kHasLse   whether the log-sum-exp is defined
//   kFast     whether the rule is the usual one, for which short and large rows have code of their
//   own
#pragma once

#include "kernels/interface.h"
#include "kernels/vector/exp.inl.h"
#include "kernels/vector/lanes.inl.h"
#include "kernels/vector/simd.inl.h"

namespace heed::kernels {
namespace {

/// The logit of a masked entry.
inline constexpr float kMasked = -__builtin_inff();

/// What a row's logits are related to: the largest one, or 0 where every entry is masked or NaN, so
/// that no difference is −∞ − −∞.
HEED_INLINE float reference_of(float largest) { return largest == kMasked ? 0.0F : largest; }

/// A negative factor is a positive one for −x, but entries of −∞ stay masked.
template <class A, bool Negated>
struct SignedLogits {
  using Arch = A;
  using V = Vec<Arch>;

  static HEED_INLINE V logit(V x) {
    if constexpr (!Negated) return x;
    const V masked = splat<Arch>(kMasked);
    return Ops<Arch>::select(x == masked, masked, splat<Arch>(0.0F) - x);
  }
};

/// What is known of a factor. A factor of 1 could be treated as any positive one, with the same
/// bits; knowing it saves operations.
enum class Factor { negative, one, positive };

/// w = exp(factor · (x − top)) for a factor of which F is known.
template <class A, Factor F>
class ExponentialRule : public SignedLogits<A, F == Factor::negative> {
 public:
  using V = Vec<A>;
  static constexpr bool kHasLse = true;
  static constexpr bool kFast = true;

  HEED_INLINE explicit ExponentialRule(float factor)
      : magnitude_(F == Factor::negative ? -factor : factor),
        half_(magnitude_ < 1.0F ? 0.5F : 1.0F) {}

  HEED_INLINE void relate_to(float top) { top_ = top; }
  /// x − top can overflow where factor · (x − top) does not, if factor is below 1: then both are
  /// halved first and the factor doubled. Halving is exact, or off by 2⁻¹⁵⁰.
  HEED_INLINE V log_weight(V logit) const {
    if constexpr (F == Factor::one) return logit - splat<A>(top_);
    return Ops<A>::fma(logit, splat<A>(half_), splat<A>(-half_ * top_)) *
           splat<A>(magnitude_ / half_);
  }
  HEED_INLINE V weight(V logit) const { return exp_nonpositive<A>(log_weight(logit)); }
  /// What the weights leave out of the log-sum-exp.
  HEED_INLINE double reference() const {
    return static_cast<double>(magnitude_) * static_cast<double>(top_);
  }

 private:
  float magnitude_, half_;
  float top_ = 0;
};

template <class A, bool Negated>
class ArgmaxRule : public SignedLogits<A, Negated> {
 public:
  using V = Vec<A>;
  static constexpr bool kHasLse = false;
  static constexpr bool kFast = false;

  HEED_INLINE explicit ArgmaxRule(float) {}

  HEED_INLINE void relate_to(float top) { top_ = top; }
  HEED_INLINE V log_weight(V logit) const {
    return choose(logit, splat<A>(0.0F), splat<A>(kMasked));
  }
  HEED_INLINE V weight(V logit) const { return choose(logit, splat<A>(1.0F), splat<A>(0.0F)); }
  HEED_INLINE double reference() const { return 0.0; }

 private:
  HEED_INLINE V choose(V logit, V largest, V other) const {
    const V top = splat<A>(top_);
    return Ops<A>::select(logit < top, other, Ops<A>::select(logit == top, largest, logit));
  }

  float top_ = 0;
};

/// The factor is 0, and 0 · ∞ is NaN, so that entries of +∞ have the weight NaN.
template <class A>
class UniformRule {
 public:
  using Arch = A;
  using V = Vec<Arch>;
  static constexpr bool kHasLse = true;
  static constexpr bool kFast = false;

  HEED_INLINE explicit UniformRule(float) {}

  HEED_INLINE V logit(V x) const { return x; }
  HEED_INLINE void relate_to(float) {}
  /// Not NaN where the weight is NaN: the sum of the weights makes the result NaN.
  HEED_INLINE V log_weight(V x) const {
    const V masked = splat<Arch>(kMasked);
    return Ops<Arch>::select(x == masked, masked, splat<Arch>(0.0F));
  }
  HEED_INLINE V weight(V x) const {
    return Ops<Arch>::select(x == splat<Arch>(kMasked), splat<Arch>(0.0F),
                             Ops<Arch>::fma(x, splat<Arch>(0.0F), splat<Arch>(1.0F)));
  }
  HEED_INLINE double reference() const { return 0.0; }
};

/// The rule of each row of a matrix whose temperatures all lead to the same kind of rule.
template <class R>
class RowRules {
 public:
  using Rule = R;
  using Arch = typename R::Arch;

  HEED_INLINE explicit RowRules(const SoftmaxTemperatures& temperatures)
      : temperatures_(temperatures) {}

  HEED_INLINE R of(std::int64_t row) const {
    const SoftmaxTemperatures& t = temperatures_;
    return R(t.each == nullptr ? t.factor.factor : t.scale / t.each[row]);
  }

 private:
  SoftmaxTemperatures temperatures_;
};

/// Calls body(RowRules) with the kind of rule that a factor leads to.
template <class Arch, class Body>
HEED_INLINE void with_rules(const SoftmaxTemperatures& temperatures, const SoftmaxFactor& kind,
                            Body body) {
  const bool negated = kind.factor < 0.0F;
  if (kind.rule == SoftmaxRule::uniform) {
    body(RowRules<UniformRule<Arch>>(temperatures));
  } else if (kind.rule == SoftmaxRule::argmax) {
    if (negated) return body(RowRules<ArgmaxRule<Arch, true>>(temperatures));
    body(RowRules<ArgmaxRule<Arch, false>>(temperatures));
  } else {
    if (negated) return body(RowRules<ExponentialRule<Arch, Factor::negative>>(temperatures));
    if (temperatures.each == nullptr && kind.factor == 1.0F) {
      return body(RowRules<ExponentialRule<Arch, Factor::one>>(temperatures));
    }
    body(RowRules<ExponentialRule<Arch, Factor::positive>>(temperatures));
  }
}

/// The largest logit of a row whose vectors are added one by one; −∞ where there is none. NaN is
/// ignored.
template <class Rule>
class LargestLogit {
 public:
  using Arch = typename Rule::Arch;

  HEED_INLINE LargestLogit() {
#pragma GCC unroll 4
    for (Vec<Arch>& accumulator : accumulators_) accumulator = splat<Arch>(kMasked);
  }
  HEED_INLINE void add(const Rule& rule, Vec<Arch> x, int u) {
    accumulators_[u] = Ops<Arch>::max(rule.logit(x), accumulators_[u]);
  }
  HEED_INLINE float value() const { return reduce<Maximum, Arch>(accumulators_); }

 private:
  Vec<Arch> accumulators_[kAccumulators];
};

template <class Rule>
HEED_INLINE float largest_logit(const Rule& rule, const float* x, std::int64_t length) {
  using Arch = typename Rule::Arch;
  LargestLogit<Rule> largest;
  for_each_vector<Arch, kAccumulators>(
      length, [&](auto access, int u, std::int64_t i) __attribute__((always_inline)) {
        largest.add(rule, access.load(x + i, kMasked), u);
      });
  return largest.value();
}

}  // namespace
}  // namespace heed::kernels
