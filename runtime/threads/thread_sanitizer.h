// Tells ThreadSanitizer of synchronisation that it cannot see, inside oneTBB; nothing in other
// builds.
#pragma once

#if defined(HEED_THREAD_SANITIZER)
#include <sanitizer/tsan_interface.h>
#endif

namespace heed::detail {

/// What this thread did so far happens before what any thread does after happens_after(mark).
inline void happens_before([[maybe_unused]] void* mark) noexcept {
#if defined(HEED_THREAD_SANITIZER)
  __tsan_release(mark);
#endif
}

inline void happens_after([[maybe_unused]] void* mark) noexcept {
#if defined(HEED_THREAD_SANITIZER)
  __tsan_acquire(mark);
#endif
}

}  // namespace heed::detail
