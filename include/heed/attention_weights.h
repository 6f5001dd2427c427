// What the weights of attention tell: the probabilities themselves, how diffuse or sharp each row
// is, which keys have the largest weights, and how much weight each key has received.
#pragma once

#include <cstdint>
#include <optional>

#include "heed/attention.h"
#include "heed/executor.h"
#include "heed/export.h"
#include "heed/status.h"
#include "heed/tensor_data.h"

namespace heed {

/// Largest weights of a row at most.
inline constexpr std::int32_t kMaxTopWeights = 16;

/// Where the weight of (sequence, query head, query, key) lies: sequence · sequence_stride + head ·
/// head_stride + query · query_stride + key. Queries are counted in each sequence, ragged ones too.
struct WeightLayout {
  std::int64_t sequence_stride = 0, head_stride = 0, query_stride = 0;
};

/// Where the mass of (sequence, query head, key) lies: sequence · sequence_stride + head ·
/// head_stride + key.
struct MassLayout {
  std::int64_t sequence_stride = 0, head_stride = 0;
};

/// What is asked for, and where it goes; what is null is not asked for. Numbers of a row (sequence,
/// token, head) lie as the plan's log-sum-exp does (Batch::lse).
struct AttentionWeights {
  /// The probabilities, f32, f16 or bf16; hidden keys have 0. Default: contiguous [sequence, head,
  /// query, key], as long as the longest sequence; of shorter ones the rest is not written.
  OutputData weights = {};
  std::optional<WeightLayout> layout = {};
  /// −Σ w ln w, in nats: 0 where one key has all weight, ln n where n keys share it equally. A sink
  /// is one more choice. 0 for rows without weight, NaN for those with NaN.
  float* entropy = nullptr;
  /// The largest weights of each row, 1 … kMaxTopWeights of them: [row, top], the largest first, of
  /// equal ones the earlier key first. Where fewer keys weigh more than 0, and where weights are
  /// NaN, the others have weight 0 and key −1.
  float* top_weights = nullptr;
  std::int32_t* top_keys = nullptr;
  std::int32_t top = 1;
  /// The sum of the weights that all queries of a head give a key: what evicting keys from a cache
  /// goes by (Zhang et al., "H2O", arXiv 2306.14048). Default: contiguous [sequence, head, key], as
  /// long as the longest sequence.
  float* mass = nullptr;
  std::optional<MassLayout> mass_layout = {};
};

/// Computes what is asked for in one pass over a plan's tensors, which computes the outputs of a
/// run (and the log-sum-exp where lse is not null), with the same bits, where `tensors.out` is not
/// null; else values, outputs and lse are not looked at. All masks, modifiers, element types and
/// pages count as in a run; with shards the weights are those among the shard's keys. Weights are
/// those that outputs are sums with: where products are of bf16, rounded to bf16.
///
/// With entropy, largest weights and mass a prefill takes about a tenth longer than a run. A single
/// query, which runs compute by another kernel and with split keys, takes four times as long, since
/// it is computed as a prefill is; a unit of work is 384 rows of a KV head. `workspace` keeps the
/// weights of some rows for each worker, 8 MiB or 2 blocks (of at most 48 rows) if these are
/// larger: call Workspace::reserve(plan, weights) first. Allocates nothing.
///
/// Weights have the accuracy of outputs. Results do not depend on the number of workers. The last
/// bits of entropies may depend on the sizes of tiles, which follow the caches of the machine, and
/// those of masses on the instruction set. Masses are rounded to multiples of 2^-51 of the number
/// of queries.
HEED_API Status attention_weights(const Plan& plan, const AttentionTensors& tensors,
                                  const AttentionWeights& weights, Workspace& workspace,
                                  Executor* executor = nullptr) noexcept;

}  // namespace heed
