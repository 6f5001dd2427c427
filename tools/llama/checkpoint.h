// Checkpoints in the format of llama2.c (github.com/karpathy/llama2.c, run.c): seven int32, then
// the weights in float32, all little-endian: what its export.py calls version 0.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "heed/status.h"

namespace heed::llama {

/// The token that begins every text, and that ends it.
inline constexpr std::int32_t kBoundary = 1;

/// The numbers at the beginning of the file.
struct ModelShape {
  std::int64_t dim = 0;         ///< of hidden states: heads · head_dim
  std::int64_t hidden_dim = 0;  ///< of the feed-forward networks
  std::int64_t layers = 0;
  std::int64_t heads = 0;
  std::int64_t kv_heads = 0;  ///< divides heads
  std::int64_t vocab_size = 0;
  std::int64_t context = 0;       ///< positions that the model knows
  bool classifier_apart = false;  ///< the classifier is not the token embedding

  std::int64_t head_dim() const { return dim / heads; }
  std::int64_t kv_dim() const { return kv_heads * head_dim(); }
};

/// A weight of the model, or one for each layer.
struct Weight {
  const float* data = nullptr;
  std::int64_t layer_elements = 0;

  const float* of(std::int64_t layer) const { return data + layer * layer_elements; }
};

/// A model's weights, [outputs, inputs] where they are matrices.
struct Checkpoint {
  ModelShape shape;
  Weight embedding;          ///< [vocab_size, dim]
  Weight attention_norm;     ///< [dim]
  Weight wq;                 ///< [dim, dim]
  Weight wk, wv;             ///< [kv_dim, dim]
  Weight wo;                 ///< [dim, dim]
  Weight feed_forward_norm;  ///< [dim]
  Weight w1;                 ///< [hidden_dim, dim]
  Weight w2;                 ///< [dim, hidden_dim]
  Weight w3;                 ///< [hidden_dim, dim]
  Weight final_norm;         ///< [dim]
  Weight rotary;             ///< cosines and sines, which heed computes itself
  Weight classifier;         ///< [vocab_size, dim], perhaps the embedding
  std::unique_ptr<float[]> memory;
  std::int64_t bytes = 0;  ///< of the memory
};

/// Reads a checkpoint. Fails, before it allocates for them, where the weights are not what the
/// header says or exceed the machine's memory; messages name the path. May throw std::bad_alloc.
Status read_checkpoint(const std::string& path, Checkpoint& checkpoint);

}  // namespace heed::llama
