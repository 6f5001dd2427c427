// Softmax of matrices, and its gradients.
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

/// A matrix to read: heed::ConstRows in softmax.h.
typedef struct heed_const_rows {
  size_t struct_size;
  heed_input_data data;
  int64_t rows;
  int64_t length;
  int64_t stride;
} heed_const_rows;

/// A matrix to write: heed::Rows in softmax.h.
typedef struct heed_rows {
  size_t struct_size;
  heed_output_data data;
  int64_t rows;
  int64_t length;
  int64_t stride;
} heed_rows;

/// Which entries are visible, those that are not 0: heed::EntryMask in softmax.h.
typedef struct heed_entry_mask {
  const uint8_t* visible;  ///< null: all entries
  int64_t stride;
} heed_entry_mask;

/// As heed::SoftmaxOptions in softmax.h. Null, where a function takes it, is all defaults.
typedef struct heed_softmax_options {
  size_t struct_size;
  float scale;                ///< default 1
  float temperature;          ///< default 1
  const float* temperatures;  ///< one per row; or none
  size_t temperatures_count;
  heed_entry_mask mask;
  const char* isa;  ///< null or "": HEED_ISA, else the best
  int workers;      ///< 0: heed_cpu_info::default_workers
  int reserved;
  heed_executor* executor;  ///< null: where heed_thread_library() says
} heed_softmax_options;

HEED_C_INIT(heed_const_rows);
HEED_C_INIT(heed_rows);
HEED_C_INIT(heed_softmax_options);

HEED_C_API heed_status heed_softmax(const heed_const_rows* x, const heed_rows* y,
                                    const heed_softmax_options* options);
HEED_C_API heed_status heed_log_softmax(const heed_const_rows* x, const heed_rows* y,
                                        const heed_softmax_options* options);
/// `lse` has x->rows elements.
HEED_C_API heed_status heed_log_sum_exp(const heed_const_rows* x, float* lse,
                                        const heed_softmax_options* options);
/// As heed::softmax_gradient; `dt`, the gradient of each row's T, may be null.
HEED_C_API heed_status heed_softmax_gradient(const heed_const_rows* y, const heed_const_rows* dy,
                                             const heed_rows* dx, float* dt,
                                             const heed_softmax_options* options);
/// As heed::log_softmax_gradient; `dt` may be null.
HEED_C_API heed_status heed_log_softmax_gradient(const heed_const_rows* y,
                                                 const heed_const_rows* dy, const heed_rows* dx,
                                                 float* dt, const heed_softmax_options* options);

#ifdef __cplusplus
}
#endif
/* NOLINTEND(readability-identifier-naming,modernize-*,bugprone-macro-parentheses) */
