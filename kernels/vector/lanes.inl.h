// A vector's lanes: those of a row's ragged end, and all of them reduced to one number.
#pragma once

#include <cstdint>

#include "kernels/vector/simd.inl.h"

namespace heed::kernels {
namespace {

/// The first `count` lanes, 1 … all. What lies behind them in memory is neither read nor written.
template <class Arch>
class Part;

#if XSIMD_WITH_AVX512DQ
template <>
class Part<xsimd::avx512dq> {
  using V = Vec<xsimd::avx512dq>;

 public:
  HEED_INLINE explicit Part(std::int64_t count)
      : mask_(static_cast<__mmask16>((1U << static_cast<unsigned>(count)) - 1U)) {}
  HEED_INLINE V load(const float* p, float rest) const {
    return _mm512_mask_loadu_ps(_mm512_set1_ps(rest), mask_, p);
  }
  HEED_INLINE void store(float* p, V x) const { _mm512_mask_storeu_ps(p, mask_, x); }

 private:
  __mmask16 mask_;
};
#endif

#if XSIMD_WITH_FMA3_AVX2
template <>
class Part<xsimd::fma3<xsimd::avx2>> {
  using V = Vec<xsimd::fma3<xsimd::avx2>>;

 public:
  HEED_INLINE explicit Part(std::int64_t count)
      : mask_(_mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)),
                                 _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))) {}
  HEED_INLINE V load(const float* p, float rest) const {
    return _mm256_blendv_ps(_mm256_set1_ps(rest), _mm256_maskload_ps(p, mask_),
                            _mm256_castsi256_ps(mask_));
  }
  HEED_INLINE void store(float* p, V x) const { _mm256_maskstore_ps(p, mask_, x); }

 private:
  __m256i mask_;
};
#endif

template <>
class Part<xsimd::sse2> {
  using V = Vec<xsimd::sse2>;

 public:
  HEED_INLINE explicit Part(std::int64_t count) : count_(count) {}
  HEED_INLINE V load(const float* p, float rest) const {
    if (count_ == 4) return _mm_loadu_ps(p);
    return _mm_setr_ps(p[0], count_ > 1 ? p[1] : rest, count_ > 2 ? p[2] : rest,
                       count_ > 3 ? p[3] : rest);
  }
  HEED_INLINE void store(float* p, V x) const {
    if (count_ == 4) return _mm_storeu_ps(p, x);
    alignas(16) float lane[4];
    _mm_store_ps(lane, x);
    for (std::int64_t i = 0; i < count_; ++i) p[i] = lane[i];
  }

 private:
  std::int64_t count_;
};

// Stores that do not read a line before they write it, to aligned places.
HEED_INLINE void stream(float* p, Vec<xsimd::sse2> x) { _mm_stream_ps(p, x); }
#if XSIMD_WITH_FMA3_AVX2
HEED_INLINE void stream(float* p, Vec<xsimd::fma3<xsimd::avx2>> x) { _mm256_stream_ps(p, x); }
#endif
#if XSIMD_WITH_AVX512DQ
HEED_INLINE void stream(float* p, Vec<xsimd::avx512dq> x) { _mm512_stream_ps(p, x); }
#endif

/// Makes streamed stores visible to other cores before anything that follows.
HEED_INLINE void publish_stores() { _mm_sfence(); }

template <class Arch>
HEED_INLINE float first_lane(Vec<Arch> x) {
  alignas(64) float lane[kLanes<Arch>];
  store<Arch>(lane, x);
  return lane[0];
}

enum class Access { read, write };

/// Fetches the line of p into L2; p may lie anywhere.
template <Access A>
HEED_INLINE void fetch(const float* p) {
  __builtin_prefetch(p, A == Access::write ? 1 : 0, 2);
}

/// All lanes; the interface of Part.
template <class Arch>
struct Whole {
  HEED_INLINE Vec<Arch> load(const float* p, float) const { return kernels::load<Arch>(p); }
  HEED_INLINE void store(float* p, Vec<Arch> x) const { kernels::store<Arch>(p, x); }
};

/// Calls body(access, u, i) for each vector of a row, at elements i, u = 0 … Unroll − 1 saying
/// which of the caller's accumulators it belongs to. The order is the same whatever the row.
template <class Arch, int Unroll, class Body>
HEED_INLINE void for_each_vector(std::int64_t length, Body body) {
  constexpr std::int64_t lanes = kLanes<Arch>;
  std::int64_t i = 0;
  for (; i + Unroll * lanes <= length; i += Unroll * lanes) {
#pragma GCC unroll 8
    for (int u = 0; u < Unroll; ++u) body(Whole<Arch>(), u, i + u * lanes);
  }
  for (; i + lanes <= length; i += lanes) body(Whole<Arch>(), 0, i);
  if (i < length) body(Part<Arch>(length - i), 0, i);
}

struct Larger {
  template <class Arch>
  static HEED_INLINE Vec<Arch> of(Vec<Arch> a, Vec<Arch> b) {
    return Ops<Arch>::max(a, b);
  }
};

struct Sum {
  template <class Arch>
  static HEED_INLINE Vec<Arch> of(Vec<Arch> a, Vec<Arch> b) {
    return a + b;
  }
};

/// Folds the upper half of a vector onto its lower one until one lane is left.
template <class Fold>
HEED_INLINE float reduce(Vec<xsimd::sse2> x) {
  const __m128 pair = Fold::template of<xsimd::sse2>(x, _mm_movehl_ps(x, x));
  return _mm_cvtss_f32(Fold::template of<xsimd::sse2>(pair, _mm_shuffle_ps(pair, pair, 1)));
}

#if XSIMD_WITH_FMA3_AVX2
template <class Fold>
HEED_INLINE float reduce(Vec<xsimd::fma3<xsimd::avx2>> x) {
  return reduce<Fold>(
      Fold::template of<xsimd::sse2>(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1)));
}
#endif

#if XSIMD_WITH_AVX512DQ
template <class Fold>
HEED_INLINE float reduce(Vec<xsimd::avx512dq> x) {
  return reduce<Fold>(Fold::template of<xsimd::fma3<xsimd::avx2>>(_mm512_castps512_ps256(x),
                                                                  _mm512_extractf32x8_ps(x, 1)));
}
#endif

/// How many accumulators the passes over a row keep: with 4, a sum or maximum of vectors from L1
/// waits for its loads, not for the latency of the former addition.
inline constexpr int kAccumulators = 4;

template <class Fold, class Arch, int Count>
HEED_INLINE Vec<Arch> fold(const Vec<Arch>* part) {
  if constexpr (Count == 1) {
    return part[0];
  } else {
    return Fold::template of<Arch>(fold<Fold, Arch, Count / 2>(part),
                                   fold<Fold, Arch, Count - Count / 2>(part + Count / 2));
  }
}

/// All lanes of all vectors, reduced to one number.
template <class Fold, class Arch, int Count>
HEED_INLINE float reduce(const Vec<Arch> (&part)[Count]) {
  return reduce<Fold>(fold<Fold, Arch, Count>(part));
}

/// Σ term(access, u, i) over the vectors of a row, in the order of for_each_vector. The sums of
/// kSumChunk elements are taken in float and added in double: the vectors of a remainder all go to
/// the first accumulator, up to 4 more than to the others, so with L lanes the relative error is
/// below (kSumChunk / 4L + 3 + log2 4L) · 2⁻²⁴ of Σ |term| for rows of any length: (64 + 7), (32 +
/// 8) and (16 + 9) · 2⁻²⁴ for 4, 8 and 16 lanes.
inline constexpr std::int64_t kSumChunk = 1024;

template <class Arch, class Term>
HEED_INLINE double sum_over_row(std::int64_t length, Term term) {
  double total = 0;
  for (std::int64_t begin = 0; begin < length; begin += kSumChunk) {
    const std::int64_t left = length - begin;
    Vec<Arch> part[kAccumulators];
#pragma GCC unroll 4
    for (int u = 0; u < kAccumulators; ++u) part[u] = splat<Arch>(0.0F);
    for_each_vector<Arch, kAccumulators>(
        left < kSumChunk ? left : kSumChunk, [&](auto access, int u, std::int64_t i)
                                                 __attribute__((always_inline)) {
                                                   part[u] = part[u] + term(access, u, begin + i);
                                                 });
    total += static_cast<double>(reduce<Sum, Arch>(part));
  }
  return total;
}

}  // namespace
}  // namespace heed::kernels
