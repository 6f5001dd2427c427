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

#if defined(__AVX512BF16__)
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
#else
constexpr float (*multiply_add_pairs)(std::int64_t, float, float) = nullptr;
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
    multiply_add,
    multiply_add_pairs,
    sum,
    stream_copy};

}  // namespace heed::bench
