// A plug-in that uses heed on two threads.
#include <heed/heed.h>

#include <vector>

extern "C" {

/// Whether attention over equal values returns them.
bool plugin_run() {
  constexpr std::int64_t kHeads = 8, kTokens = 1024, kDim = 16;
  const std::vector<float> ones(static_cast<std::size_t>(kHeads * kTokens * kDim), 1.0F);
  std::vector<float> out(ones.size());
  heed::Executor executor;
  heed::Plan plan;
  heed::Workspace workspace;
  const heed::AttentionConfig config{.query_heads = kHeads, .kv_heads = kHeads, .head_dim = kDim};
  const heed::Batch batch{.query = {.length = kTokens}, .key = {.length = kTokens}};
  if (!heed::Executor::create(2, executor)) return false;
  if (!heed::plan_attention(config, batch, {.workers = 2}, plan)) return false;
  if (!workspace.reserve(plan)) return false;
  const heed::AttentionTensors tensors{ones.data(), ones.data(), ones.data(), out.data()};
  if (!heed::run(plan, tensors, workspace, &executor)) return false;
  for (const float x : out) {
    if (x < 0.999F || x > 1.001F) return false;
  }
  return true;
}

/// Which heed this plug-in runs.
const void* plugin_heed() { return reinterpret_cast<const void*>(&heed::plan_attention); }

}  // extern "C"
