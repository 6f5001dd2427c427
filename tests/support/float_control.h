// The register that controls floating-point arithmetic, as hosts may set it: MXCSR of x86-64, FPCR
// of aarch64.
#pragma once

#if defined(__aarch64__)
#include <cstdint>
#else
#include <xmmintrin.h>
#endif

namespace heed::tests {

#if defined(__aarch64__)

using FloatControl = std::uint64_t;

inline FloatControl float_control() {
  FloatControl word = 0;
  asm volatile("mrs %0, fpcr" : "=r"(word) : : "memory");
  return word;
}
inline void set_float_control(FloatControl word) {
  asm volatile("msr fpcr, %0" : : "r"(word) : "memory");
}

/// Round to nearest, nothing trapped or flushed; and what is added to it.
inline constexpr FloatControl kPlain = 0, kFlush = 1U << 24, kRoundUp = 1U << 22,
                              kRoundDown = 2U << 22, kRoundToZero = 3U << 22;

/// The settings of a word, without the flags that any arithmetic may raise.
inline FloatControl settings(FloatControl word) { return word; }

/// All exceptions trap, where the processor can.
inline FloatControl trapping(FloatControl word) { return word | 0x9F00U; }

#else

using FloatControl = unsigned;

inline FloatControl float_control() { return _mm_getcsr(); }
inline void set_float_control(FloatControl word) { _mm_setcsr(word); }

/// Round to nearest, nothing trapped or flushed; and what is added to it.
inline constexpr FloatControl kPlain = 0x1F80, kFlush = 0x8040, kRoundUp = 0x4000,
                              kRoundDown = 0x2000, kRoundToZero = 0x6000;

/// The settings of a word, without the flags that any arithmetic may raise.
inline FloatControl settings(FloatControl word) { return word & ~0x3FU; }

/// All exceptions trap.
inline FloatControl trapping(FloatControl word) { return word & ~0x1F80U; }

#endif

}  // namespace heed::tests
