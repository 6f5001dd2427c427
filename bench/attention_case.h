// An attention workload as heed describes it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "bench/cache_pages.h"
#include "bench/key_masks.h"
#include "bench/memory.h"
#include "bench/workloads.h"
#include "heed/attention.h"
#include "tests/proof/geometry.h"
#include "tests/proof/modifiers.h"

namespace heed::bench {

/// The description, and the sizes and contents of the tensors. Dense where all sequences are of one
/// length, ragged where not. Unless the workload names a layout, queries, and keys and values that
/// belong to the same tokens, lie as projections write them ([sequence, token, head, head_dim]),
/// those of a cache as caches hold them ([sequence, kv_head, token, head_dim], each slot as long as
/// the longest sequence). Keys and values in pages belong to a cache: [page, kv_head, token,
/// head_dim].
class AttentionCase {
 public:
  explicit AttentionCase(const AttentionWorkload& workload);
  AttentionCase(const AttentionCase&) = delete;
  AttentionCase& operator=(const AttentionCase&) = delete;

  const AttentionConfig& config() const { return config_; }
  /// Refers to arrays in this object.
  const Batch& batch() const { return batch_; }
  /// Of a run on any copy of keys and values: each has pages of its own. Empty where these lie in
  /// none. Refers to arrays in this object.
  PageTables tables() const { return pages_.tables(); }
  proof::Geometry geometry() const { return {config_, batch_, tables()}; }
  ScoreModifiers modifiers() const { return modifiers_->modifiers(); }
  /// In words: that of all tensors, or those of queries and of keys and values, and their pages;
  /// and what is done to scores.
  std::string layout() const;

  Inputs query_inputs() const { return inputs(1); }
  Inputs kv_inputs() const { return inputs(2); }
  std::size_t query_floats() const { return query_floats_; }  ///< of q, and of out
  std::size_t key_floats() const { return key_floats_; }      ///< elements of k, and of v
  /// From the keys of a copy to its values, in elements: a multiple of 128, which is at a cache
  /// line but for q8_0 and q4_0, and where its inputs are others.
  std::size_t value_offset() const;
  /// From one copy of keys and values to the next, in elements.
  std::size_t kv_copy_floats() const { return 2 * value_offset(); }
  /// The same in bytes.
  std::size_t kv_copy_bytes() const;
  /// Scales of the keys of a copy, and of its values; 0 for types that have none.
  std::size_t scale_floats() const { return scale_floats_; }
  /// Bytes of the keys and values, and of their scales, that some query sees, each once, also where
  /// sequences share it.
  double needed_bytes() const;

 private:
  Lengths describe_queries();
  Lengths describe_keys();
  void lay_out();
  PagedLayout page_layout() const;
  void share_prefixes();
  void lay_out_scales();
  void size_tensors();
  bool queries_by_head() const { return workload_.layout == TensorLayout::bhsd; }
  bool keys_by_head() const;
  std::string pages_in_words() const;
  Inputs inputs(std::uint64_t seed) const;

  const AttentionWorkload& workload_;
  AttentionConfig config_;
  std::vector<std::int32_t> query_offsets_, key_offsets_, shared_prefixes_;
  CachePages pages_;
  KeyMaskOf mask_;
  Batch batch_;
  std::optional<proof::ModifierTensors> modifiers_;
  std::size_t query_floats_ = 0, key_floats_ = 0, scale_floats_ = 0;
};

}  // namespace heed::bench
