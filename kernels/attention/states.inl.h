// How both kernels write the states of partitions: one row of states for each query row.
#pragma once

#include "kernels/attention/rows.inl.h"
#include "kernels/attention/temperatures.inl.h"
#include "kernels/attention/visible.inl.h"
#include "kernels/interface.h"
#include "kernels/vector/lanes.inl.h"

namespace heed::kernels {
namespace {

/// Whether the section of a row that has partition `last` ended before partition `next`. Sections
/// count from the first partition that the row sees.
HEED_INLINE bool ends_section(std::int32_t first, std::int32_t last, std::int32_t next) {
  return last >= first &&
         (last - first) / kSectionPartitions != (next - first) / kSectionPartitions;
}

/// The places of the states of an item's rows, which are counted from its first one. Nothing is
/// written to those of rows with weights of another rule.
template <class Arch>
class StateRows {
 public:
  StateRows(const AttentionShape& shape, const AttentionItem& item) : shape_(shape), item_(item) {}

  bool writes(std::int32_t row) const { return writes_row(shape_, item_, item_.row_begin + row); }

  float* o(std::int32_t partition, std::int32_t row) const {
    return item_.states.o + index(partition, row) * shape_.value_head_dim;
  }

  /// The maximum and the sum of a row, which may see none of the partition's keys.
  void write_sums(std::int32_t partition, std::int32_t row, float m, float l) const {
    if (!writes(row)) return;
    const std::ptrdiff_t i = index(partition, row);
    item_.states.m[i] = sees(partition, row) ? m : kNoKey;
    item_.states.l[i] = l;
  }

  /// The states of rows that see none of the partition's keys.
  void write_unseen(std::int32_t partition, std::int32_t first_row, std::int32_t rows) const {
    for (std::int32_t row = first_row; row < first_row + rows; ++row) {
      if (!writes(row)) continue;
      const std::ptrdiff_t i = index(partition, row);
      item_.states.m[i] = kNoKey;
      item_.states.l[i] = 0.0F;
      float* const to = o(partition, row);
      for_each_vector<Arch, 1>(shape_.value_head_dim, [&](auto access, int, std::int64_t x) {
        access.store(to + x, splat<Arch>(0.0F));
      });
    }
  }

 private:
  std::ptrdiff_t index(std::int32_t partition, std::int32_t row) const {
    const RowMap map{shape_.group, item_.state_stride};
    return (partition - item_.first_partition) * item_.states.rows +
           map.offset(item_.row_begin + row) - map.offset(item_.row_begin);
  }

  bool sees(std::int32_t partition, std::int32_t row) const {
    const std::int32_t begin = partition * kPartitionKeys, left = item_.keys - begin;
    const std::int32_t end = begin + (left < kPartitionKeys ? left : kPartitionKeys);
    const RowKeys keys = keys_of_row(shape_, item_, item_.row_begin + row);
    return first_visible(item_, keys, begin, end) < end;
  }

  const AttentionShape& shape_;
  const AttentionItem& item_;
};

}  // namespace
}  // namespace heed::kernels
