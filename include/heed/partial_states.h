// Attention over a part of the keys, for callers that spread the keys of a sequence over sockets or
// machines: each runs a shard of them and gets states, which merge to the whole.
//
//   t = logit / T · log2 e      m = an integer      l = Σ 2^(t − m)      o = Σ 2^(t − m) · value
//
// over the visible keys of one partition of kPartitionKeys keys. Merging adds states after scaling
// them to the larger m, which is exact:
//
//   m = max(m₁, m₂)      l = l₁ · 2^(m₁ − m) + l₂ · 2^(m₂ − m)      o likewise
//   output = o / l       lse = (m + log2 l) · ln 2
//
// Additions round, so their order is part of the result: the states of a row's partitions are
// merged from the first key to the last in sections of 64, and then the sections, which gives the
// bits of a run of all keys in one piece (docs/canonical-row.md). Merged in any other order they
// give the same up to rounding.
//
// To turn the state of natural logarithms (M, L, O: weights e^(logit / T − M)) into this one, take
// m = floor(M · log2 e) and multiply L and O by e^(M − m · ln 2); the other way M = m · ln 2, L = l
// and O = o.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "heed/attention.h"
#include "heed/executor.h"
#include "heed/export.h"
#include "heed/status.h"

namespace heed {

/// How many states a plan's run has, and of what size.
struct StateShape {
  /// Of the sequence with the most keys; the states of others beyond their keys are empty.
  std::int64_t partitions = 0;
  /// Rows are (sequence, token, head), numbered in this order. A padded sequence has those of its
  /// whole slot, of which the unused ones are neither read nor written.
  std::int64_t rows = 0;
  std::int64_t value_head_dim = 0;

  /// Of all m, l and o together; the largest size_t where that is too small.
  HEED_API std::size_t floats() const noexcept;
};

/// The states of a plan's run; {} before the plan is made.
HEED_API StateShape state_shape(const Plan& plan) noexcept;

/// Where states lie. A row that sees no key of a partition has an empty one: m is −∞, and l and o
/// are ignored. (heed writes zeros there.) Else
///
/// - m is an integer no larger than the row's largest t and less than 17 below it; −FLT_MAX where
///   each visible logit is −∞ or NaN. Weights below 2^−110, also after scaling, count as 0. Which
///   integer it is may change with workers and tiles; what a state stands for, l · 2^m and o · 2^m,
///   does not.
/// - For temperature 0, m is the largest logit · log2 e itself, l the number of keys that have it,
///   and o the sum of their values; merging drops the state with the smaller m.
///
/// No element of states that are written may be one of what is read meanwhile, or of m, l or o of
/// the same states. They are plain floats, and may be sent as bytes between machines of the same
/// byte order.
struct PartialStates {
  float* m = nullptr;           ///< [partition, row]
  float* l = nullptr;           ///< [partition, row]
  float* o = nullptr;           ///< [partition, row, value_head_dim]
  std::int64_t partitions = 0;  ///< consecutive ones

  /// States of this shape in one piece of shape.floats() floats: all m, then all l, then all o.
  static constexpr PartialStates in(float* memory, const StateShape& shape) {
    const std::ptrdiff_t sums = shape.partitions * shape.rows;
    return {memory, memory + sums, memory + 2 * sums, shape.partitions};
  }
};

/// States to read.
struct ConstPartialStates {
  const float* m = nullptr;
  const float* l = nullptr;
  const float* o = nullptr;
  std::int64_t partitions = 0;

  constexpr ConstPartialStates() = default;
  constexpr ConstPartialStates(const float* states_m, const float* states_l, const float* states_o,
                               std::int64_t states_partitions)
      : m(states_m), l(states_l), o(states_o), partitions(states_partitions) {}
  /// What may be written may be read.
  constexpr ConstPartialStates(const PartialStates& states)
      : m(states.m), l(states.l), o(states.o), partitions(states.partitions) {}
};

/// Runs the plan as `run` does, but writes the state of every partition and row into `states`, of
/// exactly state_shape(plan), in place of out and lse, which are not used. Batch::shard says which
/// keys of longer sequences the plan's keys are. Sinks are not part of states: merge takes them. So
/// does it temperatures of heads or rows, which say how states are merged.
HEED_API Status run_partial(const Plan& plan, const AttentionTensors& tensors,
                            const PartialStates& states, Workspace& workspace,
                            Executor* executor = nullptr) noexcept;

/// One worker's share of run_partial, as run_share is of run.
HEED_API Status run_partial_share(const Plan& plan, const AttentionTensors& tensors,
                                  const PartialStates& states, Workspace& workspace, int ith,
                                  int nth) noexcept;

/// The most shards of one merge.
inline constexpr std::size_t kMaxShards = 256;

/// Adds the states of each row, shard by shard in the order given, and writes `out` and, where that
/// is not null, `lse`, in the layouts of the plan. The plan may be that of any of the shards: they
/// differ in their keys alone, and so may it, down to none. At most kMaxShards; the shards' numbers
/// of partitions may differ. `modifiers` are those of the shards' runs, of which sinks and
/// temperatures are used. A row whose states are all empty gets 0, and a log-sum-exp of −∞ or its
/// sink / T. Allocates nothing.
HEED_API Status merge(const Plan& plan, std::span<const ConstPartialStates> shards, OutputData out,
                      float* lse = nullptr, const ScoreModifiers& modifiers = {},
                      Executor* executor = nullptr) noexcept;

/// total += states, partition by partition: `total` has one partition, the sum of all keys before,
/// and is passed from shard to shard, the first of which begins with empty states. Plan as for
/// merge, which turns `total` into outputs in the end. `modifiers` are those of the shards' runs,
/// of which temperatures are used. The bits are those of merge for rows that see at most 64
/// partitions (16,384 keys); longer rows are not merged in sections here, and each of their n
/// partitions may round once more: a relative error of n · 2^−24. Allocates nothing.
HEED_API Status merge_into(const Plan& plan, const PartialStates& total,
                           const ConstPartialStates& states, const ScoreModifiers& modifiers = {},
                           Executor* executor = nullptr) noexcept;

/// Makes all states empty.
HEED_API Status clear(const Plan& plan, const PartialStates& states) noexcept;

}  // namespace heed
