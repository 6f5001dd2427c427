#include "runtime/base/strides.h"

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <string>

#include "runtime/base/message.h"

namespace heed::detail {
namespace {

bool empty(const Axes& axes) {
  return std::ranges::any_of(axes, [](const Axis& axis) { return axis.count == 0; });
}

/// "the layout of k (page 64, token 8, head 4)"
std::string in_words(const char* tensor, const Axes& axes) {
  std::string text = std::string("the layout of ") + tensor;
  const char* separator = " (";
  for (const Axis& axis : axes) {
    text.append(separator).append(axis.name).append(" ").append(std::to_string(axis.stride));
    separator = ", ";
  }
  return text + ")";
}

}  // namespace

Status check_reach(const char* tensor, const Axes& axes, std::int64_t dims) {
  if (empty(axes)) return {};
  constexpr std::int64_t lowest = std::numeric_limits<std::int64_t>::min();
  std::int64_t reach = dims;
  for (const Axis& axis : axes) {
    std::int64_t term = 0;
    if (axis.stride == lowest || __builtin_mul_overflow(axis.count - 1, axis.stride, &term) ||
        term == lowest || __builtin_add_overflow(reach, std::abs(term), &reach) ||
        reach > kMaxElements) {
      return invalid(in_words(tensor, axes), " reaches beyond the address space");
    }
  }
  return {};
}

Status check_apart(const char* tensor, const Axes& axes, std::int64_t dims) {
  if (empty(axes)) return {};
  Axes sorted = axes;
  std::ranges::sort(sorted, {}, [](const Axis& axis) { return std::abs(axis.stride); });
  std::int64_t reach = dims;
  for (const Axis& axis : sorted) {
    if (axis.count == 1) continue;
    if (std::abs(axis.stride) < reach) {
      return invalid(in_words(tensor, axes), " lets elements overlap: a stride of ",
                     std::abs(axis.stride), " must be at least ", reach);
    }
    reach += std::abs(axis.stride) * (axis.count - 1);
  }
  return {};
}

}  // namespace heed::detail
