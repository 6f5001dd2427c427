#include "bindings/c/status.h"

#include <exception>
#include <iterator>
#include <new>
#include <utility>

#include "heed/version.h"

namespace heed::c {
namespace {

constexpr const char* kStatusNames[] = {
    "ok", "invalid_argument", "unsupported", "out_of_memory", "exhausted", "internal"};

thread_local std::string last_message;

Status caught() noexcept {
  try {
    try {
      throw;
    } catch (Refusal& refusal) {
      return {StatusCode::invalid_argument, std::move(refusal.sentence)};
    } catch (const std::bad_alloc&) {
      return {StatusCode::out_of_memory, "out of memory"};
    } catch (const std::exception& exception) {
      return {StatusCode::internal, std::string("internal fault: ") + exception.what()};
    }
  } catch (...) {  // of another type, or in want of memory for the sentence
    return {StatusCode::internal, "internal fault"};
  }
}

}  // namespace

std::string Path::text() const {
  if (parent_ == nullptr) return name_;
  if (index_ != kNone) return parent_->text() + '[' + std::to_string(index_) + ']';
  return parent_->text() + '.' + name_;
}

heed_status keep(const Status& status) noexcept {
  if (status.ok()) return HEED_OK;
  try {
    last_message = status.message();
    return static_cast<heed_status>(status.code());
  } catch (...) {
    last_message = "out of memory";  // short enough to need none
    return HEED_OUT_OF_MEMORY;
  }
}

heed_status keep_exception() noexcept { return keep(caught()); }

}  // namespace heed::c

const char* heed_last_message(void) { return heed::c::last_message.c_str(); }

const char* heed_status_name(heed_status status) {
  const auto code = static_cast<std::size_t>(status);
  return code < std::size(heed::c::kStatusNames) ? heed::c::kStatusNames[code] : "unknown";
}

const char* heed_version(void) { return HEED_VERSION_STRING; }

int heed_abi(void) { return HEED_C_ABI; }
