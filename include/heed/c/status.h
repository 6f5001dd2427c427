// What functions return, and the sentences of failures.
#pragma once

/* NOLINTBEGIN(readability-identifier-naming,modernize-*,bugprone-macro-parentheses) */
#include "heed/c/export.h"

#ifdef __cplusplus
extern "C" {
#endif

/// As heed::StatusCode in status.h.
typedef enum heed_status HEED_C_ENUM {
  HEED_OK,
  HEED_INVALID_ARGUMENT,
  HEED_UNSUPPORTED,
  HEED_OUT_OF_MEMORY,
  HEED_EXHAUSTED,
  HEED_INTERNAL
} heed_status;

/// The sentence of the calling thread's last failure, "" before the first one; never null, and
/// valid until the thread's next failure.
HEED_C_API const char* heed_last_message(void);
/// "ok", "invalid_argument" and so on; "unknown" for other numbers.
HEED_C_API const char* heed_status_name(heed_status status);

#ifdef __cplusplus
}
#endif
/* NOLINTEND(readability-identifier-naming,modernize-*,bugprone-macro-parentheses) */
