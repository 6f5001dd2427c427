// Sentences for Status.
#pragma once

#include <new>
#include <sstream>
#include <string>

#include "heed/status.h"

namespace heed::detail {

/// An invalid_argument Status whose message is the parts, one after the other.
template <class... Parts>
Status invalid(const Parts&... parts) {
  std::ostringstream text;
  (text << ... << parts);
  return {StatusCode::invalid_argument, text.str()};
}

/// Calls `work`, which may throw, where nothing may be thrown.
template <class Work>
Status guarded(Work&& work) noexcept {
  try {
    return work();
  } catch (const std::bad_alloc&) {
    return {StatusCode::out_of_memory, "out of memory"};  // short enough to need no allocation
  } catch (...) {
    return {StatusCode::internal, "internal fault"};
  }
}

}  // namespace heed::detail
