// Handing a fault on to the caller.
#pragma once

#include "heed/status.h"

/// Returns the Status of the expression from the function around it where it is not ok. A single
/// statement, wherever one may stand.
#define HEED_RETURN_IF_ERROR(expression)                                               \
  do {                                                                                 \
    if (::heed::Status heed_error = (expression); !heed_error.ok()) return heed_error; \
  } while (false)
