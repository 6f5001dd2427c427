// Weights of a tile for a guess of m, before the largest logit is known.
#pragma once

#include "kernels/attention/near_weights.inl.h"
#include "kernels/attention/weights.inl.h"
#include "kernels/interface.h"
#include "kernels/vector/simd.inl.h"

namespace heed::kernels {
namespace {

/// The largest sum of a partition's weights if each of them is as large as kRescaleThreshold lets
/// it be: a sum that is not above it proves the same of |O|, whichever of the weights are large.
inline constexpr float kLargestSum = kPartitionKeys * 512.0F;
static_assert(kRescaleThreshold == 8.0F, "512 is 2^(kRescaleThreshold + 1)");

/// Turns logits into weights while the largest of them is not known yet, for a guess of m. What it
/// has done may be thrown away. Logits of pairs are multiplied by `factor`.
template <class P, class Arch, int Count>
class GuessedWeights {
 public:
  HEED_INLINE GuessedWeights(const RunningState& running, float factor) : factor_(factor) {
#pragma GCC unroll 8
    for (int v = 0; v < Count; ++v) {
      m_[v] = load<Arch>(running.guess + v * kLanes<Arch>);
      l_[v] = load<Arch>(running.state.l + v * kLanes<Arch>);
    }
  }

  /// The sum of the weights of vector v.
  HEED_INLINE Vec<Arch>& sum(int v) { return l_[v]; }

  /// Vector v of a key; its weight is added to `sum`, but for pairs.
  HEED_INLINE void weigh(int v, float* logits, Vec<Arch>& sum) const {
    Vec<Arch> t = load<Arch>(logits);
    if constexpr (P::kPairs) t = t * splat<Arch>(factor_);
    const Vec<Arch> p = Weights<Arch, WeightRule::exponential>::weight(t, m_[v]);
    store<Arch>(logits, p);
    if constexpr (!P::kPairs) sum = sum + p;
  }

  /// All vectors of `keys` keys, by NearWeights.
  HEED_INLINE void weigh_tile(float* tile, std::ptrdiff_t keys) {
    static_assert(!P::kPairs, "NearWeights knows no factor");
    // Unrolled, the loops of several vectors would want more registers than there are.
#pragma GCC unroll 1
    for (int v = 0; v < Count; ++v) {
      right_ &= weigh_near<Arch>(tile + v * kLanes<Arch>, Count * kLanes<Arch>, keys, m_[v], l_[v]);
    }
  }

  /// Packs the weights of an even number of keys, and adds them to the sums.
  HEED_INLINE void pack(float* tile, std::ptrdiff_t keys) {
    constexpr int width = Count * kLanes<Arch>;
    for (std::ptrdiff_t j = 0; j < keys; j += 2) {
#pragma GCC unroll 8
      for (int v = 0; v < Count; ++v) {
        const float* const first = tile + j * width + v * kLanes<Arch>;
        write_pair<P, Arch>(load<Arch>(first), load<Arch>(first + width),
                            tile + j / 2 * width + v * kLanes<Arch>, l_[v]);
      }
    }
  }

  /// False, and nothing is changed, where the guess was wrong: where a row's sum is so large that O
  /// might overflow, or is less than `least`, or NaN, or where weigh_tile() was.
  HEED_INLINE bool commit(const RunningState& running, float least) const {
    bool right = right_;
#pragma GCC unroll 8
    for (int v = 0; v < Count; ++v) {
      right &= !Ops<Arch>::any(Ops<Arch>::not_less(l_[v], splat<Arch>(kLargestSum)) |
                               (l_[v] < splat<Arch>(least)));
    }
    if (!right) return false;
#pragma GCC unroll 8
    for (int v = 0; v < Count; ++v) {
      store<Arch>(running.state.m + v * kLanes<Arch>, m_[v]);
      store<Arch>(running.state.l + v * kLanes<Arch>, l_[v]);
    }
    return true;
  }

 private:
  Vec<Arch> m_[Count], l_[Count];
  float factor_;
  bool right_ = true;
};

}  // namespace
}  // namespace heed::kernels
