// What the plug-in says, on stderr: each fault once, and with HEED_GGML_LOG=1 what became of the
// attention of a backend's graphs.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace heed::plugin {

/// Prints "heed: <sentence>" on stderr, the first time that the process says so.
void say_once(std::string_view sentence) noexcept;

/// How many nodes heed has computed, and why others were handed back to ggml.
class Tally {
 public:
  /// Counts a node. `reason` is empty where heed computes it.
  void count(std::string_view reason);
  /// Prints the counts on stderr, where HEED_GGML_LOG is 1.
  void print() const noexcept;

 private:
  std::uint64_t taken_ = 0, handed_back_ = 0;
  std::map<std::string, std::uint64_t, std::less<>> reasons_;
};

}  // namespace heed::plugin
