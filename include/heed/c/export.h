// How functions and enumerations are declared for C. heed/heed_c.h says how the interface works.
#pragma once

/* NOLINTBEGIN(readability-identifier-naming,modernize-*,bugprone-macro-parentheses) */
#if defined(__GNUC__)
#define HEED_C_API __attribute__((visibility("default")))
#else
#define HEED_C_API
#endif

#ifdef __cplusplus
/// Of the size that enumerations have in C; any number may be given, and is checked.
#define HEED_C_ENUM : int
#else
#define HEED_C_ENUM
#endif
/* NOLINTEND(readability-identifier-naming,modernize-*,bugprone-macro-parentheses) */
