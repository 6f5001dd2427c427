// Passes over a row of floats, a vector at a time, its ragged end included; and the vectors that
// they leave, reduced to one number.
#pragma once

#include <cstdint>

#include "kernels/vector/simd.inl.h"

namespace heed::kernels {
namespace {

/// The first lane of x.
template <class Arch>
HEED_INLINE float first_lane(Vec<Arch> x) {
  alignas(64) float lane[kLanes<Arch>];
  store<Arch>(lane, x);
  return lane[0];
}

/// What a line is prefetched for.
enum class Use { read, write };

/// Brings the line of p to L2; p may lie anywhere, outside of all memory too.
template <Use For>
HEED_INLINE void prefetch(const float* p) {
  __builtin_prefetch(p, For == Use::write ? 1 : 0, 2);
}

/// Access to all lanes of a vector, with the interface of MaskedVector.
template <class Arch>
struct FullVector {
  HEED_INLINE Vec<Arch> load(const float* p, float) const { return kernels::load<Arch>(p); }
  HEED_INLINE void store(float* p, Vec<Arch> x) const { kernels::store<Arch>(p, x); }
};

/// Calls body(access, u, i) for each vector of a row of `length` elements: `access` is a
/// FullVector, or a MaskedVector at the row's ragged end; the vector begins at element i; u = 0 …
/// Unroll − 1 says which of the caller's accumulators it belongs to. The order depends on the
/// length alone.
template <class Arch, int Unroll, class Body>
HEED_INLINE void for_each_vector(std::int64_t length, Body body) {
  constexpr std::int64_t lanes = kLanes<Arch>;
  std::int64_t i = 0;
  for (; i + Unroll * lanes <= length; i += Unroll * lanes) {
#pragma GCC unroll 8
    for (int u = 0; u < Unroll; ++u) body(FullVector<Arch>(), u, i + u * lanes);
  }
  for (; i + lanes <= length; i += lanes) body(FullVector<Arch>(), 0, i);
  if (i < length) body(MaskedVector<Arch>(length - i), 0, i);
}

// Operations that reduce takes: each combines two vectors of any ISA lane by lane.

struct Maximum {
  template <class Arch>
  HEED_INLINE Vec<Arch> operator()(Vec<Arch> a, Vec<Arch> b) const {
    return Ops<Arch>::max(a, b);
  }
};

struct Minimum {
  template <class Arch>
  HEED_INLINE Vec<Arch> operator()(Vec<Arch> a, Vec<Arch> b) const {
    return Ops<Arch>::min(a, b);
  }
};

struct Addition {
  template <class Arch>
  HEED_INLINE Vec<Arch> operator()(Vec<Arch> a, Vec<Arch> b) const {
    return a + b;
  }
};

/// How many accumulators the passes over a row keep: with 4, a sum or maximum of vectors from L1
/// waits for its loads, not for the latency of the previous addition.
inline constexpr int kAccumulators = 4;

/// `Count` vectors combined to one, as a tree: the first half and the second half, each combined.
template <class Operation, class Arch, int Count>
HEED_INLINE Vec<Arch> combine(const Vec<Arch>* accumulators) {
  if constexpr (Count == 1) {
    return accumulators[0];
  } else {
    return Operation()(combine<Operation, Arch, Count / 2>(accumulators),
                       combine<Operation, Arch, Count - Count / 2>(accumulators + Count / 2));
  }
}

/// All lanes of all vectors, combined to one number.
template <class Operation, class Arch, int Count>
HEED_INLINE float reduce(const Vec<Arch> (&accumulators)[Count]) {
  return Ops<Arch>::reduce(combine<Operation, Arch, Count>(accumulators), Operation());
}

/// Whether all of `count` floats are finite: the sum of 0 · x is 0 then, and else NaN.
template <class Arch>
HEED_INLINE bool all_finite(const float* x, std::int64_t count) {
  Vec<Arch> traces[kAccumulators];
#pragma GCC unroll 4
  for (Vec<Arch>& trace : traces) trace = splat<Arch>(0.0F);
  for_each_vector<Arch, kAccumulators>(
      count, [&](auto access, int u, std::int64_t i) __attribute__((always_inline)) {
        traces[u] = Ops<Arch>::fma(access.load(x + i, 0.0F), splat<Arch>(0.0F), traces[u]);
      });
  const Vec<Arch> all = combine<Addition, Arch, kAccumulators>(traces);
  return !Ops<Arch>::any(Ops<Arch>::not_less(all, splat<Arch>(1.0F)));
}

/// Elements of a row whose sum is taken in float; the sums of chunks are added in double.
inline constexpr std::int64_t kSumChunk = 1024;

/// Σ term(access, u, i) over the vectors of a row, in the order of for_each_vector. The vectors of
/// a chunk's remainder all go to the first accumulator, up to 4 more than to the others, so with L
/// lanes the relative error is below (kSumChunk / 4L + 3 + log2 4L) · 2⁻²⁴ of Σ |term| for rows of
/// any length: (64 + 7), (32 + 8) and (16 + 9) · 2⁻²⁴ for 4, 8 and 16 lanes.
template <class Arch, class Term>
HEED_INLINE double sum_over_row(std::int64_t length, Term term) {
  double total = 0;
  for (std::int64_t begin = 0; begin < length; begin += kSumChunk) {
    const std::int64_t left = length - begin;
    Vec<Arch> accumulators[kAccumulators];
#pragma GCC unroll 4
    for (Vec<Arch>& accumulator : accumulators) accumulator = splat<Arch>(0.0F);
    for_each_vector<Arch, kAccumulators>(
        left < kSumChunk ? left : kSumChunk, [&](auto access, int u,
                                                 std::int64_t i) __attribute__((always_inline)) {
          accumulators[u] = accumulators[u] + term(access, u, begin + i);
        });
    total += static_cast<double>(reduce<Addition, Arch>(accumulators));
  }
  return total;
}

}  // namespace
}  // namespace heed::kernels
