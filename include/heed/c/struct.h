// How structs that may grow are declared. heed/heed_c.h says how they are used.
#pragma once

/* NOLINTBEGIN(readability-identifier-naming,modernize-*,bugprone-macro-parentheses) */
#include <stddef.h>

#include "heed/c/export.h"
#include "heed/c/status.h"

/// Declares type_init(value), which writes the defaults of a struct, and what other languages call
/// for it: type_init_sized(value, struct_size), where struct_size is how large they have the
/// struct.
#define HEED_C_INIT(type)                                                    \
  HEED_C_API heed_status type##_init_sized(type* value, size_t struct_size); \
  static inline heed_status type##_init(type* value) {                       \
    return type##_init_sized(value, sizeof(type));                           \
  }                                                                          \
  struct type
/* NOLINTEND(readability-identifier-naming,modernize-*,bugprone-macro-parentheses) */
