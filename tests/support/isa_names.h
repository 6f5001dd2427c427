// The instruction sets of the architecture that is built for, as a list apart from the library's.
#pragma once

#include <string_view>

// A build for some of them (HEED_ISAS) names them itself.
#if !defined(HEED_TEST_ISA_NAMES)
#if defined(__aarch64__)
#define HEED_TEST_ISA_NAMES "neon"
#else
#define HEED_TEST_ISA_NAMES "avx512_bf16, avx512, avx2, generic"
#endif
#endif

namespace heed::tests {

/// Best first, as messages name them.
inline constexpr std::string_view kIsaNames = HEED_TEST_ISA_NAMES;

/// Those of programs that link the toy one, which builds with sanitizers do without.
#if defined(HEED_SANITIZED)
inline constexpr std::string_view kTestIsaNames = HEED_TEST_ISA_NAMES;
#else
inline constexpr std::string_view kTestIsaNames = HEED_TEST_ISA_NAMES ", toy";
#endif

/// The one that every processor runs.
#if defined(__aarch64__)
inline constexpr std::string_view kBaselineIsa = "neon";
#else
inline constexpr std::string_view kBaselineIsa = "generic";
#endif

}  // namespace heed::tests
