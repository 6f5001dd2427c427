// Masks and lists of visible keys as rows of bits, which is what a plan keeps of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "heed/status.h"
#include "kernels/interface.h"
#include "runtime/base/unfilled_vector.h"
#include "runtime/schedule/visibility.h"

namespace heed::detail {

struct Description;

/// The bits of a plan's masks.
class PlannedMasks {
 public:
  /// Makes bits of the description's mask or lists, for sequences whose positions are known.
  /// Refuses numbers that are neither 0 nor −∞, and keys that a sequence does not have.
  Status build(const Description& description, const kernels::KernelTable& kernels,
               std::span<const Visibility> sequences);

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

  struct Row {
    std::uint32_t* words;
    std::int32_t* totals;
    std::int64_t partitions;
  };

  void add_plane(std::int64_t rows, std::int64_t keys, std::int64_t first_key);
  Status add_planes(const Description& d, std::int64_t sequence, const Visibility& own,
                    std::int64_t first_query);
  Row row_of(const Plane& plane, std::int64_t row);
  Status make_row(const Description& d, std::int64_t element, std::int64_t sequence,
                  const Visibility& own, const Row& row);
  void copy_row(const std::byte* bits, std::int64_t keys, const Row& row) const;
  Status fill_row(const Description& d, std::int64_t element, std::int64_t sequence,
                  const Visibility& own, std::uint32_t* words);
  Status add_lists(const Description& d, std::int64_t sequence, const Visibility& own,
                   std::int64_t first_query);

  const kernels::KernelTable* kernels_ = nullptr;
  std::vector<Plane> planes_;  ///< one per sequence, or per sequence and KV head
  UnfilledVector<std::uint32_t> words_;
  UnfilledVector<std::int32_t> totals_;
  std::vector<std::uint32_t> packed_;  ///< of one row's elements
  std::int64_t heads_ = 1;             ///< planes of a sequence
  std::int64_t group_ = 1;             ///< rows of each block of tokens
  std::int64_t query_block_ = 1;       ///< all of a sequence where these have the same bits
};

}  // namespace heed::detail
