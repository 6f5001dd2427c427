// Status: how heed reports what went wrong. The library never aborts, prints or throws across its
// boundary; every function that can fail returns a Status and, when it fails, has changed nothing.
#pragma once

#include <string>
#include <utility>

#include "heed/export.h"

namespace heed {

/// The kind of fault. The sentence that explains it is in Status::message().
enum class StatusCode {
  ok,
  invalid_argument,  ///< the caller's description is wrong; the message names field, value and rule
  unsupported,       ///< valid, but not on this processor or in this build
  out_of_memory,     ///< an allocation failed
  exhausted,  ///< a budget that the caller has fixed, of pages or sequences, does not suffice
  internal,   ///< a fault of heed itself, or of the executor below it
};

/// The result of a call: a code, and for a failure a sentence written for whoever made the mistake,
/// for example "kv_heads (6) must divide query_heads (32)".
class [[nodiscard]] Status {
 public:
  /// Success.
  Status() noexcept = default;
  Status(StatusCode code, std::string message) noexcept
      : code_(code), message_(std::move(message)) {}

  bool ok() const noexcept { return code_ == StatusCode::ok; }
  explicit operator bool() const noexcept { return ok(); }
  StatusCode code() const noexcept { return code_; }
  /// Empty for success.
  const std::string& message() const noexcept { return message_; }

 private:
  StatusCode code_ = StatusCode::ok;
  std::string message_;
};

}  // namespace heed
