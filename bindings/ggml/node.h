// A node of ggml's flash attention, in heed's words.
#pragma once

#include <cstdint>
#include <string_view>

#include "ggml.h"
#include "heed/attention.h"

namespace heed::plugin {

/// All of a node that a plan depends on: nodes of the same shape share one.
struct NodeShape {
  std::int64_t sequences = 0, queries = 0, keys = 0, heads = 0, kv_heads = 0, head_dim = 0,
               value_head_dim = 0;
  DType q_type = DType::f32, k_type = DType::f32, v_type = DType::f32;
  Layout q = {}, k = {}, v = {}, out = {};
  float scale = 0;
  const ggml_tensor* mask = nullptr;  ///< f16, [keys, queries, 1 or heads, 1 or sequences]; or none
  float max_bias = 0;                 ///< of ALiBi; 0: the mask is added as it is
  float softcap = 0;                  ///< 0: none
  bool sinks = false;

  bool operator==(const NodeShape& other) const noexcept;
};

/// What a FLASH_ATTN_EXT node has that ggml did not know when the plug-in was built; an empty
/// string where there is nothing of the kind. heed cannot compute such a node.
std::string_view find_unknown(const ggml_tensor& node) noexcept;

/// Reads a FLASH_ATTN_EXT node. Returns an empty string, or why heed cannot compute it.
std::string_view read_node(const ggml_tensor& node, NodeShape& shape) noexcept;

/// The tensors of a node, without what comes of its mask.
AttentionTensors tensors_of(const ggml_tensor& node, const NodeShape& shape) noexcept;

}  // namespace heed::plugin
