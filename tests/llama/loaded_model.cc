#include "tests/llama/loaded_model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <span>

#include "heed/kv_cache.h"

namespace heed::tests {

LoadedModel::LoadedModel(const std::string& path, const RunOptions& options) {
  Status status = llama::read_checkpoint(path, checkpoint_);
  if (status.ok()) status = llama::Model::create(checkpoint_, options, model_);
  EXPECT_TRUE(status.ok()) << status.message();
}

float LoadedModel::lead(const std::vector<std::int32_t>& ids) {
  const llama::ModelShape& shape = model_.shape();
  const PagedLayout layout = PagedLayout::bhsd(1, shape.context, shape.kv_heads, shape.head_dim());
  const StepTokens all{0, std::ssize(ids)};
  const std::vector<std::int64_t> wanted = {all.tokens - 1};
  std::vector<std::int64_t> slots(ids.size());
  std::vector<float> logits(static_cast<std::size_t>(shape.vocab_size));
  KvCache cache;
  std::int32_t id = -1;
  Status status =
      KvCache::create({.layout = layout, .layers = shape.layers, .sequences = 1}, cache);
  if (status.ok()) status = cache.add(id);
  if (status.ok()) status = cache.extend(id, slots);
  if (status.ok()) status = model_.forward(cache, {std::span(&all, 1), ids, wanted}, logits);
  EXPECT_TRUE(status.ok()) << status.message();
  std::ranges::sort(logits, std::greater());
  return logits[0] - logits[1];
}

float LoadedModel::smallest_lead(std::vector<std::int32_t> ids, std::size_t prompt) {
  float smallest = INFINITY;
  for (; ids.size() > prompt; smallest = std::min(smallest, lead(ids))) ids.pop_back();
  return smallest;
}

}  // namespace heed::tests
