// The floating-point environment that results are defined in.
#pragma once

#include "runtime/base/float_control.h"

namespace heed::detail {

/// What becomes of denormal numbers, as operands and as results.
enum class Denormals { kept, zero };

/// While it lives, this thread rounds to nearest, keeps denormals or not, and traps nothing,
/// whatever the host has set; then the host's setting is back.
class FloatEnvironment {
 public:
  explicit FloatEnvironment(Denormals denormals = Denormals::kept) noexcept
      : host_(FloatControl::read()) {
    FloatControl::write(denormals == Denormals::kept
                            ? FloatControl::kDefault
                            : FloatControl::kDefault | FloatControl::kDenormalsAreZero);
  }
  ~FloatEnvironment() { FloatControl::write(host_); }
  FloatEnvironment(const FloatEnvironment&) = delete;
  FloatEnvironment& operator=(const FloatEnvironment&) = delete;

 private:
  FloatControl::Word host_;
};

}  // namespace heed::detail
