// What the build is that a test belongs to. Only this_build.cc, allocation_count.cc and
// attention_run.cc depend on it: the objects of tests are the same ones in every build that
// compiles them with the same flags.
#pragma once

#include <string_view>

namespace heed::tests {

/// Whether this is a build for AddressSanitizer or ThreadSanitizer, which need more addresses than
/// limits on memory allow, and end the process where an allocation is too large.
extern const bool kSanitized;

/// The instruction sets that heed is built for, best first, as messages name them: a list apart
/// from the library's.
extern const std::string_view kIsaNames;

/// Those of programs that link the toy one, which builds with sanitizers do without.
extern const std::string_view kTestIsaNames;

/// The one that every processor runs, which builds with sanitizers do without.
#if defined(__aarch64__)
inline constexpr std::string_view kBaselineIsa = "neon";
#else
inline constexpr std::string_view kBaselineIsa = "generic";
#endif

}  // namespace heed::tests
