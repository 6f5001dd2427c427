// Which keys queries see beside causal masks and windows, told while planning: work on keys that
// nobody sees is never scheduled, and one plan serves all layers.
#pragma once

#include <cstdint>
#include <span>

#include "heed/export.h"

namespace heed {

/// What the elements of a mask are.
enum class MaskType {
  bits,   ///< 1: visible. Element i is bit i % 8 of byte i / 8, the lowest one first
  bytes,  ///< anything but 0: visible, as in PyTorch's masks of bool
  f32,    ///< 0: visible, −∞: hidden. Other numbers are biases, and refused here
  f16,    ///< likewise
  bf16,   ///< likewise
};

/// Which keys queries see, element by element; what causal masks, windows and lengths hide stays
/// hidden. The element of (sequence, head, query, key) is number
///
///     sequence · sequence_stride + head · head_stride + query / query_block · query_stride + key /
///     key_block
///
/// a stride of 0 means that all share it. Ragged queries are counted through all sequences, and the
/// sequence stride is not used then (query_block counts from each sequence's first one, and must be
/// 1). Keys are counted in each sequence, from the first one of the batch's shard where there are
/// shards. A plan keeps a bit for each key and row of the mask.
struct KeyMask {
  MaskType type = MaskType::bytes;
  const void* data = nullptr;
  std::int64_t sequence_stride = 0;  ///< in elements, as all strides; of bits multiples of 8
  std::int64_t head_stride = 0;      ///< from query head to query head
  std::int64_t query_stride = 0;
  std::int64_t query_block = 1;  ///< queries that share elements, ≥ 1: block-sparse masks
  std::int64_t key_block = 1;    ///< keys that share an element, ≥ 1
  /// The mask is of so many keys, the last ones of each sequence, and `key` counts from the first
  /// of these; all keys before are visible. So a tree of speculated tokens is a mask of bits over
  /// these tokens alone. 0: of all keys.
  std::int64_t last_keys = 0;

  /// [sequence, head, query, key], contiguous.
  static constexpr KeyMask bhqk(MaskType type, const void* data, std::int64_t heads,
                                std::int64_t queries, std::int64_t keys) {
    return {type, data, heads * queries * keys, queries * keys, keys};
  }
  /// [query, key], contiguous, of all sequences and heads.
  static constexpr KeyMask qk(MaskType type, const void* data, std::int64_t keys) {
    return {type, data, 0, 0, keys};
  }
};

/// The keys that each query sees, by their numbers in its sequence: a cache with the tokens of many
/// sequences in any order is one sequence to heed, of which each query sees its own. In all heads;
/// what causal masks and windows hide stays hidden. An order of the numbers, or one that comes
/// twice, changes nothing.
struct KeyLists {
  /// The keys of query i are keys[offsets[i]] … keys[offsets[i + 1] − 1]. Queries are counted
  /// through all sequences; one entry more than there are queries, the first one 0.
  std::span<const std::int64_t> offsets = {};
  std::span<const std::int32_t> keys = {};
};

}  // namespace heed
