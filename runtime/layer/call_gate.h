// How many calls of OpenBLAS there may be at once.
#pragma once

#include <algorithm>
#include <charconv>
#include <condition_variable>
#include <mutex>
#include <string_view>

namespace heed::detail {

/// OpenBLAS has buffers for twice as many threads as it was built for ("MAX_THREADS=64" in its
/// configuration). Each call holds one, as does each thread of OpenBLAS's own. Where there are
/// more, it prints warnings, then ends the process or writes where it should not. What is no number
/// of threads is a build for one, which does not always lock what calls share.
inline int calls_at_once(std::string_view configuration) noexcept {
  constexpr std::string_view kName = "MAX_THREADS=";
  const std::size_t found = configuration.find(kName);
  if (found == std::string_view::npos) return 1;
  const std::string_view number = configuration.substr(found + kName.size());
  int threads = 1;
  std::from_chars(number.data(), number.data() + number.size(), threads);
  return std::max(threads, 1);
}

/// Lets in so many at once; others wait.
class CallGate {
 public:
  explicit CallGate(int places) noexcept : free_(places) {}

  /// A place, for as long as it lives.
  class Place {
   public:
    explicit Place(CallGate& gate) : gate_(gate) {
      std::unique_lock lock(gate_.mutex_);
      gate_.left_.wait(lock, [&] { return gate_.free_ > 0; });
      --gate_.free_;
    }
    ~Place() {
      {
        const std::scoped_lock lock(gate_.mutex_);
        ++gate_.free_;
      }
      gate_.left_.notify_one();
    }
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;

   private:
    CallGate& gate_;
  };

 private:
  std::mutex mutex_;
  std::condition_variable left_;
  int free_;
};

}  // namespace heed::detail
