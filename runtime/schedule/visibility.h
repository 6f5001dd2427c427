// Which keys query rows see, and how many scores that makes, without looking at single rows.
#pragma once

#include <cstdint>

#include "heed/attention.h"

namespace heed::detail {

/// [first, last).
struct Range {
  std::int64_t first = 0, last = 0;
};

/// The mask of one sequence. Rows are (token, head of the group), flattened: token · group + head.
struct Visibility {
  std::int64_t queries = 0, keys = 0;
  std::int64_t group = 1;                          ///< query heads per KV head
  std::int64_t window_left = 0, window_right = 0;  ///< at most INT32_MAX
  Alignment alignment = Alignment::end;
  std::int64_t keys_before = 0, keys_after = 0;  ///< that other shards of the sequence have
  /// The first keys, which all tokens see; only where no window hides keys before.
  std::int64_t prefix = 0;

  /// The key position at which a token stands: a causal mask shows it the keys up to there.
  std::int64_t query_position(std::int64_t token) const {
    return token + (alignment == Alignment::start ? -keys_before : keys + keys_after - queries);
  }
  std::int64_t rows() const { return queries * group; }

  /// The keys that a token sees.
  Range of_token(std::int64_t token) const;
  /// The keys that some of the rows see, with any between them.
  Range of_rows(const Range& rows) const;
  /// How many of these keys each of the rows sees, summed; they must be keys of the sequence.
  std::int64_t scores(const Range& rows, const Range& keys) const;
};

}  // namespace heed::detail
