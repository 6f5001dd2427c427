// A host's threads, which its own parallel_for spreads work over.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <vector>

#include "runtime/threads/share_queue.h"
#include "runtime/threads/thread_pool.h"

namespace heed::detail {

/// Executor::adopt says what the host promises, and what becomes of what it does not keep.
class AdoptedPool final : public ThreadPool {
 public:
  AdoptedPool(int threads, ParallelForFunction parallel_for, void* context) noexcept
      : threads_(threads), parallel_for_(parallel_for), context_(context) {}

  int threads() const noexcept override { return threads_; }
  void run(int shares, TaskFunction share, void* context) override;

 private:
  class Lease;

  const int threads_;
  const ParallelForFunction parallel_for_;
  void* const context_;
  std::mutex mutex_;
  /// Queues of which no run makes use now. They live as long as the executor, so that a call of the
  /// host's that comes too late finds an empty one, or helps another run.
  std::vector<std::unique_ptr<ShareQueue>> free_;
  std::size_t made_ = 0;  ///< those in use included
};

}  // namespace heed::detail
