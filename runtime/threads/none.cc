// HEED_THREADS=none: the calling thread alone.
#include "runtime/threads/thread_pool.h"

namespace heed::detail {
namespace {

class CallingThread final : public ThreadPool {
 public:
  int threads() const noexcept override { return 1; }
  void run(int shares, TaskFunction share, void* context) override {
    run_here(shares, share, context);
  }
};

}  // namespace

std::string_view library_of_threads() noexcept { return "none"; }

std::unique_ptr<ThreadPool> make_pool(int /*threads*/) { return std::make_unique<CallingThread>(); }

ThreadPool& callers_pool() {
  static auto* const thread = new CallingThread;
  return *thread;
}

}  // namespace heed::detail
