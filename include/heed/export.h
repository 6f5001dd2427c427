// What the library and a program that includes its headers must have in common; every public header
// includes this one.
#pragma once

#if __cplusplus < 202002L
#error "heed's headers are C++20: compile with -std=c++20 or a later standard"
#endif

#include <version>

// Vectors and strings lie in the structs that pass the library's boundary, and what they look like
// depends on how the standard library was set up. The setting becomes part of the name of every
// function of the library, so that a program compiled with another one does not link.
#if defined(_LIBCPP_VERSION)
#define HEED_ABI __attribute__((abi_tag("libcxx")))
#elif defined(_GLIBCXX_DEBUG) && _GLIBCXX_USE_CXX11_ABI == 0
#define HEED_ABI __attribute__((abi_tag("GLIBCXX_DEBUG", "GLIBCXX_OLD_STRINGS")))
#elif defined(_GLIBCXX_DEBUG)
#define HEED_ABI __attribute__((abi_tag("GLIBCXX_DEBUG")))
#elif _GLIBCXX_USE_CXX11_ABI == 0
#define HEED_ABI __attribute__((abi_tag("GLIBCXX_OLD_STRINGS")))
#else
#define HEED_ABI
#endif

/// Marks what a program may call. A static heed (HEED_STATIC, which its CMake target and pkg-config
/// file define) stays inside the program or the plug-in that links it: its objects are compiled
/// with hidden visibility.
#ifdef HEED_STATIC
#define HEED_API HEED_ABI
#else
#define HEED_API __attribute__((visibility("default"))) HEED_ABI
#endif
