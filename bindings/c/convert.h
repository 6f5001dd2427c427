// Structs of the C interface as those of C++. Each is converted in the file of its subject.
#pragma once

#include <string_view>

#include "bindings/c/arguments.h"
#include "heed/heed.h"
#include "heed/heed_c.h"

namespace heed::c {

inline InputData to_cpp(const heed_input_data& c) noexcept {
  return {c.data, static_cast<DType>(c.type)};
}
inline OutputData to_cpp(const heed_output_data& c) noexcept {
  return {c.data, static_cast<DType>(c.type)};
}
inline heed_output_data to_c(const OutputData& data) noexcept {
  return {data.data(), static_cast<heed_dtype>(data.type())};
}

/// Null is no name.
inline std::string_view name_of(const char* name) noexcept {
  return name == nullptr ? std::string_view() : std::string_view(name);
}

/// The name of an instruction set or of a type, which is a literal; "" for none.
inline const char* literal(std::string_view name) noexcept {
  return name.empty() ? "" : name.data();
}

inline Layout to_cpp(const Path& /*path*/, const heed_layout* c) noexcept {
  return {c->sequence_stride, c->token_stride, c->head_stride};
}
inline ScaleLayout to_cpp(const Path& /*path*/, const heed_scale_layout* c) noexcept {
  return {c->group, c->sequence_stride, c->token_stride, c->head_stride};
}
inline heed_scale_layout to_c(const ScaleLayout& layout) noexcept {
  return {layout.group, layout.sequence_stride, layout.token_stride, layout.head_stride};
}

PageTables to_cpp(const Path& path, const heed_page_tables* given);
ScoreBias to_cpp(const Path& path, const heed_score_bias* given);
RowTemperatures to_cpp(const Path& path, const heed_row_temperatures* given);
RunOptions to_cpp(const Path& path, const heed_run_options* given);
PagedLayout to_cpp(const Path& path, const heed_paged_layout* given);
ScoreModifiers to_cpp(const Path& path, const heed_score_modifiers* given);
AttentionTensors to_cpp(const Path& path, const heed_attention_tensors* given);
AttentionConfig to_cpp(const Path& path, const heed_attention_config* given);
KeyMask to_cpp(const Path& path, const heed_key_mask* given);
KeyLists to_cpp(const Path& path, const heed_key_lists* given);
KeyShard to_cpp(const Path& path, const heed_key_shard* given);
Batch to_cpp(const Path& path, const heed_batch* given);
PlanOptions to_cpp(const Path& path, const heed_plan_options* given);
AttentionWeights to_cpp(const Path& path, const heed_attention_weights* given);
RotaryScaling to_cpp(const Path& path, const heed_rotary_scaling* given);
RotaryConfig to_cpp(const Path& path, const heed_rotary_config* given);
RotaryTensors to_cpp(const Path& path, const heed_rotary_tensors* given);
RmsNorm to_cpp(const Path& path, const heed_rms_norm* given);
HeadTensors to_cpp(const Path& path, const heed_head_tensors* given);
PageBudget to_cpp(const Path& path, const heed_page_budget* given);
KvCacheConfig to_cpp(const Path& path, const heed_kv_cache_config* given);
KvPages to_cpp(const Path& path, const heed_kv_pages* given);
NewTokens to_cpp(const Path& path, const heed_new_tokens* given);
ConstRows to_cpp(const Path& path, const heed_const_rows* given);
Rows to_cpp(const Path& path, const heed_rows* given);
SoftmaxOptions to_cpp(const Path& path, const heed_softmax_options* given);
Logits to_cpp(const Path& path, const heed_logits* given);
SamplingRule to_cpp(const Path& path, const heed_sampling_rule* given);
Samples to_cpp(const Path& path, const heed_samples* given);

/// Without scales.
heed_paged_layout to_c(const PagedLayout& layout) noexcept;

}  // namespace heed::c
