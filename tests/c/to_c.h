// Descriptions and tensors of C++ as those of C.
#pragma once

#include "heed/heed.h"
#include "heed/heed_c.h"
#include "tests/support/attention_run.h"

namespace heed::tests {

/// A struct as its init function leaves it.
template <class Struct>
Struct initialised(heed_status (*init)(Struct*)) {
  Struct c;
  EXPECT_EQ(init(&c), HEED_OK) << heed_last_message();
  return c;
}

heed_input_data to_c(const InputData& data);
heed_output_data to_c(const OutputData& data);
heed_layout to_c(const Layout& layout);
heed_scale_layout to_c(const ScaleLayout& layout);

/// The structs of C that a description's own point to are here, so that it is not copied.
struct CConfig {
  explicit CConfig(const AttentionConfig& config);
  CConfig(const CConfig&) = delete;
  const heed_attention_config* pointer() const { return &c; }
  float scale = 0;
  heed_attention_config c;
};

struct CPagedLayout {
  explicit CPagedLayout(const PagedLayout& layout);
  CPagedLayout(const CPagedLayout&) = delete;
  const heed_paged_layout* pointer() const { return &c; }
  heed_scale_layout k_scales, v_scales;
  heed_paged_layout c;
};

struct CBatch {
  explicit CBatch(const Batch& batch);
  CBatch(const CBatch&) = delete;
  const heed_batch* pointer() const { return &c; }
  heed_layout q, k, v, out, lse;
  heed_scale_layout k_scales, v_scales;
  CPagedLayout pages;
  heed_key_mask mask;
  heed_key_lists key_lists;
  heed_key_shard shard;
  heed_batch c;
};

struct CTensors {
  explicit CTensors(const AttentionTensors& tensors);
  CTensors(const CTensors&) = delete;
  const heed_attention_tensors* pointer() const { return &c; }
  heed_page_tables tables;
  heed_score_bias bias;
  heed_row_temperatures temperatures;
  heed_score_modifiers modifiers;
  heed_attention_tensors c;
};

/// A handle that ends with its scope.
template <class T, void (*destroy)(T*)>
class Owned {
 public:
  Owned() = default;
  Owned(const Owned&) = delete;
  ~Owned() { destroy(handle_); }
  T** out() { return &handle_; }
  operator T*() const { return handle_; }  // NOLINT(google-explicit-constructor)

 private:
  T* handle_ = nullptr;
};
using OwnedPlan = Owned<heed_plan, heed_plan_destroy>;
using OwnedWorkspace = Owned<heed_workspace, heed_workspace_destroy>;
using OwnedExecutor = Owned<heed_executor, heed_executor_destroy>;
using OwnedRotary = Owned<heed_rotary, heed_rotary_destroy>;
using OwnedSequences = Owned<heed_paged_sequences, heed_paged_sequences_destroy>;
using OwnedCache = Owned<heed_kv_cache, heed_kv_cache_destroy>;
using OwnedSampling = Owned<heed_sampling_workspace, heed_sampling_workspace_destroy>;

/// Fails the test, with the sentence, where a call has failed.
#define EXPECT_DONE(call) EXPECT_EQ(call, HEED_OK) << heed_last_message()
#define ASSERT_DONE(call) ASSERT_EQ(call, HEED_OK) << heed_last_message()

/// A plan for so many workers, and a workspace with room for it.
struct CPlan {
  CPlan(const AttentionConfig& config, const Batch& batch, int workers);
  OwnedPlan plan;
  OwnedWorkspace workspace;
};

}  // namespace heed::tests
