// Masks and lists of visible keys as rows of bits, which is what a plan keeps of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "heed/status.h"
#include "runtime/schedule/visibility.h"

namespace heed::detail {

struct Description;

/// The bits of a plan's masks.
class PlannedMasks {
 public:
  /// Makes bits of the description's mask or lists, for sequences whose positions are known.
  /// Refuses numbers that are neither 0 nor −∞, and keys that a sequence does not have.
  Status build(const Description& description, std::span<const Visibility> sequences);

  bool exist() const { return !planes_.empty(); }
  /// Whether the KV heads of a sequence have masks of their own.
  bool per_head() const { return heads_ > 1; }
  /// The mask of a sequence, and of a KV head where they differ; none where there are no bits.
  MaskView of(std::int64_t sequence, std::int64_t kv_head) const;
  /// Bytes of all bits and counts.
  std::size_t bytes() const {
    return words_.size() * sizeof(std::uint32_t) + totals_.size() * sizeof(std::int32_t);
  }

 private:
  /// Rows that belong to one sequence and KV head.
  struct Plane {
    std::size_t word = 0, total = 0;  ///< where they begin
    std::int64_t rows = 0, row_words = 0, first_key = 0;
  };

  void add_plane(std::int64_t rows, std::int64_t keys, std::int64_t first_key);
  Status add_planes(const Description& d, std::int64_t sequence, const Visibility& own,
                    std::int64_t first_query);
  Status fill_row(const Description& d, std::int64_t element, std::int64_t sequence,
                  const Visibility& own, std::uint32_t* words);
  Status add_lists(const Description& d, std::int64_t sequence, const Visibility& own,
                   std::int64_t first_query);
  void count_rows(const Plane& plane);

  std::vector<Plane> planes_;  ///< one per sequence, or per sequence and KV head
  std::vector<std::uint32_t> words_;
  std::vector<std::int32_t> totals_;
  std::vector<std::uint32_t> packed_;  ///< of one row's elements
  std::int64_t heads_ = 1;             ///< planes of a sequence
  std::int64_t group_ = 1;             ///< rows of each block of tokens
  std::int64_t query_block_ = 1;
};

}  // namespace heed::detail
