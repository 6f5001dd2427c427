// Which heed these headers are, and which one a program runs with.
#pragma once

#include <string_view>

#include "heed/export.h"

#define HEED_VERSION_MAJOR 0
#define HEED_VERSION_MINOR 1
#define HEED_VERSION_PATCH 0

/// One number, ordered as versions are: HEED_VERSION >= HEED_MAKE_VERSION(0, 1, 0).
#define HEED_MAKE_VERSION(major, minor, patch) ((major)*1000000 + (minor)*1000 + (patch))
#define HEED_VERSION HEED_MAKE_VERSION(HEED_VERSION_MAJOR, HEED_VERSION_MINOR, HEED_VERSION_PATCH)
/// "major.minor.patch" of the headers.
#define HEED_VERSION_STRING "0.1.0"

namespace heed {

/// The version of these headers.
inline constexpr int kVersionMajor = HEED_VERSION_MAJOR;
inline constexpr int kVersionMinor = HEED_VERSION_MINOR;
inline constexpr int kVersionPatch = HEED_VERSION_PATCH;

/// "major.minor.patch" of the library that the program runs with. With a shared heed it may be
/// newer than the headers, by a patch before 1.0.
HEED_API std::string_view version() noexcept;

}  // namespace heed
