// Whether this is a build for AddressSanitizer or ThreadSanitizer, which need more addresses than
// limits on memory allow, and end the process where an allocation is too large.
#pragma once

#if defined(__has_feature)
#define HEED_HAS_FEATURE(feature) __has_feature(feature)
#else
#define HEED_HAS_FEATURE(feature) 0
#endif

namespace heed::tests {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || \
    HEED_HAS_FEATURE(address_sanitizer) || HEED_HAS_FEATURE(thread_sanitizer)
#define HEED_SANITIZED 1
#else
#define HEED_SANITIZED 0
#endif

inline constexpr bool kSanitized = HEED_SANITIZED != 0;

}  // namespace heed::tests
