// What a plan will cost on its workers.
#pragma once

/* NOLINTBEGIN(readability-identifier-naming,modernize-*,bugprone-macro-parentheses) */
#include <stddef.h>
#include <stdint.h>

#include "heed/c/attention.h"
#include "heed/c/export.h"
#include "heed/c/status.h"
#include "heed/c/struct.h"

#ifdef __cplusplus
extern "C" {
#endif

/// As heed::Forecast in forecast.h.
typedef struct heed_forecast {
  size_t struct_size;
  int64_t items;
  int64_t splits;
  double work;
  double longest;
  double makespan;
} heed_forecast;

HEED_C_INIT(heed_forecast);

/// As heed::forecast in forecast.h.
HEED_C_API heed_status heed_get_forecast(const heed_plan* plan, heed_forecast* forecast);

#ifdef __cplusplus
}
#endif
/* NOLINTEND(readability-identifier-naming,modernize-*,bugprone-macro-parentheses) */
