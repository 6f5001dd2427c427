// What happens to scores before they become weights.
#pragma once

/* NOLINTBEGIN(readability-identifier-naming,modernize-*,bugprone-macro-parentheses) */
#include <stddef.h>
#include <stdint.h>

#include "heed/c/dtype.h"
#include "heed/c/export.h"
#include "heed/c/status.h"
#include "heed/c/struct.h"

#ifdef __cplusplus
extern "C" {
#endif

/// Numbers that are added to scores: heed::ScoreBias in score_modifiers.h.
typedef struct heed_score_bias {
  size_t struct_size;
  heed_input_data data;
  int64_t sequence_stride;  ///< 0: all share it, as of head, query and key
  int64_t head_stride;
  int64_t query_stride;
  int64_t key_stride;  ///< 1, the default, or 0
} heed_score_bias;

/// Temperatures of heads or rows: heed::RowTemperatures in score_modifiers.h.
typedef struct heed_row_temperatures {
  size_t struct_size;
  const float* data;
  int64_t sequence_stride;  ///< 0: all share it, as of head and query
  int64_t head_stride;
  int64_t query_stride;
} heed_row_temperatures;

/// What happens to scores before they become weights: heed::ScoreModifiers in score_modifiers.h.
typedef struct heed_score_modifiers {
  size_t struct_size;
  const float* alibi_slopes;  ///< [query_heads]; null: none
  const float* sinks;         ///< [query_heads]; null: none
  const heed_score_bias* bias;
  const heed_row_temperatures* temperatures;
  float softcap;  ///< 0: none
  int reserved;
} heed_score_modifiers;

HEED_C_INIT(heed_score_bias);
HEED_C_INIT(heed_row_temperatures);
HEED_C_INIT(heed_score_modifiers);

/// As heed::alibi_slopes in score_modifiers.h.
HEED_C_API heed_status heed_alibi_slopes(float* slopes, size_t count);

#ifdef __cplusplus
}
#endif
/* NOLINTEND(readability-identifier-naming,modernize-*,bugprone-macro-parentheses) */
