#include "tests/layer/layer_model.h"

#include <gtest/gtest.h>

#include <cmath>

namespace heed::tests {
namespace {

std::vector<float> random_matrix(proof::Random& random, std::int64_t outputs, std::int64_t inputs) {
  std::vector<float> matrix(static_cast<std::size_t>(outputs * inputs));
  const double size = 1 / std::sqrt(static_cast<double>(inputs));
  for (float& element : matrix) element = static_cast<float>(random.normal() * size);
  return matrix;
}

/// A power of two in one place of each row.
std::vector<float> selection(proof::Random& random, std::int64_t outputs, std::int64_t inputs) {
  std::vector<float> matrix(static_cast<std::size_t>(outputs * inputs));
  for (std::int64_t row = 0; row < outputs; ++row) {
    const auto place = static_cast<std::size_t>(row * inputs + random.below(inputs));
    matrix[place] = std::ldexp(1.0F, static_cast<int>(random.below(3)) - 1);
  }
  return matrix;
}

}  // namespace

RandomWeights::RandomWeights(const LayerSpec& spec, std::uint64_t seed) {
  const AttentionConfig& a = spec.config.attention;
  const std::int64_t dim = spec.config.dim;
  const std::int64_t value_dim = a.value_head_dim == 0 ? a.head_dim : a.value_head_dim;
  proof::Random random(seed);
  const auto matrix = spec.exact_products ? selection : random_matrix;
  wq_ = matrix(random, a.query_heads * a.head_dim, dim);
  wk_ = matrix(random, a.kv_heads * a.head_dim, dim);
  wv_ = matrix(random, a.kv_heads * value_dim, dim);
  wo_ = matrix(random, dim, a.query_heads * value_dim);
  if (spec.norms) {
    q_norm_ = random_matrix(random, a.head_dim, 16);
    k_norm_ = random_matrix(random, a.head_dim, 1);
  }
  if (!spec.biases) return;
  bq_ = random_matrix(random, a.query_heads * a.head_dim, 1);
  bk_ = random_matrix(random, a.kv_heads * a.head_dim, 1);
  bv_ = random_matrix(random, a.kv_heads * value_dim, 1);
  bo_ = random_matrix(random, dim, 1);
}

LayerWeights RandomWeights::weights() const {
  const auto bias = [](const std::vector<float>& b) { return b.empty() ? nullptr : b.data(); };
  LayerWeights w;
  w.wq = wq_.data(), w.wk = wk_.data(), w.wv = wv_.data(), w.wo = wo_.data();
  w.bq = bias(bq_), w.bk = bias(bk_), w.bv = bias(bv_), w.bo = bias(bo_);
  if (!q_norm_.empty()) {
    w.q_norm = RmsNorm{.weight = q_norm_.data(), .weight_offset = 1.0F};
    w.k_norm = RmsNorm{.weight = k_norm_.data(), .epsilon = 1e-2};
  }
  return w;
}

LayerModel::LayerModel(const LayerSpec& spec, const RunOptions& options)
    : config_(spec.config), weights_(spec, 7) {
  const AttentionConfig& a = config_.attention;
  Status status;
  if (spec.rotary.rotary_dim != 0) {
    status = Rotary::create(spec.rotary, rotary_);
    config_.rotary = &rotary_;
  }
  const KvCacheConfig cache{.layout = PagedLayout::bhsd(spec.pages, spec.page_tokens, a.kv_heads,
                                                        a.head_dim, a.value_head_dim),
                            .sequences = spec.sequences,
                            .k_type = spec.k_type,
                            .v_type = spec.v_type};
  if (status.ok()) status = KvCache::create(cache, cache_);
  if (status.ok()) status = AttentionStep::create(config_, options, step_);
  if (status.ok()) status = MultiHeadAttention::create(config_, weights(), layer_);
  EXPECT_TRUE(status.ok()) << status.message();
}

std::int32_t LayerModel::add() {
  std::int32_t id = -1;
  EXPECT_TRUE(cache_.add(id).ok());
  return id;
}

std::vector<float> LayerModel::forward(
    const std::vector<std::pair<std::int32_t, std::vector<float>>>& sequences) {
  std::vector<StepTokens> tokens;
  std::vector<float> x;
  Status status;
  for (const auto& [id, hidden] : sequences) {
    std::vector<std::int64_t> slots(hidden.size() / static_cast<std::size_t>(config_.dim));
    if (status.ok()) status = cache_.extend(id, slots);
    tokens.push_back({id, std::ssize(slots)});
    x.insert(x.end(), hidden.begin(), hidden.end());
  }
  std::vector<float> y(x.size(), NAN);
  if (status.ok()) status = step_.prepare(cache_, tokens);
  if (status.ok()) status = layer_.forward(step_, cache_.layer(0), x.data(), y.data());
  EXPECT_TRUE(status.ok()) << status.message();
  return y;
}

std::vector<float> random_tokens(proof::Random& random, std::int64_t tokens, std::int64_t dim) {
  std::vector<float> x(static_cast<std::size_t>(tokens * dim));
  for (float& element : x) element = static_cast<float>(random.normal());
  return x;
}

}  // namespace heed::tests
