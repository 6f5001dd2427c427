// How the weights of a row follow from its logits, up to the factor that makes their sum 1:
//
//   exponential   w = exp(factor · (x − top))
//   argmax        w = (x == top)                 the limit of T → 0
//   uniform       w = 1                          the limit of T → ∞
//
// Logits are a row's entries x, or −x where the factor is negative. Entries of −∞ are masked:
// w = 0. NaN gives NaN. A rule is made from a row's factor. Once relate_to() has told it `top`,
// which reference_of() makes of the row's largest logit, it turns logits into weights and
// logarithms of weights.
//
//   kRelates   whether `top` matters
//   kKeeps     whether weights that are needed again are kept; else they are computed again, which
//              takes less time
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

/// The logits of a negative factor.
template <class Arch>
HEED_INLINE Vec<Arch> negated(Vec<Arch> x) {
  const Vec<Arch> masked = splat<Arch>(kMasked);
  return Ops<Arch>::select(x == masked, masked, splat<Arch>(0.0F) - x);
}

/// w = exp(|factor| · (x − top)) for logits x. `Scaled` says whether the factor may differ from 1.
/// One of 1 could be treated as any other, with the same bits; knowing it saves operations.
template <class A, bool Scaled>
class ExponentialRule {
 public:
  using Arch = A;
  using V = Vec<A>;
  static constexpr bool kRelates = true;
  static constexpr bool kKeeps = true;

  HEED_INLINE explicit ExponentialRule(SoftmaxFactor factor)
      : factor_(Scaled ? magnitude(factor.factor) : 1.0F), half_(factor_ < 1.0F ? 0.5F : 1.0F) {}

  HEED_INLINE void relate_to(float top) { top_ = top; }
  /// x − top can overflow where factor · (x − top) does not, if factor is below 1: then both are
  /// halved first and the factor doubled. Halving is exact, or off by 2⁻¹⁵⁰.
  HEED_INLINE V log_weight(V logit) const {
    if constexpr (!Scaled) return logit - splat<A>(top_);
    return Ops<A>::fma(logit, splat<A>(half_), splat<A>(-half_ * top_)) * splat<A>(factor_ / half_);
  }
  HEED_INLINE V weight(V logit) const { return exp_nonpositive<A>(log_weight(logit)); }
  /// What the weights leave out of the log-sum-exp, or NaN where that is not defined.
  HEED_INLINE double reference() const {
    return static_cast<double>(factor_) * static_cast<double>(top_);
  }

 private:
  static HEED_INLINE float magnitude(float factor) { return factor < 0.0F ? -factor : factor; }

  float factor_, half_;
  float top_ = 0;
};

template <class A>
class ArgmaxRule {
 public:
  using Arch = A;
  using V = Vec<A>;
  static constexpr bool kRelates = true;
  static constexpr bool kKeeps = false;

  HEED_INLINE explicit ArgmaxRule(SoftmaxFactor) {}

  HEED_INLINE void relate_to(float top) { top_ = top; }
  HEED_INLINE V log_weight(V logit) const {
    return choose(logit, splat<A>(0.0F), splat<A>(kMasked));
  }
  HEED_INLINE V weight(V logit) const { return choose(logit, splat<A>(1.0F), splat<A>(0.0F)); }
  HEED_INLINE double reference() const { return __builtin_nan(""); }

 private:
  HEED_INLINE V choose(V logit, V largest, V other) const {
    const V top = splat<A>(top_);
    return Ops<A>::select(logit < top, other, Ops<A>::select(logit == top, largest, logit));
  }

  float top_ = 0;
};

/// The factor is 0, and 0 · ∞ is NaN, so that logits of +∞ have the weight NaN.
template <class A>
class UniformRule {
 public:
  using Arch = A;
  using V = Vec<A>;
  static constexpr bool kRelates = false;
  static constexpr bool kKeeps = false;

  HEED_INLINE explicit UniformRule(SoftmaxFactor) {}

  HEED_INLINE V log_weight(V logit) const {
    const V masked = splat<A>(kMasked);
    return Ops<A>::select(logit == masked, masked,
                          Ops<A>::fma(logit, splat<A>(0.0F), splat<A>(0.0F)));
  }
  HEED_INLINE V weight(V logit) const {
    return Ops<A>::select(logit == splat<A>(kMasked), splat<A>(0.0F),
                          Ops<A>::fma(logit, splat<A>(0.0F), splat<A>(1.0F)));
  }
  HEED_INLINE double reference() const { return 0.0; }
};

/// The factor of a row's logits, and the rule of its weights.
HEED_INLINE SoftmaxFactor factor_of(const SoftmaxTemperatures& temperatures, std::int64_t row) {
  const SoftmaxTemperatures& t = temperatures;
  return t.each == nullptr ? t.factor : softmax_factor(t.scale, t.each[row]);
}

/// The largest logit of a row whose vectors are added one by one; −∞ where there is none. NaN is
/// ignored.
template <class Arch>
class LargestLogit {
 public:
  HEED_INLINE LargestLogit() {
#pragma GCC unroll 4
    for (Vec<Arch>& accumulator : accumulators_) accumulator = splat<Arch>(kMasked);
  }
  HEED_INLINE void add(Vec<Arch> logit, int u) {
    accumulators_[u] = Ops<Arch>::max(logit, accumulators_[u]);
  }
  HEED_INLINE float value() const { return reduce<Maximum, Arch>(accumulators_); }

 private:
  Vec<Arch> accumulators_[kAccumulators];
};

template <class Arch>
HEED_INLINE float largest_of_row(const float* logits, std::int64_t length) {
  LargestLogit<Arch> largest;
  for_each_vector<Arch, kAccumulators>(
      length, [&](auto access, int u, std::int64_t i) __attribute__((always_inline)) {
        largest.add(access.load(logits + i, kMasked), u);
      });
  return largest.value();
}

/// The sum of the weights of a row. It prefetches what is as far from each logit as `next`.
template <class Rule>
HEED_INLINE double sum_of_weights(const Rule& rule, const float* logits, std::int64_t length,
                                  std::ptrdiff_t next) {
  using Arch = typename Rule::Arch;
  return sum_over_row<Arch>(
      length, [&](auto access, int, std::int64_t i) __attribute__((always_inline)) {
        prefetch<Use::read>(logits + next + i);
        return rule.weight(access.load(logits + i, kMasked));
      });
}

}  // namespace
}  // namespace heed::kernels
