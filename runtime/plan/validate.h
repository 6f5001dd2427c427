// The door of plan_attention: every fault of the caller is found here, before any work.
#pragma once

#include <optional>

#include "runtime/plan/plan_data.h"
#include "runtime/plan/tiles.h"

namespace heed::detail {

/// A description with its defaults filled in.
struct Description {
  AttentionConfig config;  ///< value_head_dim and scale are set
  std::int64_t sequences = 0;
  Lengths query, key;
  Layout q, k, v, out, lse;
  ScaleLayout k_scales, v_scales;  ///< of types that have scales
  TensorShapes shapes;
  std::optional<PagedLayout> pages;
  std::optional<KeyShard> shard;
  std::span<const std::int32_t> shared_prefixes, visible_prefixes;
  std::optional<KeyMask> mask;
  std::optional<KeyLists> key_lists;
  int workers = 1;
  TileSizes tiles;  ///< 0: the plan chooses
  float query_factor = 0;
  bool bf16_products = false;
};

/// Checks everything and fills in the defaults.
Status complete_description(const AttentionConfig& config, const Batch& batch,
                            const PlanOptions& options, Description& description);

/// The number of tokens of sequence b.
inline std::int64_t tokens_of(const Lengths& lengths, std::int64_t b) {
  const auto i = static_cast<std::size_t>(b);
  if (!lengths.offsets.empty()) return lengths.offsets[i + 1] - lengths.offsets[i];
  return lengths.lengths.empty() ? lengths.length : lengths.lengths[i];
}

/// The position of sequence b's first key in the whole sequence, and the length of that.
inline std::int64_t first_key_of(const KeyShard& shard, std::int64_t b) {
  return shard.first_keys.empty() ? shard.first_key : shard.first_keys[static_cast<std::size_t>(b)];
}
inline std::int64_t whole_length_of(const KeyShard& shard, std::int64_t b) {
  return shard.whole_lengths.empty() ? shard.whole_length
                                     : shard.whole_lengths[static_cast<std::size_t>(b)];
}

}  // namespace heed::detail
