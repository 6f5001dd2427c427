// Sentences for Status.
#pragma once

#include <cstdint>
#include <exception>
#include <limits>
#include <locale>
#include <new>
#include <sstream>
#include <string>

#include "heed/status.h"

namespace heed::detail {

/// A failure whose message is the parts, one after the other.
template <class... Parts>
Status failure(StatusCode code, const Parts&... parts) {
  std::ostringstream text;
  text.imbue(std::locale::classic());      // whatever locale the host has set
  text.exceptions(std::ios_base::badbit);  // else a failed allocation cuts the sentence short
  (text << ... << parts);
  return {code, text.str()};
}

template <class... Parts>
Status invalid(const Parts&... parts) {
  return failure(StatusCode::invalid_argument, parts...);
}

/// Returns the Status of a check where it is not ok.
#define HEED_RETURN_IF_ERROR(expression)                                                  \
  do {                                                                                    \
    if (::heed::Status heed_status = (expression); !heed_status.ok()) return heed_status; \
  } while (false)

/// Lengths, heads, pages and sequences are counted in 32 bits below the public interface.
inline constexpr std::int64_t kMaxCount = std::numeric_limits<std::int32_t>::max();

inline Status check_range(const char* name, std::int64_t value, std::int64_t low,
                          std::int64_t high) {
  if (value >= low && value <= high) return {};
  return invalid(name, " (", value, ") must be from ", low, " to ", high);
}

/// Short enough to need no allocation.
inline Status out_of_memory() noexcept { return {StatusCode::out_of_memory, "out of memory"}; }

/// An exception that nobody foresaw, with its reason. Only memory can fail here, and is then what
/// the caller hears of.
inline Status unforeseen(const char* reason) noexcept {
  try {
    return {StatusCode::internal, std::string("internal fault: ") + reason};
  } catch (...) {
    return out_of_memory();
  }
}

/// Calls `work`, which may throw, where nothing may be thrown.
template <class Work>
Status guarded(Work&& work) noexcept {
  try {
    return work();
  } catch (const std::bad_alloc&) {
    return out_of_memory();
  } catch (const std::exception& exception) {
    return unforeseen(exception.what());
  } catch (...) {
    return unforeseen("an exception of an unknown type");
  }
}

}  // namespace heed::detail
