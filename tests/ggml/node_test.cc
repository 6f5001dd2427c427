// What the plug-in takes and what it hands back, node by node.
#include "bindings/ggml/node.h"

#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "ggml.h"

namespace {

using heed::plugin::NodeShape;
using heed::plugin::read_node;

/// The tensors of a node of 5 queries, 32 keys, 4 heads of 64 that share 2.
struct Tensors {
  ggml_tensor *q, *k, *v, *mask, *sinks;
};

struct Case {
  const char* name;
  std::string_view reason;  ///< what read_node says
  std::function<ggml_tensor*(ggml_context*, Tensors)> make;
};

Tensors make_tensors(ggml_context* context) {
  return {.q = ggml_new_tensor_4d(context, GGML_TYPE_F32, 64, 5, 4, 1),
          .k = ggml_new_tensor_4d(context, GGML_TYPE_F16, 64, 32, 2, 1),
          .v = ggml_new_tensor_4d(context, GGML_TYPE_Q8_0, 64, 32, 2, 1),
          .mask = ggml_new_tensor_4d(context, GGML_TYPE_F16, 32, 5, 1, 1),
          .sinks = ggml_new_tensor_1d(context, GGML_TYPE_F32, 4)};
}

ggml_tensor* attend(ggml_context* context, const Tensors& t, float max_bias = 0) {
  return ggml_flash_attn_ext(context, t.q, t.k, t.v, t.mask, 0.125F, max_bias, 0);
}

const Case kCases[] = {
    {"plain", "", [](ggml_context* c, Tensors t) { return attend(c, t); }},
    {"no mask", "", [](ggml_context* c, Tensors t) { return t.mask = nullptr, attend(c, t); }},
    {"sinks", "",
     [](ggml_context* c, Tensors t) {
       ggml_tensor* const node = attend(c, t);
       ggml_flash_attn_ext_add_sinks(node, t.sinks);
       return node;
     }},
    {"a sparse mask", "",
     [](ggml_context* c, Tensors t) {
       ggml_tensor* const node = attend(c, t);
       ggml_flash_attn_ext_set_n_kv_max(node, 7);
       return node;
     }},
    {"a view of an input as mask", "",
     [](ggml_context* c, Tensors t) {
       ggml_tensor* const larger = ggml_new_tensor_4d(c, GGML_TYPE_F16, 32, 8, 1, 1);
       t.mask = ggml_view_4d(c, larger, 32, 5, 1, 1, 64, 64 * 8, 64 * 8, 0);
       return attend(c, t);
     }},
    {"unknown parameter", "a parameter that this plug-in does not know",
     [](ggml_context* c, Tensors t) {
       ggml_tensor* const node = attend(c, t);
       node->op_params[5] = 1;
       return node;
     }},
    {"half precision", "",
     [](ggml_context* c, Tensors t) {
       ggml_tensor* const node = attend(c, t);
       ggml_prec_set_acc(node, GGML_PREC_F16);
       return node;
     }},
    {"unknown precision", "a precision that this plug-in does not know",
     [](ggml_context* c, Tensors t) {
       ggml_tensor* const node = attend(c, t);
       node->op_params[3] = 11;
       return node;
     }},
    {"unknown operand", "an operand that this plug-in does not know",
     [](ggml_context* c, Tensors t) {
       ggml_tensor* const node = attend(c, t);
       node->src[5] = t.sinks;
       return node;
     }},
    {"unknown type", "a cache of another type",
     [](ggml_context* c, Tensors t) {
       t.k = ggml_new_tensor_4d(c, GGML_TYPE_Q5_0, 64, 32, 2, 1);
       return attend(c, t);
     }},
    {"computed mask", "a mask that the graph computes",
     [](ggml_context* c, Tensors t) {
       t.mask = ggml_cast(c, ggml_new_tensor_4d(c, GGML_TYPE_F32, 32, 5, 1, 1), GGML_TYPE_F16);
       return attend(c, t);
     }},
    {"ALiBi without a mask", "ALiBi without a mask",
     [](ggml_context* c, Tensors t) {
       ggml_tensor* const node = attend(c, t, 8);
       node->src[3] = nullptr;
       return node;
     }},
    {"a mask of few heads", "a mask of another shape",
     [](ggml_context* c, Tensors t) {
       t.mask = ggml_new_tensor_4d(c, GGML_TYPE_F16, 32, 5, 2, 1);
       return attend(c, t);
     }},
    {"other value heads", "heads of keys and values that differ",
     [](ggml_context* c, Tensors t) {
       t.v = ggml_new_tensor_4d(c, GGML_TYPE_F16, 64, 32, 1, 1);
       return attend(c, t);
     }},
    {"transposed values", "rows that are not contiguous",
     [](ggml_context* c, Tensors t) {
       t.v = ggml_permute(c, ggml_new_tensor_4d(c, GGML_TYPE_F16, 32, 64, 2, 1), 1, 0, 2, 3);
       return attend(c, t);
     }},
    {"an infinite scale", "a scale that is not finite",
     [](ggml_context* c, Tensors t) {
       return ggml_flash_attn_ext(c, t.q, t.k, t.v, t.mask, 1.0F / 0.0F, 0, 0);
     }},
    {"large heads", "large heads",
     [](ggml_context* c, Tensors t) {
       t.q = ggml_new_tensor_4d(c, GGML_TYPE_F32, 1056, 5, 4, 1);
       t.k = ggml_new_tensor_4d(c, GGML_TYPE_F16, 1056, 32, 2, 1);
       return attend(c, t);
     }},
};

}  // namespace

int main() {
  int failures = 0;
  for (const Case& one : kCases) {
    const std::unique_ptr<ggml_context, decltype(&ggml_free)> context(
        ggml_init({.mem_size = 1 << 16, .mem_buffer = nullptr, .no_alloc = true}), ggml_free);
    const ggml_tensor* const node = one.make(context.get(), make_tensors(context.get()));
    NodeShape shape;
    const std::string_view reason = read_node(*node, shape);
    if (reason == one.reason) continue;
    ++failures;
    std::printf("%s: \"%s\" in place of \"%s\"\n", one.name, std::string(reason).c_str(),
                std::string(one.reason).c_str());
  }
  if (failures == 0) std::puts("every node was taken or handed back as it should be");
  return failures == 0 ? 0 : 1;
}
