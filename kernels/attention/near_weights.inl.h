// Weights for a guessed m by fewer operations, in a pass over a tile of logits (ISAs with 16
// registers).
//
//   t' = max(t, m − 111)   p = 2¹⁶ · poly(t' − floor(t')) · 2^(n − 16), n = floor(t') − m
//
// The same bits as Weights: powers of two multiply exactly. The exponent field of 2^(n − 16) is
// n + 111, which for n = −111, below kLowestExponent, is that of 0; the 2¹⁶ are in the
// coefficients. An addition makes the field: floats around 1.5 · 2¹⁶ have units of 2⁻⁷, so that
// floor(t') + (1.5 · 2¹⁶ + 111 − m) has it in the bits from 7 on, exactly where |m − 111| is
// at most kFarthest: m and n are integers whose sums are below 2²⁴ then. A logit so far above m
// that its field would not fit sets bits beside the field; all bits are collected and looked at
// once, after the pass. A weight of 2¹²⁸ or more is infinite, and that of a NaN is NaN: the sum
// tells.
//
// For each vector: 14 operations besides its load and store (floor counts twice, as on Intel's
// cores). Weights takes 18.
#pragma once

#include "kernels/attention/weights.inl.h"
#include "kernels/vector/exp2_coefficients.h"
#include "kernels/vector/simd.inl.h"

namespace heed::kernels {
namespace {

/// The weights of the logits of a vector of rows.
template <class Arch>
class NearWeights {
  using V = Vec<Arch>;
  using I = Integers<Arch>;

 public:
  HEED_INLINE explicit NearWeights(V m)
      : lowest_(m + splat<Arch>(kLowestExponent - 1)),
        to_field_(splat<Arch>(kFieldUnits + 1 - kLowestExponent) - m) {}

  HEED_INLINE V operator()(V t) {
    const V bounded = Ops<Arch>::max(lowest_, t), whole = Ops<Arch>::floor(bounded);
    const V f = bounded - whole;
    V p = splat<Arch>(kExp2Coefficients[5] * kScale);
#pragma GCC unroll 5
    for (int k = 4; k >= 0; --k) {
      p = Ops<Arch>::fma(p, f, splat<Arch>(kExp2Coefficients[k] * kScale));
    }
    const I field = Ops<Arch>::as_integers(whole + to_field_);
    seen_ = seen_ | field;
    return p * Ops<Arch>::as_floats(field << 16);
  }

  /// False where a finite weight so far is not what Weights makes of its logit. Where one is
  /// infinite or NaN it may be either.
  HEED_INLINE bool right() const {
    const I others = seen_ & I(~kField), none = Ops<Arch>::as_integers(splat<Arch>(kFieldUnits));
    const Mask<Arch> far = Ops<Arch>::max(lowest_, V(0.0F) - lowest_) > splat<Arch>(kFarthest);
    return !Ops<Arch>::any(far | Ops<Arch>::less(none, others));
  }

 private:
  static constexpr float kScale = 0x1p16F;
  static constexpr float kFieldUnits = 0x1.8p16F;  ///< has no bits where the field is
  static constexpr std::int32_t kField = 0xFF << 7;
  static constexpr float kFarthest = 0x1p22F;

  V lowest_, to_field_;
  I seen_ = I(0);
};

/// Turns the logits of `keys` keys into weights in place, and adds them to `total`.
/// Rows of the tile are `width` floats apart. Returns what NearWeights::right() says.
template <class Arch>
HEED_INLINE bool weigh_near(float* tile, std::ptrdiff_t width, std::ptrdiff_t keys, Vec<Arch> m,
                            Vec<Arch>& total) {
  NearWeights<Arch> weights(m);
  Vec<Arch> sum = total;  // in a register, which what is behind a reference is not
  for (std::ptrdiff_t j = 0; j < keys; ++j, tile += width) {
    const Vec<Arch> p = weights(load<Arch>(tile));
    store<Arch>(tile, p);
    sum = sum + p;
  }
  total = sum;
  return weights.right();
}

}  // namespace
}  // namespace heed::kernels
