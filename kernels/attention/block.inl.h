// Blocks of query rows, and which of them see which keys.
#pragma once

#include "kernels/attention/modifiers.inl.h"
#include "kernels/attention/visible.inl.h"
#include "kernels/attention/weights.inl.h"
#include "kernels/interface.h"
#include "kernels/scratch.h"

namespace heed::kernels {
namespace {

/// What rows that are lanes see: RowKeys, and the partition of the first key.
struct KeyLanes {
  const std::uint32_t** words;
  std::int32_t *head, *first, *last, *partition;
  static_assert(sizeof(*words) + 4 * sizeof(*head) == kVisibleFloats * sizeof(float));

  static HEED_INLINE KeyLanes at(float* memory, std::ptrdiff_t width) {
    auto* const numbers = reinterpret_cast<std::int32_t*>(memory + 2 * width);
    return {reinterpret_cast<const std::uint32_t**>(memory), numbers, numbers + width,
            numbers + 2 * width, numbers + 3 * width};
  }
  /// The lanes from this one on.
  HEED_INLINE KeyLanes from(std::ptrdiff_t lane) const {
    return {words + lane, head + lane, first + lane, last + lane, partition + lane};
  }
  HEED_INLINE void set(std::ptrdiff_t lane, const RowKeys& keys) const {
    words[lane] = keys.words;
    head[lane] = keys.head, first[lane] = keys.first, last[lane] = keys.last;
  }
};

/// A block of an item's rows, as many vectors of them as a register tile has or fewer, and the
/// places of its data in scratch.
struct Block {
  std::int32_t vectors, width;        ///< in vectors and in floats
  std::int32_t first_row, rows;       ///< of the item's rows, and how many are real
  std::int32_t head_end;              ///< the first keys that at least one row sees
  std::int32_t key_begin, key_end;    ///< of the others, visible to at least one row
  std::int32_t full_begin, full_end;  ///< visible to all rows, but for masks
  std::int32_t partition;             ///< whose state `partition_state` is being summed; −1: none
  std::int32_t shown_keys;            ///< of the coming tile, by the mask, in whole words
  bool overwrite;                     ///< O of `partition_state` has not been written yet
  bool masked;                        ///< keys were hidden in the current partition
  bool has_total;                     ///< `total` holds a state
  bool has_sections;                  ///< `sections` holds a state
  std::int32_t right_guesses;         ///< how many guesses of m in a row were right, or would be
  std::int32_t last_partition;        ///< that was merged into `total`
  std::int32_t next_state;            ///< the next partition whose states will be written
  float* q;                           ///< Qᵀ, head_dim × width
  KeyLanes keys;                      ///< per row
  TermLanes terms;                    ///< per row, where logits are modified
  State partition_state, total;       ///< of the partition and of the section being summed
  State sections;                     ///< of the sections before
};

/// The vectors of a block's rows of which any row sees any of some keys. They are neighbours.
struct Vectors {
  std::int32_t first, count;
  bool all;  ///< each of their rows sees each of the keys
};

/// The rows of a block that are computed together against some keys: all, or some vectors of them.
struct ActiveRows {
  const float* q;
  std::ptrdiff_t q_stride;
  KeyLanes keys;
  TermLanes terms;
  RunningState state;
};

/// Whether the rows of a vector see keys.
enum class Sight : std::uint8_t { none, some, all };

/// What the rows of each vector of a block see of the words of a partition of a mask.
template <class Arch, int Vectors>
class MaskSummary {
 public:
  /// Looks at the words that hold keys [begin, end), which the mask covers.
  void look(const MaskRows& mask, const Block& b, std::int32_t begin, std::int32_t end) {
    const std::int32_t first = (begin - mask.first_key) / kWordKeys;
    const std::int32_t last = (end - 1 - mask.first_key) / kWordKeys;
    for (std::int32_t v = 0; v < b.vectors; ++v) {
      std::uint32_t *const any = any_[v], *const all = all_[v];
      const std::uint32_t* const* const rows = b.keys.words + v * kLanes<Arch>;
      for (std::int32_t w = first; w <= last; ++w) {
        any[w % kPartitionWords] = all[w % kPartitionWords] = rows[0][w];
      }
      for (int i = 1; i < kLanes<Arch>; ++i) {
        if (rows[i] == rows[i - 1]) continue;
        for (std::int32_t w = first; w <= last; ++w) {
          any[w % kPartitionWords] |= rows[i][w];
          all[w % kPartitionWords] &= rows[i][w];
        }
      }
    }
  }

  /// Of keys of the partition that have been looked at.
  Sight of(std::int32_t v, std::int32_t begin, std::int32_t end) const {
    bool any = false, all = true;
    for (std::int32_t word = begin - begin % kWordKeys; word < end; word += kWordKeys) {
      const std::int32_t w = word % kPartitionKeys / kWordKeys;
      const std::uint32_t bits = bits_of(word, begin, end);
      any |= (any_[v][w] & bits) != 0;
      all &= (all_[v][w] & bits) == bits;
    }
    return all ? Sight::all : any ? Sight::some : Sight::none;
  }

 private:
  std::uint32_t any_[Vectors][kPartitionWords], all_[Vectors][kPartitionWords];
};

/// What the rows of vector v see of keys [begin, end), but for masks. Both ends of the rows'
/// intervals move up with the row, and so do those of their heads.
template <class Arch>
Sight sight(const Block& b, std::int32_t v, std::int32_t begin, std::int32_t end) {
  const std::int32_t top = v * kLanes<Arch>, bottom = top + kLanes<Arch> - 1;
  const KeyLanes& keys = b.keys;
  if (keys.first[bottom] <= begin && keys.last[top] >= end) return Sight::all;
  const bool of_windows = keys.first[top] < end && keys.last[bottom] > begin;
  if (!of_windows && keys.head[bottom] <= begin) return Sight::none;
  for (std::int32_t row = top; row <= bottom; ++row) {
    const bool sees = keys.head[row] >= end || (keys.first[row] <= begin && keys.last[row] >= end);
    if (!sees) return Sight::some;
  }
  return Sight::all;
}

/// Which rows of a vector see which keys of a tile.
template <class Arch>
class VisibleLanes {
 public:
  /// Of `count` keys from `begin` on.
  VisibleLanes(const MaskRows& mask, const KeyLanes& keys, std::int32_t begin, std::int32_t count)
      : lead_(begin % kWordKeys), masked_(mask.words != nullptr && begin >= mask.first_key) {
    constexpr int lanes = kLanes<Arch>;
    alignas(kAlignment) float head[lanes], first[lanes], last[lanes];
    for (int i = 0; i < lanes; ++i) {
      head[i] = static_cast<float>(keys.head[i] - begin);
      first[i] = static_cast<float>(keys.first[i] - begin);
      last[i] = static_cast<float>(keys.last[i] - begin);
    }
    head_ = load<Arch>(head), first_ = load<Arch>(first), last_ = load<Arch>(last);
    if (!masked_) return;
    const std::int32_t word = (begin - mask.first_key) / kWordKeys;
    const std::int32_t words = (lead_ + count + kWordKeys - 1) / kWordKeys;
    for (std::int32_t w = 0; w < words; ++w) {
      for (int i = 0; i < lanes; ++i) {
        words_[w][i] = static_cast<std::int32_t>(keys.words[i][word + w]);
      }
    }
  }

  /// The rows that see a key, counted from the first one. Its number is exact as a float, and so
  /// are those of ends of intervals near it.
  HEED_INLINE Mask<Arch> at(std::int32_t key) const {
    const Vec<Arch> j = splat<Arch>(static_cast<float>(key));
    const Mask<Arch> seen = ((j >= first_) & (j < last_)) | (j < head_);
    if (!masked_) return seen;
    const std::int32_t bit = lead_ + key;
    const auto words = Integers<Arch>::load_unaligned(words_[bit / kWordKeys]);
    return seen & Ops<Arch>::less(words << (kWordKeys - 1 - bit % kWordKeys), Integers<Arch>(0));
  }

 private:
  std::int32_t lead_;  ///< keys of the first word before the tile
  bool masked_;
  Vec<Arch> head_, first_, last_;
  std::int32_t words_[kPartitionWords][kLanes<Arch>];  // NOLINT: written before it is read
};

}  // namespace
}  // namespace heed::kernels
