// What a Plan holds: the outcome of validating, cutting and ordering.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "heed/attention.h"
#include "kernels/abi.h"
#include "runtime/tiles.h"

namespace heed::detail {

/// Where one sequence's tensors begin, in elements, and its lengths.
struct PlannedSequence {
  std::ptrdiff_t q = 0, k = 0, v = 0, out = 0, lse = 0;
  std::int32_t queries = 0, keys = 0;
};

/// A work item: rows of one KV head of one sequence against a range of keys.
struct PlannedItem {
  std::int32_t sequence = 0, kv_head = 0;
  std::int32_t row_begin = 0, rows = 0;
  std::int32_t key_begin = 0, key_end = 0;
  std::int32_t split = -1;  ///< index into splits, or −1: sees all its keys
  double cost = 0;          ///< in multiply-adds of one lane
};

/// Rows whose keys were split over several items; the last of these to finish merges.
struct PlannedSplit {
  std::size_t states = 0;  ///< offset in the workspace's states, in floats
  std::int32_t parts = 0;
  std::int32_t first_partition = 0, partitions = 0;
};

/// The counters of a run, at the start of every workspace; all zero between runs.
struct alignas(64) RunControl;

/// Offsets in a workspace, in bytes.
struct WorkspaceLayout {
  std::size_t states = 0, scratch = 0, scratch_stride = 0, total = 0;
};

struct PlanData {
  const kernels::KernelTable* kernels = nullptr;
  CacheSizes caches;  ///< of this machine
  TileSizes tiles;
  kernels::AttentionShape shape;
  AttentionConfig config;
  Layout q, k, v, out, lse;
  std::vector<PlannedSequence> sequences;
  std::vector<PlannedItem> items;  ///< longest first
  std::vector<PlannedSplit> splits;
  WorkspaceLayout workspace;
  std::int64_t visible_scores = 0;
  double total_cost = 0;
  int workers = 1;
  /// Workers that a run starts: no more than there are items, and one where a second could not pay
  /// for its waking.
  int shares = 1;

  RowShape row_shape() const {
    return {kernels->lanes, kernels->block_vectors, shape.head_dim, shape.value_head_dim};
  }
};

}  // namespace heed::detail
