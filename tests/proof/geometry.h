// Where the rows of a described batch lie in memory and which keys each one sees: the description
// of include/heed/attention.h taken literally, one element at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "heed/attention.h"
#include "tests/proof/elements.h"

namespace heed::proof {

/// One output row.
struct Row {
  std::int64_t sequence = 0, token = 0, head = 0;
};

/// Keys begin … end − 1; none where begin ≥ end.
struct KeyRange {
  std::int64_t begin = 0, end = 0;
};

/// The tokens of one side of a batch, whatever form describes them.
class Tokens {
 public:
  Tokens(const Lengths& lengths, std::int64_t sequences);

  std::int64_t length(std::int64_t sequence) const { return length_[index(sequence)]; }
  /// The number of tokens that a contiguous tensor holds: per sequence, or in all where ragged.
  std::int64_t slot() const { return slot_; }
  bool ragged() const { return ragged_; }
  std::int64_t offset(const Layout& layout, std::int64_t sequence, std::int64_t token,
                      std::int64_t head) const;

 private:
  static std::size_t index(std::int64_t i) { return static_cast<std::size_t>(i); }

  std::vector<std::int64_t> length_, first_;
  std::int64_t slot_ = 0;
  bool ragged_ = false;
};

/// The pages that hold the keys of each sequence, whatever form of tables names them.
class PageLists {
 public:
  PageLists(const PagedLayout& layout, const PageTables& tables, const Tokens& keys,
            std::int64_t sequences);

  const PagedLayout& layout() const { return layout_; }
  std::int64_t offset(const PageStrides& strides, std::int64_t sequence, std::int64_t key,
                      std::int64_t head) const;

 private:
  PagedLayout layout_;
  std::vector<std::vector<std::int32_t>> pages_;
};

/// A description, resolved; where keys and values lie in pages, together with the tables of a run.
/// Keeps nothing of the spans, but what a mask points to must stay.
class Geometry {
 public:
  Geometry(const AttentionConfig& config, const Batch& batch, const PageTables& tables = {});

  const AttentionConfig& config() const { return config_; }
  std::int64_t sequences() const { return sequences_; }
  std::int64_t value_head_dim() const { return value_head_dim_; }
  /// Whether products are of bf16, in pairs.
  bool pairs() const;
  std::int64_t group() const { return config_.query_heads / config_.kv_heads; }
  const Tokens& queries() const { return queries_; }
  const Tokens& keys() const { return keys_; }

  /// Every output row, sequence by sequence, token by token, head by head.
  std::vector<Row> rows() const;
  bool sees(const Row& row, std::int64_t key) const;
  /// The keys that a row sees, in order.
  std::vector<std::int64_t> seen(const Row& row) const;
  /// From the first to the last of them, with those between that it does not see.
  KeyRange visible(const Row& row) const;
  /// The key position that a row's query stands at.
  std::int64_t position(const Row& row) const;

  /// Offsets of the first element of what a row reads and writes.
  std::int64_t q(const Row& row) const;
  std::int64_t k(const Row& row, std::int64_t key) const;
  std::int64_t v(const Row& row, std::int64_t key) const;
  std::int64_t bias(const ScoreBias& bias, const Row& row, std::int64_t key) const;
  std::int64_t temperature_offset(const RowTemperatures& temperatures, const Row& row) const;
  /// T of a row in a run with these modifiers.
  float temperature(const ScoreModifiers& modifiers, const Row& row) const;
  std::int64_t out(const Row& row) const;
  std::int64_t lse(const Row& row) const;

  /// The scales of the key and of the value, of those of all; of other types than int8 and int4
  /// none.
  RowScales scales_of_k(const Row& row, std::int64_t key, const Scales& all) const;
  RowScales scales_of_v(const Row& row, std::int64_t key, const Scales& all) const;
  /// The offset of the first one.
  std::int64_t k_scales(const Row& row, std::int64_t key) const;
  std::int64_t v_scales(const Row& row, std::int64_t key) const;

  const Layout& q_layout() const { return q_; }
  const Layout& k_layout() const { return k_; }
  const Layout& v_layout() const { return v_; }
  const Layout& out_layout() const { return out_; }
  const Layout& lse_layout() const { return lse_; }
  const ScaleLayout& k_scale_layout() const { return k_scales_; }
  const ScaleLayout& v_scale_layout() const { return v_scales_; }

 private:
  void read_masks(const Batch& batch);
  bool shown(const Row& row, std::int64_t key) const;
  KeyRange window(const Row& row) const;
  std::int64_t scale_offset(const ScaleLayout& layout, const Row& row, std::int64_t key) const;

  AttentionConfig config_;
  std::int64_t sequences_, value_head_dim_;
  Tokens queries_, keys_;
  std::vector<std::int32_t> visible_prefixes_;
  std::optional<KeyMask> mask_;
  std::vector<std::vector<bool>>
      listed_;  ///< of each query of all sequences, where there are lists
  std::vector<std::int64_t> first_query_;  ///< of each sequence, where there is a mask or are lists
  Layout q_, k_, v_, out_, lse_;
  ScaleLayout k_scales_, v_scales_;  ///< no group is 0
  std::optional<PageLists> pages_;
};

/// Elements from a tensor's start to the end of the last one in use, 0 where none is.
std::int64_t extent(const Tokens& tokens, const Layout& layout, std::int64_t sequences,
                    std::int64_t heads, std::int64_t head_dim);

}  // namespace heed::proof
