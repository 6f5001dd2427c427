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

/// The bits of keys before the `count`th of a partition, in its words.
std::int64_t count_bits(const std::uint32_t* words, std::int64_t count) {
  std::int64_t bits = 0;
  for (; count >= 32; count -= 32) bits += ones(*words++);
  return count == 0 ? bits : bits + ones(*words << (32 - count));
}

}  // namespace

std::int64_t MaskView::count_before(std::int64_t row, std::int64_t key) const {
  const std::int64_t own = key - rows.first_key, partition = own / kPartitionKeys;
  return totals[row * (partitions + 1) + partition] +
         count_bits(rows.words + row * rows.row_words + partition * (kPartitionKeys / 32),
                    own % kPartitionKeys);
}

std::int64_t MaskView::count(std::int64_t row, std::int64_t begin, std::int64_t end) const {
  if (begin >= end) return 0;
  const std::int64_t first = std::clamp<std::int64_t>(rows.first_key, begin, end);
  return first - begin + (first < end ? count_before(row, end) - count_before(row, first) : 0);
}

Range MaskView::trimmed(std::int64_t row, std::int64_t begin, std::int64_t end) const {
  const std::int32_t* const before = totals + row * (partitions + 1);
  const auto shows = [&](std::int64_t key) {
    const std::int64_t partition = (key - rows.first_key) / kPartitionKeys;
    return before[partition + 1] > before[partition];
  };
  while (begin < end && begin >= rows.first_key && !shows(begin)) {
    begin = (begin / kPartitionKeys + 1) * kPartitionKeys;
  }
  while (begin < end && end > rows.first_key && !shows(end - 1)) {
    end = (end - 1) / kPartitionKeys * kPartitionKeys;
  }
  return {std::min(begin, end), end};
}

/// The first keys that a token sees, whatever its window.
std::int64_t Visibility::head_of(std::int64_t token) const {
  const std::int64_t last = clamp(query_position(token) + window_right + 1, {0, keys});
  return std::max(prefix, std::min(keep_first, last));
}

/// The end of tokens, from this one on and at most `end`, that see the same keys: those of a row of
/// the mask, from its first one on, whose windows are the same at both ends. Windows move one way,
/// and what tokens see before them depends on where they end.
std::int64_t Visibility::end_of_alike(std::int64_t token, std::int64_t end) const {
  const std::int64_t block = mask.rows.query_block;
  const std::int64_t last = std::min(end, token + (token % block == 0 ? block : 1));
  if (last <= token + 1) return last;
  const Range window = window_of(token), other = window_of(last - 1);
  return window.first == other.first && window.last == other.last ? last : token + 1;
}

Range Visibility::window_of(std::int64_t token) const {
  const std::int64_t position = query_position(token), head = head_of(token);
  const Range window{clamp(position - window_left, {0, keys}),
                     clamp(position + window_right + 1, {0, keys})};
  return head > 0 && head >= window.first ? Range{0, std::max(head, window.last)} : window;
}

Range Visibility::of_rows(const Range& rows) const {
  Range all{keys, 0};
  const auto include = [&](const Range& own) {
    if (own.first >= own.last) return;
    all = {std::min(all.first, own.first), std::max(all.last, own.last)};
  };
  const std::int64_t first = rows.first / group, last = (rows.last - 1) / group;
  if (!mask.exists()) {
    if (kept() == 0) return {window_of(first).first, window_of(last).last};
    // Windows of the last tokens may lie behind the last key, where those before end.
    const std::int64_t reaching = keys - 1 + window_left - query_position(0);
    for (const std::int64_t token : {first, std::clamp(reaching, first, last)}) {
      include(window_of(token));
    }
    for (const std::int64_t token : {first, last}) include({0, head_of(token)});
    return all.first < all.last ? all : Range{0, 0};
  }
  for (std::int64_t token = first; token <= last; token = end_of_alike(token, last + 1)) {
    const Range window = window_of(token);
    const Range seen{head_of(token) > 0 ? 0 : window.first, std::max(window.last, head_of(token))};
    for (std::int64_t head = 0; head < mask.rows.heads; ++head) {
      include(mask.trimmed(mask.row_of(token, head), seen.first, seen.last));
    }
  }
  return all.first < all.last ? all : Range{0, 0};
}

Range Visibility::gap_of(const Range& rows) const {
  const std::int64_t first = rows.first / group, last = (rows.last - 1) / group;
  const Range gap{head_of(last), window_of(first).first};
  return gap.first < gap.last ? gap : Range{0, 0};
}

std::int64_t Visibility::scores(const Range& rows, const Range& range) const {
  return mask.exists() ? masked_scores(rows, range) : unmasked_scores(rows, range);
}

/// Of a token that stands at position p there are clamp(max(p + right + 1, prefix)) before the end
/// of its window, and of these clamp(max(p − left, kept)) − clamp(kept) are hidden by the window.
std::int64_t Visibility::unmasked_scores(const Range& rows, const Range& range) const {
  const std::int64_t kept_keys = clamp(kept(), range);
  const auto before = [&](std::int64_t row) {
    const std::int64_t tokens = row / group;
    const std::int64_t first = query_position(0) - window_left;
    const std::int64_t last = query_position(0) + window_right + 1;
    const Range lasts{clamp(prefix, range), range.last}, firsts{kept_keys, range.last};
    const auto of_token = [&](std::int64_t token) {
      return clamp(last + token, lasts) - clamp(first + token, firsts) + kept_keys - range.first;
    };
    const std::int64_t whole = sum_of_clamped(last, tokens, lasts) -
                               sum_of_clamped(first, tokens, firsts) +
                               tokens * (kept_keys - range.first);
    return whole * group + row % group * of_token(tokens);
  };
  return before(rows.last) - before(rows.first);
}

std::int64_t Visibility::masked_scores(const Range& rows, const Range& range) const {
  const auto of_row = [&](std::int64_t row) {
    const std::int64_t token = row / group;
    const std::int64_t own = mask.row_of(token, row % group), head = head_of(token);
    const Range window = window_of(token);
    const auto count = [&](std::int64_t first, std::int64_t last) {
      return mask.count(own, clamp(first, range), clamp(last, range));
    };
    return count(window.first, window.last) + (window.first > head ? count(0, head) : 0);
  };
  std::int64_t sum = 0;
  for (std::int64_t row = rows.first; row < rows.last;) {
    const std::int64_t token = row / group;
    const std::int64_t end = row % group == 0 ? end_of_alike(token, rows.last / group) : token;
    const std::int64_t last = end > token ? end * group : std::min(rows.last, (token + 1) * group);
    const std::int64_t different = mask.rows.heads == 1 ? 1 : std::min(group, last - row);
    for (std::int64_t i = 0; i < different; ++i) {
      sum += (last - row) / different * of_row(row + i);
    }
    row = last;
  }
  return sum;
}

}  // namespace heed::detail
