// Numbers of one type as those of another.
#pragma once

/* NOLINTBEGIN(readability-identifier-naming,modernize-*,bugprone-macro-parentheses) */
#include <stdint.h>

#include "heed/c/dtype.h"
#include "heed/c/executor.h"
#include "heed/c/export.h"
#include "heed/c/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/// Numbers of one type as those of another, as heed::convert. `options` may be null.
HEED_C_API heed_status heed_convert(heed_input_data from, heed_output_data to, int64_t elements,
                                    const heed_run_options* options);

#ifdef __cplusplus
}
#endif
/* NOLINTEND(readability-identifier-naming,modernize-*,bugprone-macro-parentheses) */
