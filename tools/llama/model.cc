#include "tools/llama/model.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "tools/status.h"

namespace heed::llama {
namespace {

void normalise(const float* x, const float* weight, std::int64_t dim, float* y) {
  constexpr double epsilon = 1e-5;
  double squares = 0;
  for (std::int64_t i = 0; i < dim; ++i) squares += double{x[i]} * double{x[i]};
  const auto factor =
      static_cast<float>(1 / std::sqrt(squares / static_cast<double>(dim) + epsilon));
  for (std::int64_t i = 0; i < dim; ++i) y[i] = weight[i] * (factor * x[i]);
}

/// y += x, for the first `count` elements.
void add(const std::vector<float>& x, std::int64_t count, std::vector<float>& y) {
  for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) y[i] += x[i];
}

/// gate = silu(gate) · up, for the first `count` elements.
void activate(const std::vector<float>& up, std::int64_t count, std::vector<float>& gate) {
  for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
    gate[i] *= up[i] / (1 + std::exp(-gate[i]));
  }
}

LayerConfig layer_config(const ModelShape& shape, const Rotary& rotary) {
  LayerConfig config{.dim = shape.dim, .attention = {}, .rotary = &rotary};
  config.attention.query_heads = shape.heads;
  config.attention.kv_heads = shape.kv_heads;
  config.attention.head_dim = shape.head_dim();
  config.attention.causal = true;
  return config;
}

LayerWeights layer_weights(const Checkpoint& c, std::int64_t layer) {
  LayerWeights weights;
  weights.wq = c.wq.of(layer);
  weights.wk = c.wk.of(layer);
  weights.wv = c.wv.of(layer);
  weights.wo = c.wo.of(layer);
  return weights;
}

}  // namespace

Status Model::create(const Checkpoint& checkpoint, const RunOptions& options, Model& model) {
  const ModelShape& shape = checkpoint.shape;
  Model made;
  Rotary rotary;
  Status status =
      Rotary::create({.rotary_dim = shape.head_dim(), .positions = shape.context}, rotary);
  if (!status) return status;
  made.checkpoint_ = &checkpoint;
  made.products_ = {.workers = options.workers, .executor = options.executor};
  made.rotary_ = std::make_unique<const Rotary>(std::move(rotary));
  const LayerConfig config = layer_config(shape, *made.rotary_);
  made.layers_.resize(static_cast<std::size_t>(shape.layers));
  for (std::int64_t i = 0; i < shape.layers && status.ok(); ++i) {
    status = MultiHeadAttention::create(config, layer_weights(checkpoint, i),
                                        made.layers_[static_cast<std::size_t>(i)]);
  }
  if (status.ok()) status = AttentionStep::create(config, options, made.step_);
  if (status.ok()) model = std::move(made);
  return status;
}

void Model::grow(std::int64_t tokens) {
  for (auto [buffer, width] :
       {std::pair{&x_, shape().dim}, std::pair{&normed_, shape().dim},
        std::pair{&gate_, shape().hidden_dim}, std::pair{&up_, shape().hidden_dim}}) {
    buffer->resize(std::max(buffer->size(), static_cast<std::size_t>(tokens * width)));
  }
}

void Model::normalise_all(const float* weight) {
  const std::int64_t dim = shape().dim;
  for (std::int64_t t = 0; t < step_.tokens(); ++t) {
    normalise(x_.data() + t * dim, weight, dim, normed_.data() + t * dim);
  }
}

Status Model::add_attention(const KvPages& pages, std::int64_t layer) {
  normalise_all(checkpoint_->attention_norm.of(layer));
  const MultiHeadAttention& attention = layers_[static_cast<std::size_t>(layer)];
  Status status = attention.forward(step_, pages, normed_.data(), normed_.data());
  if (status.ok()) add(normed_, step_.tokens() * shape().dim, x_);
  return status;
}

Status Model::add_feed_forward(std::int64_t layer) {
  const std::int64_t dim = shape().dim, hidden = shape().hidden_dim, tokens = step_.tokens();
  const Checkpoint& c = *checkpoint_;
  normalise_all(c.feed_forward_norm.of(layer));
  Status status = project({c.w1.of(layer), nullptr, hidden, dim}, tokens, normed_.data(),
                          gate_.data(), products_);
  if (status.ok()) {
    status = project({c.w3.of(layer), nullptr, hidden, dim}, tokens, normed_.data(), up_.data(),
                     products_);
  }
  if (!status) return status;
  activate(up_, tokens * hidden, gate_);
  status = project({c.w2.of(layer), nullptr, dim, hidden}, tokens, gate_.data(), normed_.data(),
                   products_);
  if (status.ok()) add(normed_, tokens * dim, x_);
  return status;
}

Status Model::classify(std::span<const std::int64_t> wanted, std::span<float> logits) {
  const std::int64_t dim = shape().dim;
  float* to = normed_.data();
  for (const std::int64_t token : wanted) {
    normalise(x_.data() + token * dim, checkpoint_->final_norm.data, dim, to);
    to += dim;
  }
  return project({checkpoint_->classifier.data, nullptr, shape().vocab_size, dim},
                 static_cast<std::int64_t>(wanted.size()), normed_.data(), logits.data(),
                 products_);
}

Status Model::forward(const KvCache& cache, const StepInput& input, std::span<float> logits) {
  HEED_RETURN_IF_ERROR(step_.prepare(cache, input.sequences));
  const std::int64_t dim = shape().dim;
  grow(step_.tokens());
  float* to = x_.data();
  for (const std::int32_t token : input.tokens) {
    to = std::copy_n(checkpoint_->embedding.data + token * dim, dim, to);
  }
  for (std::int64_t layer = 0; layer < shape().layers; ++layer) {
    Status status = add_attention(cache.layer(layer), layer);
    if (status.ok()) status = add_feed_forward(layer);
    if (!status) return status;
  }
  return classify(input.wanted, logits);
}

}  // namespace heed::llama
