// An attention layer of a language model on a paged cache: heed::layer, a library of its own, which
// needs OpenBLAS besides heed::heed.
//
//   q = rotate(norm(x Wqᵀ + bq))    k = rotate(norm(x Wkᵀ + bk))    v = x Wvᵀ + bv
//   y = attention(q, keys and values so far) Woᵀ + bo
//
// in this order of operations: products; norms of the queries' and the keys' heads, where the layer
// has them (head_norm.h); rotation (rotary.h); rounding of keys and values to the types of the
// cache; attention (docs/canonical-row.md). From the products on, bits are the same for any number
// of threads and any batch.
//
// x holds the hidden states of the new tokens of many sequences, chunks of prompts, single tokens
// and speculated ones together. What does not differ between layers (which tokens, where their keys
// go, the plan) is an AttentionStep, made once and handed to each layer.
//
// How many threads OpenBLAS is set to belongs to the whole process, and heed leaves it alone. Where
// these are several, matrix products run one after the other on the calling thread and OpenBLAS's
// own. Where it is one (OPENBLAS_NUM_THREADS=1), heed cuts products into pieces, which depend on
// their sizes alone, and spreads them over threads as all other work. Any number of threads may
// call heed at once; as many as OpenBLAS was built for (MAX_THREADS in openblas_get_config())
// multiply at once, and the others wait. A host's own calls of OpenBLAS are not counted: with
// heed's they should not be more than twice that number. Attention gives the same bits however
// tokens are batched; OpenBLAS's sums may differ in their last bits with the number of tokens.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "heed/attention.h"
#include "heed/executor.h"
#include "heed/export.h"
#include "heed/head_norm.h"
#include "heed/kv_cache.h"
#include "heed/rotary.h"
#include "heed/status.h"

namespace heed {

/// A linear map y = x Wᵀ + b, on memory of the caller.
struct Linear {
  const float* weight = nullptr;  ///< [outputs, inputs]
  const float* bias = nullptr;    ///< [outputs]; null: none
  std::int64_t outputs = 0;       ///< 1 … 2³¹ − 1
  std::int64_t inputs = 0;        ///< 1 … 2³¹ − 1
};

/// y[tokens, outputs] = x[tokens, inputs] Wᵀ + b, through OpenBLAS. y may not overlap x. Workers
/// and executor of `options` are those of pieces, where OpenBLAS is set to one thread.
HEED_API Status project(const Linear& linear, std::int64_t tokens, const float* x, float* y,
                        const RunOptions& options = {}) noexcept;

/// What a model fixes of its attention layers.
struct LayerConfig {
  /// Of hidden states, 1 … 2³¹ − 1; the sizes of heads may have nothing to do with it.
  std::int64_t dim = 0;
  /// Heads and their sizes, mask, scale. `causal` is false unless it is set here, too. The diagonal
  /// must be aligned to the end, where the new tokens are. q_type and out_type must be f32; k_type
  /// and v_type do not matter: keys and values have the types of the cache of a step.
  AttentionConfig attention = {};
  /// Of queries and keys, must live as long as what is made from this; null: they are not rotated.
  const Rotary* rotary = nullptr;
};

/// The new tokens of one sequence in a step: its last ones in the cache, for which KvCache::extend
/// has made room.
struct StepTokens {
  std::int32_t sequence = -1;  ///< an id of the cache
  std::int64_t tokens = 0;     ///< 0 … all of the sequence
};

namespace detail {
struct StepData;
}

/// The new tokens of many sequences, and what all layers need to know of them: their positions and
/// slots, the pages of the sequences, a plan; and the memory that a layer works in. For one thread
/// at a time.
class HEED_API AttentionStep {
 public:
  AttentionStep() noexcept;
  ~AttentionStep();
  AttentionStep(AttentionStep&&) noexcept;
  AttentionStep& operator=(AttentionStep&&) noexcept;

  /// An empty step of layers of this configuration. `options` are those of all that runs,
  /// pieces of matrix products included; their executor must live as long as the step.
  static Status create(const LayerConfig& config, const RunOptions& options,
                       AttentionStep& step) noexcept;

  /// Prepares a step of these sequences, in this order, each at most once: their new tokens are the
  /// rows of x, one sequence after the other. Prefixes that neighbours have in common by
  /// KvCache::fork are read once for all of them. The cache must not change until the last layer is
  /// through. Allocates nothing once two steps have been as large. A failure changes nothing.
  Status prepare(const KvCache& cache, std::span<const StepTokens> sequences) noexcept;

  /// New tokens of all sequences: the rows of x.
  std::int64_t tokens() const noexcept;
  /// Of the attention.
  const Plan& plan() const noexcept;

  /// For heed itself.
  detail::StepData* data() const noexcept { return data_.get(); }

 private:
  std::unique_ptr<detail::StepData> data_;
};

/// The weights of a layer, [outputs, inputs] each, on memory of the caller; biases may be null.
struct LayerWeights {
  const float *wq = nullptr, *bq = nullptr;  ///< [query_heads · head_dim, dim]
  const float *wk = nullptr, *bk = nullptr;  ///< [kv_heads · head_dim, dim]
  const float *wv = nullptr, *bv = nullptr;  ///< [kv_heads · value_head_dim, dim]
  const float *wo = nullptr, *bo = nullptr;  ///< [dim, query_heads · value_head_dim]
  /// Of the heads of queries and keys, before they turn; default: none.
  std::optional<RmsNorm> q_norm = {}, k_norm = {};
};

/// One layer. Several threads may use it at once, with a step each.
class HEED_API MultiHeadAttention {
 public:
  MultiHeadAttention() noexcept = default;

  /// Keeps the pointers, copies nothing.
  static Status create(const LayerConfig& config, const LayerWeights& weights,
                       MultiHeadAttention& layer) noexcept;

  /// y = the layer's output for the hidden states x of the step's tokens, both [tokens, dim]; y may
  /// be x. Writes the keys and values of the tokens to `pages`, those of this layer in the cache
  /// that the step was prepared with. Allocates nothing.
  Status forward(AttentionStep& step, const KvPages& pages, const float* x,
                 float* y) const noexcept;

 private:
  Linear q_, k_, v_, o_;
  std::optional<RmsNorm> q_norm_, k_norm_;
};

}  // namespace heed
