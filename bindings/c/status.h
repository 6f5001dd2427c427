// What every function of the C interface goes through: nothing is thrown out of it, and what went
// wrong is kept for heed_last_message.
#pragma once

#include <cstddef>
#include <string>
#include <type_traits>

#include "heed/heed_c.h"
#include "heed/status.h"

namespace heed::c {

/// Where an argument stands, for sentences: "tensors.modifiers.bias", "rules[3]". It becomes text
/// only where it is needed.
class Path {
 public:
  Path(const char* name) noexcept : name_(name) {}  // NOLINT(google-explicit-constructor)
  /// A member of the struct here, which must live as long.
  Path member(const char* name) const noexcept { return {name, this, kNone}; }
  /// An element of the array here, likewise.
  Path element(std::size_t index) const noexcept { return {"", this, index}; }
  std::string text() const;

 private:
  static constexpr std::size_t kNone = ~std::size_t{0};
  Path(const char* name, const Path* parent, std::size_t index) noexcept
      : name_(name), parent_(parent), index_(index) {}

  const char* name_;
  const Path* parent_ = nullptr;
  std::size_t index_ = kNone;
};

/// Why arguments cannot be used; thrown by what reads them, and caught by `call`.
struct Refusal {
  std::string sentence;
};

inline void append_part(std::string& sentence, const char* text) { sentence += text; }
inline void append_part(std::string& sentence, const Path& path) { sentence += path.text(); }
template <class Number>
requires std::is_arithmetic_v<Number>
void append_part(std::string& sentence, Number number) { sentence += std::to_string(number); }

/// Ends the call with HEED_INVALID_ARGUMENT and the parts, one after the other.
template <class... Parts>
[[noreturn]] void refuse(const Parts&... parts) {
  Refusal refusal;
  (append_part(refusal.sentence, parts), ...);
  throw refusal;
}

/// Keeps the message of a failure for the calling thread.
heed_status keep(const Status& status) noexcept;
/// The same of the exception that is being handled.
heed_status keep_exception() noexcept;

/// Does the work of a C function, which returns a Status or nothing, and may throw.
template <class Work>
heed_status call(const Work& work) noexcept {
  try {
    if constexpr (std::is_void_v<decltype(work())>) {
      work();
      return HEED_OK;
    } else {
      return keep(work());
    }
  } catch (...) {
    return keep_exception();
  }
}

}  // namespace heed::c
