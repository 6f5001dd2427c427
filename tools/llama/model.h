// The forward pass of a Llama model (Touvron et al., arXiv 2302.13971) as llama2.c has it.
//
//   x += attention(norm(x))       x += W2 (silu(W1 norm(x)) · W3 norm(x))       in each layer
//   logits = classifier norm(x)   norm(x) = w · x / √(mean x² + 10⁻⁵)           silu(x) = x / (1 +
//   e⁻ˣ)
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "heed/kv_cache.h"
#include "heed/layer.h"
#include "heed/status.h"
#include "tools/llama/checkpoint.h"

namespace heed::llama {

/// The tokens that a step adds to the texts, and which logits are wanted.
struct StepInput {
  std::span<const StepTokens> sequences;  ///< of the cache
  std::span<const std::int32_t> tokens;   ///< the new ones of each sequence, one after the other
  std::span<const std::int64_t> wanted;   ///< which of them, by their places in `tokens`
};

class Model {
 public:
  /// Keeps a reference to the checkpoint. `options` are those of all that it runs.
  static Status create(const Checkpoint& checkpoint, const RunOptions& options, Model& model);

  const ModelShape& shape() const { return checkpoint_->shape; }

  /// The logits [wanted, vocab_size] of what follows the wanted tokens.
  Status forward(const KvCache& cache, const StepInput& input, std::span<float> logits);

 private:
  void grow(std::int64_t tokens);
  void normalise_all(const float* weight);
  Status add_attention(const KvPages& pages, std::int64_t layer);
  Status add_feed_forward(std::int64_t layer);
  Status classify(std::span<const std::int64_t> wanted, std::span<float> logits);

  const Checkpoint* checkpoint_ = nullptr;
  std::unique_ptr<const Rotary> rotary_;
  std::vector<MultiHeadAttention> layers_;
  AttentionStep step_;
  RunOptions products_;
  std::vector<float> x_, normed_;  ///< [token, dim]
  std::vector<float> gate_, up_;   ///< [token, hidden_dim]
};

}  // namespace heed::llama
