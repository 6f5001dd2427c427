#include "tests/support/this_build.h"

// A build for some instruction sets (HEED_ISAS) names them itself.
#if !defined(HEED_TEST_ISA_NAMES)
#if defined(__aarch64__)
#define HEED_TEST_ISA_NAMES "neon"
#else
#define HEED_TEST_ISA_NAMES "avx512_bf16, avx512, avx2, generic"
#endif
#endif

namespace heed::tests {

constinit const std::string_view kIsaNames = HEED_TEST_ISA_NAMES;

#ifdef HEED_SANITIZED
constinit const bool kSanitized = true;
constinit const std::string_view kTestIsaNames = HEED_TEST_ISA_NAMES;
#else
constinit const bool kSanitized = false;
constinit const std::string_view kTestIsaNames = HEED_TEST_ISA_NAMES ", toy";
#endif

}  // namespace heed::tests
