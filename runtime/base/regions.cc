#include "runtime/base/regions.h"

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <limits>
#include <numeric>

#include "heed/tensor_data.h"
#include "runtime/base/element_types.h"
#include "runtime/base/message.h"

namespace heed::detail {
namespace {

constexpr Axes kOneVector{{{"", 0, 1}, {"", 0, 1}, {"", 0, 1}}};

std::int64_t saturating_add(std::int64_t a, std::int64_t b) {
  std::int64_t sum = 0;
  if (!__builtin_add_overflow(a, b, &sum)) return sum;
  return a < 0 ? std::numeric_limits<std::int64_t>::min()
               : std::numeric_limits<std::int64_t>::max();
}

/// From the first to the last element of some axes, in elements.
struct Reach {
  std::int64_t first = 0, last = 0;
};

/// Of the axes whose strides are below `step`, and of the contiguous dimension.
Reach reach_of(const StridedShape& shape, std::int64_t step) {
  Reach reach{0, shape.dims};
  for (const Axis& axis : shape.axes) {
    if (axis.count < 2 || std::abs(axis.stride) >= step) continue;
    (axis.stride < 0 ? reach.first : reach.last) += (axis.count - 1) * axis.stride;
  }
  return reach;
}

/// The greatest common divisor of the strides from `step` up.
std::int64_t common_step(const StridedShape& shape, std::int64_t step, std::int64_t divisor) {
  for (const Axis& axis : shape.axes) {
    if (axis.count < 2 || std::abs(axis.stride) < step) continue;
    divisor = std::gcd(divisor, std::abs(axis.stride));
  }
  return divisor;
}

/// Whether two shapes keep to different parts of a period: strides from `step` up are multiples of
/// it, and what the others reach does not meet. The second one begins at `distance` from the first.
bool apart_in_period(const StridedShape& a, const StridedShape& b, std::int64_t distance,
                     std::int64_t step) {
  const std::int64_t period = common_step(b, step, common_step(a, step, 0));
  const Reach of_a = reach_of(a, step), of_b = reach_of(b, step);
  const std::int64_t length_a = of_a.last - of_a.first, length_b = of_b.last - of_b.first;
  if (length_a > period || length_b > period - length_a) return false;
  const std::int64_t offset = (distance % period + period) % period;
  return offset >= length_a && offset <= period - length_b;
}

/// Whether [first, last), in bytes from a region's begin, has an element of its axes from `level`
/// on. The axes are sorted, the longest stride first.
bool has_element(const Axes& axes, std::size_t level, std::int64_t dims, std::int64_t first,
                 std::int64_t last) {
  if (level == axes.size()) return first < dims && last > 0;
  const Axis& axis = axes[level];
  if (axis.count == 1) return has_element(axes, level + 1, dims, first, last);
  std::int64_t inner = dims;
  for (std::size_t i = level + 1; i < axes.size(); ++i) {
    inner += (axes[i].count - 1) * axes[i].stride;
  }
  const std::int64_t from = first < inner ? 0 : (first - inner) / axis.stride + 1;
  const std::int64_t to = last < 1 ? -1 : std::min(axis.count - 1, (last - 1) / axis.stride);
  if (from > to) return false;
  if (to - from > 1) return true;  // one between them lies within as a whole
  const auto within = [&](std::int64_t i) {
    return has_element(axes, level + 1, dims, first - i * axis.stride, last - i * axis.stride);
  };
  return within(from) || (to > from && within(to));
}

/// The axes with strides above 0, from the region's begin, the longest first; others count once.
Axes ascending(const StridedShape& shape) {
  Axes axes = shape.axes;
  for (Axis& axis : axes) {
    axis.stride = axis.count < 2 ? 0 : std::abs(axis.stride);
    if (axis.stride == 0) axis.count = 1;
  }
  std::ranges::sort(axes, std::greater(), &Axis::stride);
  return axes;
}

/// Looks for each vector of `any` whether it has an element of `apart`.
bool vectors_meet(const Region& any, const Region& apart) {
  const Axes of_any = ascending(any.shape()), of_apart = ascending(apart.shape());
  const std::int64_t distance = any.begin() - apart.begin();
  for (std::int64_t i = 0; i < of_any[0].count; ++i) {
    for (std::int64_t j = 0; j < of_any[1].count; ++j) {
      for (std::int64_t k = 0; k < of_any[2].count; ++k) {
        const std::int64_t first =
            distance + i * of_any[0].stride + j * of_any[1].stride + k * of_any[2].stride;
        if (has_element(of_apart, 0, apart.shape().dims, first, first + any.shape().dims)) {
          return true;
        }
      }
    }
  }
  return false;
}

}  // namespace

std::string RegionName::text() const {
  std::string text = name;
  if (index >= 0) text.append("[").append(std::to_string(index)).append("]");
  return text.append(field);
}

Region::Region(const RegionName& name, const void* data, const StridedShape& shape, DType type)
    : name_(name),
      data_(data),
      shape_(in_bytes(shape, dtype_info(type))),
      alignment_(dtype_info(type).alignment) {
  const auto none = [](const Axis& axis) { return axis.count == 0; };
  if (data == nullptr || shape.dims == 0 || std::ranges::any_of(shape.axes, none)) return;
  const Reach reach = reach_of(shape_, std::numeric_limits<std::int64_t>::max());
  const auto address = static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(data));
  begin_ = saturating_add(address, reach.first);
  end_ = saturating_add(address, reach.last);
}

Region::Region(const RegionName& name, const void* data, std::int64_t floats)
    : Region(name, data, StridedShape{kOneVector, floats}) {}

bool Region::same_place(const Region& other) const {
  if (data_ != other.data_ || shape_.dims != other.shape_.dims) return false;
  for (std::size_t i = 0; i < shape_.axes.size(); ++i) {
    const Axis &a = shape_.axes[i], &b = other.shape_.axes[i];
    if (a.count != b.count || (a.stride != b.stride && a.count > 1)) return false;
  }
  return true;
}

bool interleave(const StridedShape& a, const StridedShape& b, std::int64_t distance) {
  for (const StridedShape* shape : {&a, &b}) {
    for (const Axis& axis : shape->axes) {
      if (axis.count < 2 || axis.stride == 0) continue;
      if (apart_in_period(a, b, distance, std::abs(axis.stride))) return true;
    }
  }
  return false;
}

bool share_elements(const Region& any, const Region& apart) {
  if (any.empty() || apart.empty()) return false;
  if (any.end() <= apart.begin() || apart.end() <= any.begin()) return false;
  const std::int64_t distance = apart.begin() - any.begin();
  return !interleave(any.shape(), apart.shape(), distance) && vectors_meet(any, apart);
}

Status check_aligned(const Region& region) {
  if (region.aligned()) return {};
  return invalid(region.name().text(), " must begin at a multiple of ", region.alignment(),
                 " bytes, as its elements do");
}

Status check_regions(std::span<const Region> outputs, std::span<const Region> inputs) {
  for (const Region& input : inputs) HEED_RETURN_IF_ERROR(check_aligned(input));
  for (const Region& output : outputs) HEED_RETURN_IF_ERROR(check_aligned(output));
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const auto check = [&](const Region& other) -> Status {
      if (!share_elements(other, outputs[i])) return {};
      return invalid(outputs[i].name().text(), " must not overlap ", other.name().text());
    };
    for (const Region& input : inputs) HEED_RETURN_IF_ERROR(check(input));
    for (const Region& other : outputs.first(i)) HEED_RETURN_IF_ERROR(check(other));
  }
  return {};
}

}  // namespace heed::detail
