// The register that controls floating-point arithmetic: MXCSR of x86-64, FPCR of aarch64.
#pragma once

#if defined(__aarch64__)
#include <cstdint>
#else
#include <xmmintrin.h>
#endif

namespace heed::detail {

#if defined(__aarch64__)

/// Numbers that are denormal before they are rounded are zeros with kDenormalsAreZero; x86-64 looks
/// at them after rounding.
struct FloatControl {
  using Word = std::uint64_t;
  /// Nothing traps, denormals and NaN are kept, round to nearest.
  static constexpr Word kDefault = 0;
  /// FZ.
  static constexpr Word kDenormalsAreZero = Word{1} << 24;

  static Word read() noexcept {
    Word word = 0;
    asm volatile("mrs %0, fpcr" : "=r"(word) : : "memory");
    return word;
  }
  static void write(Word word) noexcept { asm volatile("msr fpcr, %0" : : "r"(word) : "memory"); }
};

#else

struct FloatControl {
  using Word = unsigned;
  /// The processor's state after reset: all exceptions masked, no flag, round to nearest.
  static constexpr Word kDefault = 0x1F80;
  /// Flush-to-zero and denormals-are-zero.
  static constexpr Word kDenormalsAreZero = 0x8040;

  static Word read() noexcept { return _mm_getcsr(); }
  static void write(Word word) noexcept { _mm_setcsr(word); }
};

#endif

}  // namespace heed::detail
