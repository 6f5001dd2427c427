// Sentences for Status.
#pragma once

#include <cstdint>
#include <limits>
#include <new>
#include <sstream>
#include <string>

#include "heed/status.h"

namespace heed::detail {

/// A failure whose message is the parts, one after the other.
template <class... Parts>
Status failure(StatusCode code, const Parts&... parts) {
  std::ostringstream text;
  (text << ... << parts);
  return {code, text.str()};
}

template <class... Parts>
Status invalid(const Parts&... parts) {
  return failure(StatusCode::invalid_argument, parts...);
}

/// Returns the Status of a check where it is not ok.
#define HEED_RETURN_IF_ERROR(expression) \
  if (Status error = (expression); !error.ok()) return error

/// Lengths, heads, pages and sequences are counted in 32 bits below the public interface.
inline constexpr std::int64_t kMaxCount = std::numeric_limits<std::int32_t>::max();

inline Status check_range(const char* name, std::int64_t value, std::int64_t low,
                          std::int64_t high) {
  if (value >= low && value <= high) return {};
  return invalid(name, " (", value, ") must be from ", low, " to ", high);
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
