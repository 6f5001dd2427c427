#include "runtime/schedule/visibility.h"

#include <algorithm>

namespace heed::detail {
namespace {

std::int64_t clamp(std::int64_t position, const Range& range) {
  return std::clamp(position, range.first, range.last);
}

/// The sum of clamp(start + i, range) over i = 0 … count − 1: positions before the range, within
/// it, and after it.
std::int64_t sum_of_clamped(std::int64_t start, std::int64_t count, const Range& range) {
  const std::int64_t before = std::clamp<std::int64_t>(range.first - start, 0, count);
  const std::int64_t within =
      std::clamp<std::int64_t>(range.last - (start + before), 0, count - before);
  const std::int64_t after = count - before - within;
  return before * range.first + within * (start + before) + within * (within - 1) / 2 +
         after * range.last;
}

}  // namespace

Range Visibility::of_token(std::int64_t token) const {
  const std::int64_t position = query_position(token);
  return {clamp(position - window_left, {0, keys}),
          clamp(std::max(position + window_right + 1, prefix), {0, keys})};
}

Range Visibility::of_rows(const Range& rows) const {
  return {of_token(rows.first / group).first, of_token((rows.last - 1) / group).last};
}

std::int64_t Visibility::scores(const Range& rows, const Range& range) const {
  const auto before = [&](std::int64_t row) {
    const std::int64_t tokens = row / group;
    const std::int64_t first = query_position(0) - window_left;
    const std::int64_t last = query_position(0) + window_right + 1;
    const Range lasts{clamp(prefix, range), range.last};  // of a row's visible keys
    const std::int64_t whole =
        sum_of_clamped(last, tokens, lasts) - sum_of_clamped(first, tokens, range);
    return whole * group +
           row % group * (clamp(last + tokens, lasts) - clamp(first + tokens, range));
  };
  return before(rows.last) - before(rows.first);
}

}  // namespace heed::detail
