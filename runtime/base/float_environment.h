// The floating-point environment that results are defined in.
#pragma once

#include <xmmintrin.h>

namespace heed::detail {

/// While it lives, this thread rounds to nearest, keeps denormals and traps nothing, whatever the
/// host has set; then the host's setting is back.
class FloatEnvironment {
 public:
  FloatEnvironment() noexcept : host_(_mm_getcsr()) { _mm_setcsr(kDefault); }
  ~FloatEnvironment() { _mm_setcsr(host_); }
  FloatEnvironment(const FloatEnvironment&) = delete;
  FloatEnvironment& operator=(const FloatEnvironment&) = delete;

 private:
  /// The processor's state after reset: all exceptions masked, no flag, round to nearest.
  static constexpr unsigned kDefault = 0x1F80;
  unsigned host_;
};

}  // namespace heed::detail
