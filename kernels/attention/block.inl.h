// Blocks of query rows, and which of them see which keys.
#pragma once

#include "kernels/attention/modifiers.inl.h"
#include "kernels/attention/weights.inl.h"
#include "kernels/interface.h"

namespace heed::kernels {
namespace {

/// A block of an item's rows, as many vectors of them as a register tile has or fewer, and the
/// places of its data in scratch.
struct Block {
  std::int32_t vectors, width;        ///< in vectors and in floats
  std::int32_t first_row, rows;       ///< of the item's rows, and how many are real
  std::int32_t key_begin, key_end;    ///< visible to at least one row
  std::int32_t full_begin, full_end;  ///< visible to all rows
  std::int32_t partition;             ///< whose state `partition_state` is being summed; −1: none
  bool overwrite;                     ///< O of `partition_state` has not been written yet
  bool masked;                        ///< a mask was applied in the current partition
  bool has_total;                     ///< `total` holds a state
  bool has_sections;                  ///< `sections` holds a state
  std::int32_t right_guesses;         ///< how many guesses of m in a row were right, or would be
  float* q;                           ///< Qᵀ, head_dim × width
  std::int32_t* first_key;            ///< per row: visible keys are [first_key, last_key)
  std::int32_t* last_key;
  TermLanes terms;               ///< per row, where logits are modified
  State partition_state, total;  ///< of the partition and of the section being summed
  State sections;                ///< of the sections before
};

/// The vectors of a block's rows of which any row sees any of some keys. They are neighbours.
struct Vectors {
  std::int32_t first, count;
  bool all;  ///< each of their rows sees each of the keys
  bool operator==(const Vectors&) const = default;
};

/// The rows of a block that are computed together against some keys: all, or some vectors of them.
struct ActiveRows {
  const float* q;
  std::ptrdiff_t q_stride;
  const std::int32_t* first_key;
  const std::int32_t* last_key;
  TermLanes terms;
  RunningState state;
};

/// Whether any row sees keys of the partition.
HEED_INLINE bool sees_partition(const Block& b, std::int32_t partition) {
  const std::int64_t begin = static_cast<std::int64_t>(partition) * kPartitionKeys;
  return b.key_begin < b.key_end && b.key_begin < begin + kPartitionKeys && b.key_end > begin;
}

/// The vectors of which any row sees any of the keys [begin, end). Both ends of the rows' intervals
/// move up with the row, so that these vectors are neighbours.
template <class Arch>
Vectors vectors_that_see(const Block& b, std::int32_t begin, std::int32_t end) {
  constexpr int lanes = kLanes<Arch>;
  Vectors seeing{0, 0, true};
  for (std::int32_t v = 0; v < b.vectors; ++v) {
    const std::int32_t top = v * lanes, bottom = top + lanes - 1;
    if (b.first_key[top] >= end || b.last_key[bottom] <= begin) continue;
    if (seeing.count++ == 0) seeing.first = v;
    seeing.all &= b.first_key[bottom] <= begin && b.last_key[top] >= end;
  }
  return seeing;
}

template <class Arch>
struct Interval {
  Vec<Arch> first, last;
};

/// The visible keys of vector v's rows, counted from key `begin`; as floats, which are exact
/// within a tile.
template <class Arch>
Interval<Arch> interval(const ActiveRows& rows, std::int32_t begin, int v) {
  constexpr int lanes = kLanes<Arch>;
  alignas(kAlignment) float first[lanes], last[lanes];
  for (int i = 0; i < lanes; ++i) {
    first[i] = static_cast<float>(rows.first_key[v * lanes + i] - begin);
    last[i] = static_cast<float>(rows.last_key[v * lanes + i] - begin);
  }
  return {load<Arch>(first), load<Arch>(last)};
}

}  // namespace
}  // namespace heed::kernels
