// Whether the elements that strides describe fit the address space and stay apart.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "heed/status.h"

namespace heed::detail {

/// Elements of the largest tensor, of up to 4 bytes each: an offset in bytes must fit a pointer
/// difference.
inline constexpr std::int64_t kMaxElements = std::numeric_limits<std::ptrdiff_t>::max() / 4;

/// One dimension of a strided tensor: its indices 0 … count − 1 are multiplied by the stride.
struct Axis {
  const char* name;  ///< what the caller calls the stride
  std::int64_t stride;
  std::int64_t count;
};

/// The strided dimensions of a tensor. Its last one is contiguous.
using Axes = std::array<Axis, 3>;

/// All dimensions: the strided ones, and the elements of the contiguous one.
struct StridedShape {
  Axes axes{};
  std::int64_t dims = 0;
};

/// A stride of what has no tokens may be anything, so that it may wrap around.
inline std::int64_t times(std::int64_t count, std::int64_t stride) {
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(count) *
                                   static_cast<std::uint64_t>(stride));
}

/// Every element's offset must be a number of bytes that a pointer difference can hold. `dims` is
/// the extent of the last dimension.
Status check_reach(const char* tensor, const Axes& axes, std::int64_t dims);

/// No two elements may share their place: sorted by size, each stride must pass over all that the
/// smaller ones reach. The axes have passed check_reach.
Status check_apart(const char* tensor, const Axes& axes, std::int64_t dims);

}  // namespace heed::detail
