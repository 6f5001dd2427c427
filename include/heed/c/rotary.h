// Rotary position embedding.
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

/// The cosines and sines of all positions: heed::Rotary in rotary.h.
typedef struct heed_rotary heed_rotary;

/// As heed::RotaryPairs in rotary.h.
typedef enum heed_rotary_pairs HEED_C_ENUM {
  HEED_ROTARY_ADJACENT,
  HEED_ROTARY_HALVES
} heed_rotary_pairs;

/// As heed::RotaryScalingKind in rotary.h.
typedef enum heed_rotary_scaling_kind HEED_C_ENUM {
  HEED_ROTARY_SCALING_NONE,
  HEED_ROTARY_SCALING_LINEAR,
  HEED_ROTARY_SCALING_DYNAMIC_NTK,
  HEED_ROTARY_SCALING_LLAMA3,
  HEED_ROTARY_SCALING_YARN,
  HEED_ROTARY_SCALING_LONG_ROPE
} heed_rotary_scaling_kind;

/// As heed::RotaryScaling in rotary.h.
typedef struct heed_rotary_scaling {
  size_t struct_size;
  heed_rotary_scaling_kind kind;  ///< default HEED_ROTARY_SCALING_NONE
  int truncate;                   ///< of YaRN; default 1
  double factor;                  ///< default 1
  int64_t original_positions;     ///< has no default
  double low_freq_factor;         ///< default 1
  double high_freq_factor;        ///< default 4
  double beta_fast;               ///< default 32
  double beta_slow;               ///< default 1
  double mscale;                  ///< default 0, with mscale_all_dim: none
  double mscale_all_dim;
  double attention_factor;      ///< default 0: as the kind says
  const double* short_factors;  ///< of LongRoPE
  size_t short_factors_count;
  const double* long_factors;
  size_t long_factors_count;
} heed_rotary_scaling;

/// As heed::RotaryConfig in rotary.h.
typedef struct heed_rotary_config {
  size_t struct_size;
  int64_t rotary_dim;       ///< has no default
  heed_rotary_pairs pairs;  ///< default HEED_ROTARY_ADJACENT
  int reserved;
  double base;                         ///< default 10000
  double position_scale;               ///< default 1
  int64_t positions;                   ///< has no default
  const heed_rotary_scaling* scaling;  ///< null: none
  const double* frequencies;           ///< in the place of base
  size_t frequencies_count;
  const double* factors;  ///< what frequencies are divided by before they are scaled
  size_t factors_count;
} heed_rotary_config;

/// Vectors to rotate: heed::RotaryTensors in rotary.h.
typedef struct heed_rotary_tensors {
  size_t struct_size;
  heed_input_data x;
  heed_output_data y;
  int64_t heads;                ///< default 1
  int64_t head_dim;             ///< has no default
  const heed_layout* x_layout;  ///< null: contiguous
  const heed_layout* y_layout;
  const int64_t* positions;  ///< one per token
  size_t positions_count;
} heed_rotary_tensors;

HEED_C_INIT(heed_rotary_scaling);
HEED_C_INIT(heed_rotary_config);
HEED_C_INIT(heed_rotary_tensors);

HEED_C_API heed_status heed_rotary_create(const heed_rotary_config* config, heed_rotary** rotary);
HEED_C_API void heed_rotary_destroy(heed_rotary* rotary);
/// As given to heed_rotary_create, but for `scaling` and the lists, which are null:
/// heed_rotary_frequencies says what came of them.
HEED_C_API heed_status heed_get_rotary_config(const heed_rotary* rotary,
                                              heed_rotary_config* config);
/// What each pair turns by at a position of 1, after scaling; valid as long as the handle.
HEED_C_API heed_status heed_rotary_frequencies(const heed_rotary* rotary,
                                               const double** frequencies,
                                               size_t* frequencies_count);
/// What cosines and sines are multiplied by.
HEED_C_API heed_status heed_rotary_attention_factor(const heed_rotary* rotary, double* factor);
/// y = x rotated, as heed::rotate. `options` may be null.
HEED_C_API heed_status heed_rotate(const heed_rotary* rotary, const heed_rotary_tensors* tensors,
                                   const heed_run_options* options);

#ifdef __cplusplus
}
#endif
/* NOLINTEND(readability-identifier-naming,modernize-*,bugprone-macro-parentheses) */
