// Which keys query rows see, and how many scores that makes, without looking at single rows where
// no mask says otherwise.
#pragma once

#include <cstdint>

#include "heed/attention.h"
#include "kernels/interface.h"

namespace heed::detail {

/// [first, last).
struct Range {
  std::int64_t first = 0, last = 0;
};

/// The ones of a word, of which each byte counts its own first. Processors that this code is
/// compiled for may lack an instruction for it, and a call of a library takes longer.
constexpr std::int64_t ones(std::uint32_t word) {
  word -= word >> 1U & 0x55555555U;
  word = (word & 0x33333333U) + (word >> 2U & 0x33333333U);
  return ((word + (word >> 4U)) & 0x0F0F0F0FU) * 0x01010101U >> 24U;
}

/// The rows of a mask that belong to one sequence, and to one KV head where heads differ, with
/// numbers of visible keys: row r has, from totals[r · (partitions + 1)] on, how many keys are
/// visible before each partition from `rows.first_key` on, and in all.
struct MaskView {
  kernels::MaskRows rows;
  const std::int32_t* totals = nullptr;
  std::int64_t partitions = 0;

  bool exists() const { return rows.words != nullptr; }
  std::int64_t row_of(std::int64_t token, std::int64_t head) const {
    return token / rows.query_block * rows.heads + head % rows.heads;
  }
  /// How many of keys [begin, end) a row of the mask shows.
  std::int64_t count(std::int64_t row, std::int64_t begin, std::int64_t end) const;
  /// Keys [begin, end) without the partitions at their ends of which none is shown.
  Range trimmed(std::int64_t row, std::int64_t begin, std::int64_t end) const;

 private:
  std::int64_t count_before(std::int64_t row, std::int64_t key) const;
};

/// Which keys the rows of one sequence see. Rows are (token, head of the group), flattened: token ·
/// group + head.
struct Visibility {
  std::int64_t queries = 0, keys = 0;
  std::int64_t group = 1;                          ///< query heads per KV head
  std::int64_t window_left = 0, window_right = 0;  ///< at most INT32_MAX
  Alignment alignment = Alignment::end;
  std::int64_t keys_before = 0, keys_after = 0;  ///< that other shards of the sequence have
  /// The first keys, which all tokens see, and those that windows do not hide on their left.
  std::int64_t prefix = 0, keep_first = 0;
  MaskView mask = {};

  /// The key position at which a token stands: a causal mask shows it the keys up to there.
  std::int64_t query_position(std::int64_t token) const {
    return token + (alignment == Alignment::start ? -keys_before : keys + keys_after - queries);
  }
  std::int64_t rows() const { return queries * group; }

  /// The keys of a token's window, or of more, each of which it sees but for a mask.
  Range window_of(std::int64_t token) const;
  /// The keys that some of the rows see, with any between them.
  Range of_rows(const Range& rows) const;
  /// Keys of these that none of the rows sees, between the first ones and those of their windows.
  Range gap_of(const Range& rows) const;
  /// How many of these keys each of the rows sees, summed; they must be keys of the sequence.
  std::int64_t scores(const Range& rows, const Range& keys) const;
  /// Whether parts of the keys of equal size may have very different numbers of scores.
  bool uneven() const { return mask.exists() || kept() > 0; }

 private:
  std::int64_t kept() const { return prefix > keep_first ? prefix : keep_first; }
  std::int64_t head_of(std::int64_t token) const;
  std::int64_t end_of_alike(std::int64_t token, std::int64_t end) const;
  std::int64_t unmasked_scores(const Range& rows, const Range& keys) const;
  std::int64_t masked_scores(const Range& rows, const Range& keys) const;
};

}  // namespace heed::detail
