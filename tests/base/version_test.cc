// The version that the headers name, the library's, and the one that CMake gives to the package and
// the shared library's name.
#include "heed/version.h"

#include <gtest/gtest.h>

#include <string>

namespace heed::tests {
namespace {

static_assert(HEED_VERSION == HEED_MAKE_VERSION(kVersionMajor, kVersionMinor, kVersionPatch));
static_assert(HEED_VERSION >= HEED_MAKE_VERSION(0, 1, 0));
static_assert(HEED_MAKE_VERSION(1, 0, 0) > HEED_MAKE_VERSION(0, 999, 999));

TEST(Version, IsThatOfThePackage) {
  EXPECT_EQ(version(), HEED_PROJECT_VERSION);
  EXPECT_STREQ(HEED_VERSION_STRING, HEED_PROJECT_VERSION);
  EXPECT_EQ(std::to_string(HEED_VERSION_MAJOR) + "." + std::to_string(HEED_VERSION_MINOR) + "." +
                std::to_string(HEED_VERSION_PATCH),
            HEED_PROJECT_VERSION);
}

}  // namespace
}  // namespace heed::tests
