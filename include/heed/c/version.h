// Which heed a program runs with.
#pragma once

/* NOLINTBEGIN(readability-identifier-naming,modernize-*,bugprone-macro-parentheses) */
#include "heed/c/export.h"

#ifdef __cplusplus
extern "C" {
#endif

/// The interface's number, that of libheed_c.so.1. Functions and members may be added to it; what
/// is there stays.
#define HEED_C_ABI 1

/// "major.minor.patch" of the library that the program runs with.
HEED_C_API const char* heed_version(void);
/// HEED_C_ABI of the library that the program runs with.
HEED_C_API int heed_abi(void);

#ifdef __cplusplus
}
#endif
/* NOLINTEND(readability-identifier-naming,modernize-*,bugprone-macro-parentheses) */
