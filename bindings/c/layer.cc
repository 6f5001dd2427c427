// The attention layer, of libheed_layer_c alone.
#include "heed/layer.h"

#include "bindings/c/convert.h"
#include "bindings/c/handles.h"
#include "bindings/c/init.h"
#include "heed/c/layer.h"

// NOLINTBEGIN(readability-identifier-naming): they are named in C.
struct heed_attention_step {
  heed::AttentionStep value;
};

struct heed_multi_head_attention {
  heed::MultiHeadAttention value;
};
// NOLINTEND(readability-identifier-naming)

HEED_C_DEFINE_INIT(heed_linear, inputs);
HEED_C_DEFINE_INIT(heed_layer_config, rotary);
HEED_C_DEFINE_INIT(heed_layer_weights, k_norm);

namespace heed::c {

Linear to_cpp(const Path& path, const heed_linear* given) {
  const heed_linear c = read(path, given);
  return {.weight = c.weight, .bias = c.bias, .outputs = c.outputs, .inputs = c.inputs};
}

LayerConfig to_cpp(const Path& path, const heed_layer_config* given) {
  const heed_layer_config c = read(path, given);
  return {.dim = c.dim,
          .attention = to_cpp(path.member("attention"), c.attention),
          .rotary = c.rotary == nullptr ? nullptr : &c.rotary->value};
}

LayerWeights to_cpp(const Path& path, const heed_layer_weights* given) {
  const heed_layer_weights c = read(path, given);
  return {.wq = c.wq,
          .bq = c.bq,
          .wk = c.wk,
          .bk = c.bk,
          .wv = c.wv,
          .bv = c.bv,
          .wo = c.wo,
          .bo = c.bo,
          .q_norm = optional(path.member("q_norm"), c.q_norm),
          .k_norm = optional(path.member("k_norm"), c.k_norm)};
}

namespace {

std::vector<StepTokens> step_tokens(std::span<const heed_step_tokens> sequences) {
  std::vector<StepTokens> tokens;
  for (const heed_step_tokens& c : sequences) tokens.push_back({c.sequence, c.tokens});
  return tokens;
}

}  // namespace
}  // namespace heed::c

using heed::c::call;
using heed::c::needed;
using heed::c::to_cpp;

heed_status heed_project(const heed_linear* linear, int64_t tokens, const float* x, float* y,
                         const heed_run_options* options) {
  return call([&] {
    return heed::project(to_cpp("linear", linear), tokens, x, y,
                         heed::c::or_defaults("options", options));
  });
}

heed_status heed_attention_step_create(const heed_layer_config* config,
                                       const heed_run_options* options,
                                       heed_attention_step** step) {
  return call([&] {
    return heed::c::create("step", step, [&](heed_attention_step& made) {
      return heed::AttentionStep::create(to_cpp("config", config),
                                         heed::c::or_defaults("options", options), made.value);
    });
  });
}

void heed_attention_step_destroy(heed_attention_step* step) { delete step; }

heed_status heed_attention_step_prepare(heed_attention_step* step, const heed_kv_cache* cache,
                                        const heed_step_tokens* sequences, size_t sequences_count) {
  return call([&] {
    const std::span all = heed::c::elements("sequences", sequences, sequences_count);
    return needed("step", step)
        .value.prepare(needed("cache", cache).value, heed::c::step_tokens(all));
  });
}

heed_status heed_attention_step_tokens(const heed_attention_step* step, int64_t* tokens) {
  return call([&] {
    const heed::AttentionStep& known = needed("step", step).value;
    needed("tokens", tokens) = known.tokens();
  });
}

heed_status heed_attention_step_describe(const heed_attention_step* step, char* text, size_t size,
                                         size_t* length) {
  return call([&] {
    heed::c::write_text(needed("step", step).value.plan().describe(), text, size, length);
  });
}

heed_status heed_multi_head_attention_create(const heed_layer_config* config,
                                             const heed_layer_weights* weights,
                                             heed_multi_head_attention** layer) {
  return call([&] {
    return heed::c::create("layer", layer, [&](heed_multi_head_attention& made) {
      return heed::MultiHeadAttention::create(to_cpp("config", config), to_cpp("weights", weights),
                                              made.value);
    });
  });
}

void heed_multi_head_attention_destroy(heed_multi_head_attention* layer) { delete layer; }

heed_status heed_multi_head_attention_forward(const heed_multi_head_attention* layer,
                                              heed_attention_step* step, const heed_kv_pages* pages,
                                              const float* x, float* y) {
  return call([&] {
    return needed("layer", layer)
        .value.forward(needed("step", step).value, to_cpp("pages", pages), x, y);
  });
}
