// A layer with random weights on a cache, and sequences that grow through it step by step.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "heed/heed.h"
#include "heed/layer.h"
#include "tests/proof/inputs.h"

namespace heed::tests {

/// What a layer is made of.
struct LayerSpec {
  LayerConfig config;  ///< its rotary is that of `rotary`, where its rotary_dim is not 0
  RotaryConfig rotary = {};
  bool biases = false;
  bool norms = false;  ///< of queries, with an offset, and of keys
  /// Each row of the weights is a power of two in one place: products are exact, in any order of
  /// their sums, so that they do not hide the bits of attention.
  bool exact_products = false;
  std::int64_t page_tokens = 4, pages = 100, sequences = 8;
  DType k_type = DType::f32, v_type = DType::f32;  ///< of the cache
};

/// The weights of a layer.
class RandomWeights {
 public:
  RandomWeights(const LayerSpec& spec, std::uint64_t seed);
  LayerWeights weights() const;

 private:
  std::vector<float> wq_, wk_, wv_, wo_, bq_, bk_, bv_, bo_, q_norm_, k_norm_;
};

/// A layer, a cache of one layer and a step. Faults fail the test.
class LayerModel {
 public:
  explicit LayerModel(const LayerSpec& spec, const RunOptions& options = {.workers = 1});
  LayerModel(const LayerModel&) = delete;

  std::int32_t add();
  /// New tokens with these hidden states: what the layer makes of them, one sequence after the
  /// other.
  std::vector<float> forward(
      const std::vector<std::pair<std::int32_t, std::vector<float>>>& sequences);

  const LayerConfig& config() const { return config_; }
  LayerWeights weights() const { return weights_.weights(); }
  const MultiHeadAttention& layer() const { return layer_; }
  KvCache& cache() { return cache_; }
  AttentionStep& step() { return step_; }

 private:
  LayerConfig config_;
  Rotary rotary_;
  RandomWeights weights_;
  KvCache cache_;
  AttentionStep step_;
  MultiHeadAttention layer_;
};

/// Hidden states of some tokens.
std::vector<float> random_tokens(proof::Random& random, std::int64_t tokens, std::int64_t dim);

}  // namespace heed::tests
