// Which keys a query sees: an interval around its position, which moves up with the token, or from
// the first key to there, or to the end of a prefix that all see.
#pragma once

#include "kernels/interface.h"
#include "kernels/vector/simd.inl.h"

namespace heed::kernels {
namespace {

/// Keys first … last − 1.
struct KeyInterval {
  std::int32_t first, last;
  bool operator==(const KeyInterval&) const = default;
};

/// The keys among `keys` that a token of the item sees, for both kernels.
HEED_INLINE KeyInterval visible_keys(const AttentionShape& shape, const AttentionItem& item,
                                     std::int32_t token, KeyInterval keys) {
  const auto clamp = [&](std::int64_t key) {
    return static_cast<std::int32_t>(key < keys.first  ? keys.first
                                     : key > keys.last ? keys.last
                                                       : key);
  };
  const std::int64_t position = token + item.query_position;
  const std::int64_t last = position + shape.window_right + 1;
  return {clamp(position - shape.window_left), clamp(last > item.prefix ? last : item.prefix)};
}

}  // namespace
}  // namespace heed::kernels
