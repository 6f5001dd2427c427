// The norm of queries and keys, one for each head.
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

/// As heed::RmsNorm in head_norm.h.
typedef struct heed_rms_norm {
  size_t struct_size;
  const float* weight;  ///< [head_dim]; null: 1
  float weight_offset;  ///< default 0
  int reserved;
  double epsilon;  ///< default 1e-6
} heed_rms_norm;

/// Heads to normalise: heed::HeadTensors in head_norm.h.
typedef struct heed_head_tensors {
  size_t struct_size;
  const void* x;                ///< of x_type
  void* y;                      ///< of y_type
  int64_t tokens;               ///< default 0
  int64_t heads;                ///< default 1
  int64_t head_dim;             ///< has no default
  const heed_layout* x_layout;  ///< null: contiguous
  const heed_layout* y_layout;
  heed_dtype x_type, y_type;  ///< default HEED_F32
} heed_head_tensors;

HEED_C_INIT(heed_rms_norm);
HEED_C_INIT(heed_head_tensors);

/// y = x normalised, head by head, as heed::normalise_heads. `options` may be null.
HEED_C_API heed_status heed_normalise_heads(const heed_rms_norm* norm,
                                            const heed_head_tensors* tensors,
                                            const heed_run_options* options);

#ifdef __cplusplus
}
#endif
/* NOLINTEND(readability-identifier-naming,modernize-*,bugprone-macro-parentheses) */
