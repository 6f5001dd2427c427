// An attention layer of a language model on a paged cache: heed/layer.h for C. It is not in
// libheed_c but in libheed_layer_c, which needs OpenBLAS and has all of libheed_c besides: a
// program links one of both, and handles of one are nothing to the other. heed_c.h does not include
// this header.
//
// Weights are not copied: they must stay as long as the handle of the layer, and those of norms,
// too. A rotary must live as long as the steps that were made with it.
#pragma once

/* NOLINTBEGIN(readability-identifier-naming,modernize-*,bugprone-macro-parentheses) */
#include <stddef.h>
#include <stdint.h>

#include "heed/c/attention.h"
#include "heed/c/executor.h"
#include "heed/c/export.h"
#include "heed/c/head_norm.h"
#include "heed/c/kv_cache.h"
#include "heed/c/rotary.h"
#include "heed/c/status.h"
#include "heed/c/struct.h"

#ifdef __cplusplus
extern "C" {
#endif

/// A linear map y = x Wᵀ + b: heed::Linear in layer.h.
typedef struct heed_linear {
  size_t struct_size;
  const float* weight;  ///< [outputs, inputs]
  const float* bias;    ///< [outputs]; null: none
  int64_t outputs;      ///< has no default
  int64_t inputs;       ///< has no default
} heed_linear;

/// What a model fixes of its attention layers: heed::LayerConfig in layer.h.
typedef struct heed_layer_config {
  size_t struct_size;
  int64_t dim;                             ///< of hidden states; has no default
  const heed_attention_config* attention;  ///< needed
  const heed_rotary* rotary;               ///< null: queries and keys are not rotated
} heed_layer_config;

/// The new tokens of one sequence in a step: heed::StepTokens in layer.h.
typedef struct heed_step_tokens {
  int32_t sequence;
  int64_t tokens;
} heed_step_tokens;

/// The weights of a layer, [outputs, inputs] each: heed::LayerWeights in layer.h.
typedef struct heed_layer_weights {
  size_t struct_size;
  const float* wq;
  const float* bq;  ///< null: none, as all biases
  const float* wk;
  const float* bk;
  const float* wv;
  const float* bv;
  const float* wo;
  const float* bo;
  const heed_rms_norm* q_norm;  ///< of the heads of queries, before they turn; null: none
  const heed_rms_norm* k_norm;  ///< of the heads of keys, likewise
} heed_layer_weights;

HEED_C_INIT(heed_linear);
HEED_C_INIT(heed_layer_config);
HEED_C_INIT(heed_layer_weights);

/// y = x Wᵀ + b, through OpenBLAS, as heed::project. `options` may be null.
HEED_C_API heed_status heed_project(const heed_linear* linear, int64_t tokens, const float* x,
                                    float* y, const heed_run_options* options);

/// What all layers need to know of new tokens: heed::AttentionStep in layer.h.
typedef struct heed_attention_step heed_attention_step;

/// An empty step. `options` may be null; their executor must live as long as the step.
HEED_C_API heed_status heed_attention_step_create(const heed_layer_config* config,
                                                  const heed_run_options* options,
                                                  heed_attention_step** step);
HEED_C_API void heed_attention_step_destroy(heed_attention_step* step);
/// The last tokens of these sequences, whose room heed_kv_cache_extend has made.
HEED_C_API heed_status heed_attention_step_prepare(heed_attention_step* step,
                                                   const heed_kv_cache* cache,
                                                   const heed_step_tokens* sequences,
                                                   size_t sequences_count);
/// The new tokens of all sequences: the rows of x.
HEED_C_API heed_status heed_attention_step_tokens(const heed_attention_step* step, int64_t* tokens);
/// The plan of its attention in words, written as heed_cpu_features writes its text.
HEED_C_API heed_status heed_attention_step_describe(const heed_attention_step* step, char* text,
                                                    size_t size, size_t* length);

/// One layer: heed::MultiHeadAttention in layer.h.
typedef struct heed_multi_head_attention heed_multi_head_attention;

HEED_C_API heed_status heed_multi_head_attention_create(const heed_layer_config* config,
                                                        const heed_layer_weights* weights,
                                                        heed_multi_head_attention** layer);
HEED_C_API void heed_multi_head_attention_destroy(heed_multi_head_attention* layer);
/// y = the layer's output for the hidden states x of the step's tokens, [tokens, dim] both; y may
/// be x. Writes keys and values to `pages`, those of this layer in the cache of the step.
HEED_C_API heed_status heed_multi_head_attention_forward(const heed_multi_head_attention* layer,
                                                         heed_attention_step* step,
                                                         const heed_kv_pages* pages, const float* x,
                                                         float* y);

#ifdef __cplusplus
}
#endif
/* NOLINTEND(readability-identifier-naming,modernize-*,bugprone-macro-parentheses) */
