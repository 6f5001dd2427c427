// Sᵀ = K·Qᵀ and the weights, for a guessed m.
//
// A weight is a chain of twelve dependent operations of which five are multiply-adds. By itself it
// keeps a core waiting for results: a pass over a tile takes 5 cycles a vector on a Zen 5, where
// the FMA pipes are busy for 2.5. With 32 registers the logits of one register tile become weights
// between the multiply-adds of the next, which hides everything but these 2.5 cycles. With 16 the
// sums take 12 and their operands 4, so that weights between them would move sums to memory and
// back: a pass of its own over the tile, which is in L1, costs less, by NearWeights.
#pragma once

#include "kernels/attention/guessed_weights.inl.h"
#include "kernels/attention/register_tile.inl.h"

namespace heed::kernels {
namespace {

/// Whether there are registers for weights beside those of a register tile's sums and operands.
template <class Arch>
inline constexpr bool kWeighsBetweenProducts = Ops<Arch>::kRegisters >= 32;

/// Steps of the product for each vector of weights. Two would hide its operations; three also hide
/// the latency of what is stored and loaded for want of registers. A tile of 24 vectors (AVX-512)
/// is through after 72 steps. Pairs have half as many steps, and one of 24 products for each vector
/// hides most of it.
template <class P>
inline constexpr int kStepsPerWeight = P::kPairs ? 1 : 3;

/// Sums one register tile of the product p in `sum`, while the logits of the previous tile, at
/// `logits`, become weights. The first prefetch step is the caller's, before there are sums.
template <class P, class Arch, int Rows, int Count>
HEED_INLINE void multiply_and_weigh(const Product& p, float* logits,
                                    GuessedWeights<P, Arch, Count>& weights,
                                    Vec<Arch> (&sum)[Rows][Count],
                                    TileLoader<Arch, P::kPairs>& ahead) {
  constexpr int slices = slices_per_tile(Count);
  const float* a = p.a;
  const float* b = p.b;
  std::ptrdiff_t steps = p.steps;
  for (int v = 0; v < Count; ++v) {
    // NOLINTNEXTLINE(misc-redundant-expression): false for all v where a tile has one slice.
    if (v > 0 && v < slices) ahead.prefetch_step();
    Vec<Arch> weight_sum = weights.sum(v);
    for (int row = 0; row < Rows; ++row) {
      if (steps >= kStepsPerWeight<P>) {
#pragma GCC unroll 4
        for (int i = 0; i < kStepsPerWeight<P>; ++i, ++a, b += p.b_stride) {
          multiply_step<P, Arch, Broadcast::along_steps>(a, p.a_stride, b, sum);
        }
        steps -= kStepsPerWeight<P>;
      }
      weights.weigh(v, logits + (row * Count + v) * kLanes<Arch>, weight_sum);
      // The sums need nearly all registers: of what `weights` holds only a sum may be kept in one.
      asm volatile("" : : : "memory");
    }
    weights.sum(v) = weight_sum;
  }
  if constexpr (slices > Count) {
    ahead.prefetch_step();
    multiply_in_slices<P, Arch, Broadcast::along_steps, slices - Count>(
        a, p.a_stride, b, p.b_stride, steps, sum, ahead);
  } else {
    multiply_accumulate<P, Arch, Broadcast::along_steps>(a, p.a_stride, b, p.b_stride, steps, sum);
  }
}

/// Computes the logits of p.rows keys, at least one register tile of them, into p.c. Those of each
/// register tile but the last become weights while the next one is summed. Returns the first logits
/// that are none yet.
template <class P, class Arch, int Rows, int Count, class Modify>
HEED_INLINE float* weigh_between_products(Product p, TileLoader<Arch, P::kPairs>& ahead,
                                          GuessedWeights<P, Arch, Count>& weights,
                                          const Modify& modify) {
  float* logits = p.c;
  std::ptrdiff_t key = 0;
  const auto go_on = [&] {
    modify(key, Rows);
    key += Rows;
    p.a += Rows * p.a_stride;
    p.c += Rows * p.c_stride;
    p.rows -= Rows;
  };
  Product first = p;
  first.rows = Rows;
  multiply_rows<P, Arch, Broadcast::along_steps, Rows, Count>(first, ahead);
  for (go_on(); p.rows >= Rows; go_on()) {
    ahead.prefetch_step();
    Vec<Arch> sum[Rows][Count];
    clear(sum);
    multiply_and_weigh<P, Arch, Rows, Count>(p, logits, weights, sum, ahead);
    logits += Rows * p.c_stride;
    store_rows<Arch>(sum, p.c, p.c_stride);
  }
  if (p.rows > 0) {
    multiply_rows<P, Arch, Broadcast::along_steps, Rows, Count>(p, ahead);
    modify(key, p.rows);
  }
  return logits;
}

/// Computes the weights of p.rows keys, at least one register tile of them, into p.c. Before logits
/// become weights, modify(key, count) is called for those of `count` keys from `key` on.
template <class P, class Arch, int Rows, int Count, class Modify>
HEED_INLINE void score_and_weigh(const Product& p, TileLoader<Arch, P::kPairs>& ahead,
                                 GuessedWeights<P, Arch, Count>& weights, const Modify& modify) {
  constexpr int lanes = kLanes<Arch>;
  if constexpr (kWeighsBetweenProducts<Arch>) {
    float* logits = weigh_between_products<P, Arch, Rows, Count>(p, ahead, weights, modify);
    float* const end = p.c + p.rows * p.c_stride;
    for (; logits != end; logits += Count * lanes) {
#pragma GCC unroll 8
      for (int v = 0; v < Count; ++v) weights.weigh(v, logits + v * lanes, weights.sum(v));
    }
  } else {
    multiply_rows<P, Arch, Broadcast::along_steps, Rows, Count>(p, ahead);
    modify(0, p.rows);
    weights.weigh_tile(p.c, p.rows);
  }
}

}  // namespace
}  // namespace heed::kernels
