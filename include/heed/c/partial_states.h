// States of some of the keys, and their merge.
#pragma once

/* NOLINTBEGIN(readability-identifier-naming,modernize-*,bugprone-macro-parentheses) */
#include <stddef.h>
#include <stdint.h>

#include "heed/c/attention.h"
#include "heed/c/dtype.h"
#include "heed/c/executor.h"
#include "heed/c/export.h"
#include "heed/c/score_modifiers.h"
#include "heed/c/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/// How many states a plan's run has: heed::StateShape in partial_states.h.
typedef struct heed_state_shape {
  int64_t partitions;
  int64_t rows;
  int64_t value_head_dim;
} heed_state_shape;

/// States to write, as heed::PartialStates in partial_states.h.
typedef struct heed_partial_states {
  float* m;  ///< [partition, row]
  float* l;  ///< [partition, row]
  float* o;  ///< [partition, row, value_head_dim]
  int64_t partitions;
} heed_partial_states;

/// States to read.
typedef struct heed_const_partial_states {
  const float* m;
  const float* l;
  const float* o;
  int64_t partitions;
} heed_const_partial_states;

HEED_C_API heed_status heed_get_state_shape(const heed_plan* plan, heed_state_shape* shape);
/// Of all m, l and o together, as heed::StateShape::floats.
HEED_C_API heed_status heed_state_shape_floats(const heed_state_shape* shape, size_t* floats);
/// States in one piece of so many floats, as heed::PartialStates::in.
HEED_C_API heed_status heed_partial_states_in(float* memory, const heed_state_shape* shape,
                                              heed_partial_states* states);
HEED_C_API heed_status heed_run_partial(const heed_plan* plan,
                                        const heed_attention_tensors* tensors,
                                        const heed_partial_states* states,
                                        heed_workspace* workspace, heed_executor* executor);
HEED_C_API heed_status heed_run_partial_share(const heed_plan* plan,
                                              const heed_attention_tensors* tensors,
                                              const heed_partial_states* states,
                                              heed_workspace* workspace, int ith, int nth);
/// Adds the states of `count` shards, at most 256, as heed::merge. `lse`, `modifiers` and
/// `executor` may be null.
HEED_C_API heed_status heed_merge(const heed_plan* plan, const heed_const_partial_states* shards,
                                  size_t count, heed_output_data out, float* lse,
                                  const heed_score_modifiers* modifiers, heed_executor* executor);
/// total += states, as heed::merge_into. `modifiers` and `executor` may be null.
HEED_C_API heed_status heed_merge_into(const heed_plan* plan, const heed_partial_states* total,
                                       const heed_const_partial_states* states,
                                       const heed_score_modifiers* modifiers,
                                       heed_executor* executor);
/// Makes all states empty.
HEED_C_API heed_status heed_clear(const heed_plan* plan, const heed_partial_states* states);

#ifdef __cplusplus
}
#endif
/* NOLINTEND(readability-identifier-naming,modernize-*,bugprone-macro-parentheses) */
