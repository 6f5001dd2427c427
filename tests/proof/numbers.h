// Numbers that many tests and references ask for.
#pragma once

#include <limits>

namespace heed::proof {

inline constexpr float kInfinity = std::numeric_limits<float>::infinity();
inline constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

/// The largest relative error of rounding to a float.
inline constexpr double kEpsilon = 0x1p-24;

}  // namespace heed::proof
