#include "bindings/ggml/log.h"

#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <set>

namespace heed::plugin {
namespace {

bool logs() {
  const char* const value = std::getenv("HEED_GGML_LOG");
  return value != nullptr && std::string_view(value) == "1";
}

}  // namespace

void say_once(std::string_view sentence) noexcept {
  static std::mutex mutex;
  static std::set<std::string, std::less<>> said;
  try {
    const std::lock_guard lock(mutex);
    if (!said.emplace(sentence).second) return;
  } catch (...) {
    // Without memory the sentence may come twice.
  }
  std::fprintf(stderr, "heed: %.*s\n", static_cast<int>(sentence.size()), sentence.data());
}

void Tally::count(std::string_view reason) {
  if (reason.empty()) {
    ++taken_;
    return;
  }
  ++handed_back_;
  const auto found = reasons_.find(reason);
  if (found != reasons_.end()) {
    ++found->second;
  } else {
    reasons_.emplace(reason, 1);
  }
}

void Tally::print() const noexcept {
  if (!logs() || taken_ + handed_back_ == 0) return;
  std::fprintf(stderr, "heed: computed %" PRIu64 " of %" PRIu64 " FLASH_ATTN_EXT nodes\n", taken_,
               taken_ + handed_back_);
  for (const auto& [reason, count] : reasons_) {
    std::fprintf(stderr, "heed: handed back %" PRIu64 ": %s\n", count, reason.c_str());
  }
}

}  // namespace heed::plugin
