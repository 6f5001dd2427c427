// One source for all ISAs; the build compiles it once for each, with the flags of that ISA's
// kernels and HEED_LIMITS_ISA as its name. It exports the table and nothing else: an inline
// function left out of line here would be a weak symbol compiled for this ISA, so there is no STL
// either.
#include "bench/limits/kernel.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define HEED_JOIN_(a, b) a##b
#define HEED_JOIN(a, b) HEED_JOIN_(a, b)
#define HEED_QUOTE_(x) #x
#define HEED_QUOTE(x) HEED_QUOTE_(x)
#define HEED_INLINE inline __attribute__((always_inline))

namespace heed::bench {
namespace {

#if defined(__AVX512F__)
constexpr std::size_t kVectorBytes = 64;
#elif defined(__AVX__)
constexpr std::size_t kVectorBytes = 32;
#else
constexpr std::size_t kVectorBytes = 16;
#endif

using Vector __attribute__((vector_size(kVectorBytes))) = float;
constexpr std::size_t kLanes = kVectorBytes / sizeof(float);

// A multiply-add takes 4 cycles and two start in each, so 8 independent sums hide the latency;
// where a multiplication and an addition stand for it (no FMA) the chain and the work per sum both
// double, and 8 suffice again. 12 leave slack, and with the two operands still fit 16 registers.
// Processors of aarch64 start up to four and have 32 registers.
#if defined(__aarch64__)
constexpr int kSums = 24;
#else
constexpr int kSums = 12;
#endif

const Vector& vector_at(const float* p) { return *reinterpret_cast<const Vector*>(p); }

/// Without the addition that Vector{} + x is.
HEED_INLINE Vector splat(float x) {
#if defined(__AVX512F__)
  return _mm512_set1_ps(x);
#elif defined(__AVX__)
  return _mm256_set1_ps(x);
#elif defined(__x86_64__)
  return _mm_set1_ps(x);
#else
  return Vector{x, x, x, x};
#endif
}

float total(Vector x) {
  float sum = 0;
  for (std::size_t lane = 0; lane < kLanes; ++lane) sum += x[lane];
  return sum;
}

float multiply_add(std::int64_t rounds, float factor, float addend) {
  const Vector a = Vector{} + factor;
  const Vector b = Vector{} + addend;
  Vector sums[kSums];
  // Each starts elsewhere: sums that are bound to be equal would be computed once.
  for (int i = 0; i < kSums; ++i) sums[i] = b * static_cast<float>(i);
  for (std::int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 24
    for (Vector& chain : sums) chain = chain * a + b;
  }
  Vector result = {};
  for (const Vector& chain : sums) result += chain;
  return total(result);
}

// The register tile of kernels/attention/register_tile.inl.h, for each ISA.
#if defined(__AVX512F__)
constexpr int kTileRows = 8, kTileVectors = 3;
#elif defined(__AVX__)
constexpr int kTileRows = 4, kTileVectors = 3;
#elif defined(__aarch64__)
constexpr int kTileRows = 4, kTileVectors = 6;
#else
constexpr int kTileRows = 4, kTileVectors = 2;
#endif

// A round passes over so many rows of the broadcast operand, 8 KiB, and one panel of the other, of
// 4 to 12 KiB: together less than any L1 has.
constexpr int kTileSteps = 64, kBroadcastRows = 32;

/// sum += a · b of floats. Written out, as the kernels do: compilers copy sums around.
struct Floats {
  HEED_INLINE static void accumulate(Vector a, Vector b, Vector& sum) {
#if defined(__AVX512F__)
    asm("vfmadd231ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
#elif defined(__FMA__)
    asm("vfmadd231ps %2, %1, %0" : "+x"(sum) : "x"(a), "x"(b));
#else
    sum += a * b;
#endif
  }
};

/// The sums of one tile, over all steps: `a` is broadcast, of `b` there are kTileVectors vectors a
/// step.
template <class Products>
HEED_INLINE void tile_steps(const float* a, const float* b,
                            Vector (&sums)[kTileRows][kTileVectors]) {
  for (int step = 0; step < kTileSteps; ++step) {
    const float* const columns = b + step * kTileVectors * static_cast<int>(kLanes);
    Vector loaded[kTileVectors];
#pragma GCC unroll 6
    for (int v = 0; v < kTileVectors; ++v) loaded[v] = vector_at(columns + v * kLanes);
#pragma GCC unroll 8
    for (int row = 0; row < kTileRows; ++row) {
      const Vector x = splat(a[row * kTileSteps + step]);
#pragma GCC unroll 6
      for (int v = 0; v < kTileVectors; ++v) Products::accumulate(x, loaded[v], sums[row][v]);
    }
  }
}

template <class Products>
float tile_rounds(std::int64_t rounds, float factor, float addend) {
  alignas(64) float a[kBroadcastRows * kTileSteps];
  alignas(64) float b[kTileSteps * kTileVectors * kLanes];
  for (float& x : a) x = factor;
  for (float& x : b) x = addend;
  Vector sums[kTileRows][kTileVectors] = {};
  for (std::int64_t round = 0; round < rounds; ++round) {
    for (int row = 0; row < kBroadcastRows; row += kTileRows) {
      tile_steps<Products>(a + row * kTileSteps, b, sums);
    }
  }
  Vector result = {};
  // Unrolled, like all loops over sums, which else would lie in memory.
#pragma GCC unroll 8
  for (const auto& row : sums) {
#pragma GCC unroll 6
    for (const Vector& chain : row) result += chain;
  }
  return total(result);
}

#if defined(__AVX512BF16__)
/// The same of pairs of bf16, which lie in a float.
struct Pairs {
  HEED_INLINE static void accumulate(Vector a, Vector b, Vector& sum) {
    asm("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
  }
};

float multiply_add_pairs(std::int64_t rounds, float factor, float addend) {
  const auto pairs = __builtin_bit_cast(__m512bh, Vector{} + factor);
  __m512 sums[kSums];
  for (int i = 0; i < kSums; ++i) sums[i] = Vector{} + addend * static_cast<float>(i);
  for (std::int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 12
    for (__m512& chain : sums) chain = _mm512_dpbf16_ps(chain, pairs, pairs);
  }
  Vector result = {};
  for (const __m512& chain : sums) result += chain;
  return total(result);
}

constexpr auto kTilePairs = tile_rounds<Pairs>;
constexpr auto kMultiplyAddPairs = multiply_add_pairs;
#else
constexpr float (*kMultiplyAddPairs)(std::int64_t, float, float) = nullptr;
constexpr float (*kTilePairs)(std::int64_t, float, float) = nullptr;
#endif

float sum(const float* x, std::size_t n) {
  constexpr std::size_t kParts = 8;
  static_assert(kStreamFloats % (kParts * kLanes) == 0);
  Vector sums[kParts] = {};
  for (std::size_t i = 0; i < n; i += kParts * kLanes) {
#pragma GCC unroll 8
    for (std::size_t part = 0; part < kParts; ++part) {
      sums[part] += vector_at(x + i + part * kLanes);
    }
  }
  Vector result = {};
  for (const Vector& part : sums) result += part;
  return total(result);
}

void stream_copy(const float* x, float* y, std::size_t n) {
  for (std::size_t i = 0; i < n; i += kLanes) {
#if defined(__AVX512F__)
    _mm512_stream_ps(y + i, vector_at(x + i));
#elif defined(__AVX__)
    _mm256_stream_ps(y + i, vector_at(x + i));
#elif defined(__x86_64__)
    _mm_stream_ps(y + i, vector_at(x + i));
#else  // processors of aarch64 notice by themselves that whole lines are written
    *reinterpret_cast<Vector*>(y + i) = vector_at(x + i);
#endif
  }
#if defined(__x86_64__)
  _mm_sfence();
#endif
}

}  // namespace

extern const LimitKernels HEED_JOIN(limits_, HEED_LIMITS_ISA);
constinit const LimitKernels HEED_JOIN(limits_, HEED_LIMITS_ISA) = {
    HEED_QUOTE(HEED_LIMITS_ISA),
    2 * kSums* static_cast<std::int64_t>(kLanes),
    std::int64_t{2} * kBroadcastRows* kTileVectors* kTileSteps* static_cast<std::int64_t>(kLanes),
    multiply_add,
    kMultiplyAddPairs,
    tile_rounds<Floats>,
    kTilePairs,
    sum,
    stream_copy};

}  // namespace heed::bench
