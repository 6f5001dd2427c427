// Drawing tokens from logits.
#pragma once

/* NOLINTBEGIN(readability-identifier-naming,modernize-*,bugprone-macro-parentheses) */
#include <stddef.h>
#include <stdint.h>

#include "heed/c/dtype.h"
#include "heed/c/executor.h"
#include "heed/c/export.h"
#include "heed/c/status.h"
#include "heed/c/struct.h"

#ifdef __cplusplus
extern "C" {
#endif

/// What a row without a token gets.
#define HEED_NO_TOKEN (-1)

/// Logits to read: heed::Logits in sampling.h.
typedef struct heed_logits {
  size_t struct_size;
  heed_input_data data;
  int64_t rows;
  int64_t length;
  int64_t stride;
} heed_logits;

/// What may be drawn from a row: heed::SamplingRule in sampling.h. In an array all have the same
/// struct_size.
typedef struct heed_sampling_rule {
  size_t struct_size;
  int64_t top_k;      ///< 0: all
  float temperature;  ///< default 1; 0: the largest logit
  float top_p;        ///< default 1: all
  float min_p;        ///< 0: all
  int reserved;
} heed_sampling_rule;

/// Which random number a row is given: heed::Draw in sampling.h.
typedef struct heed_draw {
  uint64_t seed;
  uint64_t counter;
} heed_draw;

/// What is written, one element for each row: heed::Samples in sampling.h.
typedef struct heed_samples {
  size_t struct_size;
  int32_t* tokens;
  float* probabilities;  ///< null: not asked for
} heed_samples;

HEED_C_INIT(heed_logits);
HEED_C_INIT(heed_sampling_rule);
HEED_C_INIT(heed_samples);

/// The memory that heed_sample works in: heed::SamplingWorkspace in sampling.h.
typedef struct heed_sampling_workspace heed_sampling_workspace;

/// Empty.
HEED_C_API heed_status heed_sampling_workspace_create(heed_sampling_workspace** workspace);
HEED_C_API void heed_sampling_workspace_destroy(heed_sampling_workspace* workspace);
/// For rows of `length` logits on `workers` workers; 0: heed_cpu_info::default_workers.
HEED_C_API heed_status heed_sampling_workspace_reserve(heed_sampling_workspace* workspace,
                                                       int64_t length, int workers);
HEED_C_API heed_status heed_sampling_workspace_bytes(const heed_sampling_workspace* workspace,
                                                     size_t* bytes);

/// Draws a token from each row, as heed::sample. Rules are one, or one for each row; draws one for
/// each row, or none where all rules have a temperature of 0. `options` and `workspace` may be
/// null. Rules and draws are copied to memory that is allocated for the call.
HEED_C_API heed_status heed_sample(const heed_logits* logits, const heed_sampling_rule* rules,
                                   size_t rules_count, const heed_draw* draws, size_t draws_count,
                                   const heed_samples* samples, const heed_run_options* options,
                                   heed_sampling_workspace* workspace);

#ifdef __cplusplus
}
#endif
/* NOLINTEND(readability-identifier-naming,modernize-*,bugprone-macro-parentheses) */
