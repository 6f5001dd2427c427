// What the weights of attention tell.
#pragma once

/* NOLINTBEGIN(readability-identifier-naming,modernize-*,bugprone-macro-parentheses) */
#include <stddef.h>
#include <stdint.h>

#include "heed/c/attention.h"
#include "heed/c/dtype.h"
#include "heed/c/executor.h"
#include "heed/c/export.h"
#include "heed/c/status.h"
#include "heed/c/struct.h"

#ifdef __cplusplus
extern "C" {
#endif

/// Where weights lie: heed::WeightLayout in attention_weights.h.
typedef struct heed_weight_layout {
  int64_t sequence_stride;
  int64_t head_stride;
  int64_t query_stride;
} heed_weight_layout;

/// Where masses lie: heed::MassLayout in attention_weights.h.
typedef struct heed_mass_layout {
  int64_t sequence_stride;
  int64_t head_stride;
} heed_mass_layout;

/// What is asked for, and where it goes: heed::AttentionWeights in attention_weights.h. What is
/// null is not asked for.
typedef struct heed_attention_weights {
  size_t struct_size;
  heed_output_data weights;
  const heed_weight_layout* layout;  ///< null: contiguous [sequence, head, query, key]
  float* entropy;                    ///< of each row, in nats
  float* top_weights;                ///< [row, top]
  int32_t* top_keys;                 ///< [row, top]
  int32_t top;                       ///< 1 … 16, default 1
  int reserved;
  float* mass;                          ///< of each key
  const heed_mass_layout* mass_layout;  ///< null: contiguous [sequence, head, key]
} heed_attention_weights;

HEED_C_INIT(heed_attention_weights);

/// Makes room for heed_get_attention_weights.
HEED_C_API heed_status heed_workspace_reserve_weights(heed_workspace* workspace,
                                                      const heed_plan* plan,
                                                      const heed_attention_weights* weights);

/// Computes what is asked for, and outputs where tensors->out is not null, as
/// heed::attention_weights.
HEED_C_API heed_status heed_get_attention_weights(const heed_plan* plan,
                                                  const heed_attention_tensors* tensors,
                                                  const heed_attention_weights* weights,
                                                  heed_workspace* workspace,
                                                  heed_executor* executor);

#ifdef __cplusplus
}
#endif
/* NOLINTEND(readability-identifier-naming,modernize-*,bugprone-macro-parentheses) */
