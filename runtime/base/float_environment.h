// The floating-point environment that results are defined in.
#pragma once

#include <xmmintrin.h>

namespace heed::detail {

/// What becomes of denormal numbers, as operands and as results.
enum class Denormals { kept, zero };

/// While it lives, this thread rounds to nearest, keeps denormals or not, and traps nothing,
/// whatever the host has set; then the host's setting is back.
class FloatEnvironment {
 public:
  explicit FloatEnvironment(Denormals denormals = Denormals::kept) noexcept : host_(_mm_getcsr()) {
    _mm_setcsr(denormals == Denormals::kept ? kDefault : kDefault | kDenormalsAreZero);
  }
  ~FloatEnvironment() { _mm_setcsr(host_); }
  FloatEnvironment(const FloatEnvironment&) = delete;
  FloatEnvironment& operator=(const FloatEnvironment&) = delete;

 private:
  /// The processor's state after reset: all exceptions masked, no flag, round to nearest.
  static constexpr unsigned kDefault = 0x1F80;
  /// Flush-to-zero and denormals-are-zero.
  static constexpr unsigned kDenormalsAreZero = 0x8040;
  unsigned host_;
};

}  // namespace heed::detail
