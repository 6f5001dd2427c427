// Whether this is a build for AddressSanitizer or ThreadSanitizer, which need more addresses than
// limits on memory allow, and end the process where an allocation is too large. The build says so:
// tests themselves may be compiled without a sanitizer.
#pragma once

namespace heed::tests {

#ifdef HEED_SANITIZED
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

}  // namespace heed::tests
