// What a Plan holds: the outcome of validating, cutting and ordering.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "heed/attention.h"
#include "heed/partial_states.h"
#include "kernels/interface.h"
#include "runtime/base/strides.h"
#include "runtime/plan/masks.h"
#include "runtime/plan/tiles.h"
#include "runtime/schedule/schedule.h"

namespace heed::detail {

/// Where one sequence's tensors begin (q, k, v and out in bytes, the others in elements), and its
/// states, in rows.
struct PlannedSequence {
  std::ptrdiff_t q = 0, k = 0, v = 0, out = 0, lse = 0;
  std::ptrdiff_t k_scales = 0, v_scales = 0;
  std::ptrdiff_t state = 0;
  std::int64_t first_query = 0;  ///< tokens of ragged queries before its own
  std::size_t place = 0;         ///< index of its first token in PlanData::places, if it has one
};

/// What tensors certainly hold in memory, from their pointers: keys and values in pages have their
/// pools, and each sequence of a padded tensor the tokens of the shortest one.
struct TensorShapes {
  StridedShape q, k, v, out, lse, k_scales, v_scales;
};

/// Bytes that a run keeps its state in (runtime/run/run_control.h), at the start of every
/// workspace.
inline constexpr std::size_t kRunControlBytes = 384;

/// Offsets in a workspace, in bytes: a byte for each share, a counter for each split, states, and
/// the scratch of each worker.
struct WorkspaceLayout {
  std::size_t called = kRunControlBytes;
  std::size_t split_counters = 0, states = 0, scratch = 0, scratch_stride = 0, total = 0;
};

/// The shortest and the longest sequences of a batch, and the queries of all.
struct TokenCounts {
  std::int64_t fewest_queries = 0, most_queries = 0, queries = 0;
  std::int64_t fewest_keys = 0, most_keys = 0;
};

struct PlanData {
  std::uint64_t number = 0;  ///< of this plan and no other of the process; from 1
  const kernels::KernelTable* kernels = nullptr;
  CacheSizes caches;  ///< of this machine
  TileSizes tiles;
  kernels::AttentionShape shape;
  AttentionConfig config;
  Layout q, k, v, out;  ///< in bytes
  Layout lse;
  ScaleLayout k_scales, v_scales;  ///< with groups of at least 1 where there are any
  TensorShapes shapes;
  std::optional<PagedLayout> pages;       ///< k and v then have no sequence stride
  std::ptrdiff_t k_page = 0, v_page = 0;  ///< from page to page, in bytes
  bool shard = false;                     ///< of longer sequences
  StateShape states;                      ///< of run_partial
  std::vector<PlannedSequence> sequences;
  std::vector<Visibility> masks;       ///< one per sequence; with the mask of all KV heads
  std::vector<Visibility> head_masks;  ///< where they differ: one per sequence and KV head
  PlannedMasks key_masks;
  std::vector<std::int32_t> shared;  ///< as Work has it
  bool ragged_queries = false;
  /// The tokens of sequences that read keys together, in their order.
  std::vector<kernels::TokenPlace> places;
  TokenCounts counts;
  Schedule schedule;
  Scheduler scheduler;
  WorkspaceLayout workspace;
  int workers = 1;
  /// Workers that a run starts: no more than there are items, and one where a second could not pay
  /// for its waking.
  int shares = 1;

  /// What the rows of a KV head see.
  const Visibility& visibility(std::int32_t sequence, std::int32_t kv_head) const {
    const auto b = static_cast<std::size_t>(sequence);
    if (head_masks.empty()) return masks[b];
    const auto heads = static_cast<std::size_t>(config.kv_heads);
    return head_masks[b * heads + static_cast<std::size_t>(kv_head)];
  }
  RowShape row_shape() const {
    return {kernels->lanes, kernels->block_vectors, shape.head_dim, shape.value_head_dim};
  }
};

}  // namespace heed::detail
