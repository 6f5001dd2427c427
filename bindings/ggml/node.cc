#include "bindings/ggml/node.h"

#include <cmath>
#include <cstring>
#include <optional>

namespace heed::plugin {
namespace {

/// ggml's parameters of the operation: op_params[0 … 2], and those of an accumulator's precision
/// and of a sparse mask, which ask for no more than heed does anyway.
constexpr int kKnownParameters = 5;
constexpr int kPrecision = 3;
/// Queries, keys, values, mask and sinks.
constexpr int kKnownOperands = 5;

std::optional<DType> dtype_of(ggml_type type) {
  switch (type) {
    case GGML_TYPE_F32:
      return DType::f32;
    case GGML_TYPE_F16:
      return DType::f16;
    case GGML_TYPE_BF16:
      return DType::bf16;
    case GGML_TYPE_Q8_0:
      return DType::q8_0;
    case GGML_TYPE_Q4_0:
      return DType::q4_0;
    default:
      return std::nullopt;
  }
}

/// [head_dim, tokens, heads, sequences] as a layout in elements; nothing where rows are not
/// contiguous or a stride is no whole number of blocks.
std::optional<Layout> layout_of(const ggml_tensor& tensor, DType type) {
  const DTypeInfo& info = dtype_info(type);
  const auto bytes = static_cast<std::size_t>(info.block_bytes);
  if (tensor.nb[0] != bytes) return std::nullopt;
  std::int64_t strides[3];
  for (int i = 0; i < 3; ++i) {
    if (tensor.nb[i + 1] % bytes != 0) return std::nullopt;
    strides[i] = static_cast<std::int64_t>(tensor.nb[i + 1] / bytes) * info.block_elements;
  }
  return Layout{
      .sequence_stride = strides[2], .token_stride = strides[0], .head_stride = strides[1]};
}

bool same(const Layout& a, const Layout& b) {
  return a.sequence_stride == b.sequence_stride && a.token_stride == b.token_stride &&
         a.head_stride == b.head_stride;
}

/// Whether the same elements are meant.
bool same(const ggml_tensor* a, const ggml_tensor* b) {
  if (a == b) return true;
  return a != nullptr && b != nullptr && a->data == b->data &&
         std::memcmp(a->ne, b->ne, sizeof a->ne) == 0 &&
         std::memcmp(a->nb, b->nb, sizeof a->nb) == 0;
}

float parameter(const ggml_tensor& node, int i) {
  float value = 0;
  std::memcpy(&value, &node.op_params[i], sizeof value);
  return value;
}

std::string_view read_parameters(const ggml_tensor& node, NodeShape& shape) {
  shape.scale = parameter(node, 0);
  shape.max_bias = parameter(node, 1);
  shape.softcap = parameter(node, 2);
  if (!std::isfinite(shape.scale)) return "a scale that is not finite";
  if (!(shape.softcap >= 0) || !std::isfinite(shape.softcap)) return "a negative softcap";
  return {};
}

/// Whether the elements are known before the graph is computed: those of an input, or of a view of
/// one.
bool is_input(const ggml_tensor& tensor) {
  const ggml_tensor* t = &tensor;
  while (t->view_src != nullptr && t->op != GGML_OP_NONE) {
    if (t->op != GGML_OP_VIEW && t->op != GGML_OP_RESHAPE && t->op != GGML_OP_PERMUTE) return false;
    t = t->view_src;
  }
  return t->op == GGML_OP_NONE;
}

std::string_view read_mask(const ggml_tensor* mask, const NodeShape& shape) {
  if (mask == nullptr) return shape.max_bias > 0 ? "ALiBi without a mask" : "";
  if (mask->type != GGML_TYPE_F16 || mask->nb[0] != 2) return "a mask that is not f16";
  if (!is_input(*mask)) return "a mask that the graph computes";
  if (mask->ne[0] != shape.keys || mask->ne[1] < shape.queries ||
      (mask->ne[2] != 1 && mask->ne[2] != shape.heads) ||
      (mask->ne[3] != 1 && mask->ne[3] != shape.sequences)) {
    return "a mask of another shape";
  }
  for (int i = 1; i < 4; ++i) {
    if (mask->nb[i] % 2 != 0) return "a mask of another shape";
  }
  return {};
}

/// The tensors' types and layouts.
std::string_view read_tensors(const ggml_tensor& node, NodeShape& shape) {
  const ggml_tensor &q = *node.src[0], &k = *node.src[1], &v = *node.src[2];
  const std::optional<DType> q_type = dtype_of(q.type), k_type = dtype_of(k.type),
                             v_type = dtype_of(v.type);
  if (!q_type || !dtype_info(*q_type).computes) return "queries of another type";
  if (!k_type || !v_type) return "a cache of another type";
  const std::optional<Layout> q_layout = layout_of(q, *q_type), k_layout = layout_of(k, *k_type),
                              v_layout = layout_of(v, *v_type),
                              out_layout = layout_of(node, DType::f32);
  if (!q_layout || !k_layout || !v_layout || !out_layout) return "rows that are not contiguous";
  shape.q_type = *q_type, shape.k_type = *k_type, shape.v_type = *v_type;
  shape.q = *q_layout, shape.k = *k_layout, shape.v = *v_layout;
  // Outputs are [head_dim, heads, tokens, sequences].
  shape.out = {.sequence_stride = out_layout->sequence_stride,
               .token_stride = out_layout->head_stride,
               .head_stride = out_layout->token_stride};
  return {};
}

}  // namespace

bool NodeShape::operator==(const NodeShape& other) const noexcept {
  return sequences == other.sequences && queries == other.queries && keys == other.keys &&
         heads == other.heads && kv_heads == other.kv_heads && head_dim == other.head_dim &&
         value_head_dim == other.value_head_dim && q_type == other.q_type &&
         k_type == other.k_type && v_type == other.v_type && same(q, other.q) && same(k, other.k) &&
         same(v, other.v) && same(out, other.out) && scale == other.scale &&
         same(mask, other.mask) && max_bias == other.max_bias && softcap == other.softcap &&
         sinks == other.sinks;
}

std::string_view find_unknown(const ggml_tensor& node) noexcept {
  for (int i = kKnownOperands; i < GGML_MAX_SRC; ++i) {
    if (node.src[i] != nullptr) return "an operand that this plug-in does not know";
  }
  constexpr int count = GGML_MAX_OP_PARAMS / static_cast<int>(sizeof(std::int32_t));
  for (int i = kKnownParameters; i < count; ++i) {
    if (node.op_params[i] != 0) return "a parameter that this plug-in does not know";
  }
  const std::int32_t precision = node.op_params[kPrecision];
  if (precision != GGML_PREC_UNDEFINED && precision != GGML_PREC_F32 &&
      precision != GGML_PREC_BF16 && precision != GGML_PREC_F16) {
    return "a precision that this plug-in does not know";
  }
  return {};
}

std::string_view read_node(const ggml_tensor& node, NodeShape& shape) noexcept {
  const ggml_tensor *const q = node.src[0], *const k = node.src[1], *const v = node.src[2];
  if (q == nullptr || k == nullptr || v == nullptr || node.type != GGML_TYPE_F32) {
    return "operands of another kind";
  }
  if (const std::string_view unknown = find_unknown(node); !unknown.empty()) return unknown;
  shape = {};
  shape.head_dim = q->ne[0], shape.queries = q->ne[1], shape.heads = q->ne[2];
  shape.sequences = q->ne[3];
  shape.keys = k->ne[1], shape.kv_heads = k->ne[2], shape.value_head_dim = v->ne[0];
  if (k->ne[3] != shape.sequences || v->ne[3] != shape.sequences) return "broadcast sequences";
  if (v->ne[2] != shape.kv_heads || shape.kv_heads == 0 || shape.heads % shape.kv_heads != 0) {
    return "heads of keys and values that differ";
  }
  if (shape.head_dim > kMaxHeadDim || shape.value_head_dim > kMaxHeadDim) return "large heads";
  if (shape.queries == 0 || shape.keys == 0) return "no queries or no keys";
  if (const std::string_view reason = read_tensors(node, shape); !reason.empty()) return reason;
  if (const std::string_view reason = read_parameters(node, shape); !reason.empty()) return reason;
  if (const std::string_view reason = read_mask(node.src[3], shape); !reason.empty()) return reason;
  shape.mask = node.src[3];
  const ggml_tensor* const sinks = node.src[4];
  shape.sinks = sinks != nullptr;
  if (sinks != nullptr && (sinks->type != GGML_TYPE_F32 || sinks->ne[0] != shape.heads ||
                           sinks->nb[0] != sizeof(float))) {
    return "sinks of another shape";
  }
  return {};
}

AttentionTensors tensors_of(const ggml_tensor& node, const NodeShape& shape) noexcept {
  AttentionTensors tensors;
  tensors.q = {node.src[0]->data, shape.q_type};
  tensors.k = {node.src[1]->data, shape.k_type};
  tensors.v = {node.src[2]->data, shape.v_type};
  tensors.out = {node.data, DType::f32};
  tensors.modifiers.softcap = shape.softcap;
  if (shape.sinks) tensors.modifiers.sinks = static_cast<const float*>(node.src[4]->data);
  return tensors;
}

}  // namespace heed::plugin
