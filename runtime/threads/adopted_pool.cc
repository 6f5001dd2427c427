#include "runtime/threads/adopted_pool.h"

#include <algorithm>
#include <thread>
#include <utility>

namespace heed::detail {
namespace {

void drain(void* queue, int /*index*/) { static_cast<ShareQueue*>(queue)->drain(); }

}  // namespace

/// A queue for one run.
class AdoptedPool::Lease {
 public:
  explicit Lease(AdoptedPool& pool) : pool_(pool) {
    const std::scoped_lock lock(pool.mutex_);
    if (pool.free_.empty()) {
      pool.free_.reserve(pool.made_ + 1);  // so that giving back cannot fail
      queue_ = std::make_unique<ShareQueue>();
      ++pool.made_;
    } else {
      queue_ = std::move(pool.free_.back());
      pool.free_.pop_back();
    }
  }
  ~Lease() {
    const std::scoped_lock lock(pool_.mutex_);
    pool_.free_.push_back(std::move(queue_));
  }
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;

  ShareQueue& queue() const noexcept { return *queue_; }

 private:
  AdoptedPool& pool_;
  std::unique_ptr<ShareQueue> queue_;
};

void AdoptedPool::run(int shares, TaskFunction share, void* context) {
  const int tasks = std::min(shares, threads_);
  if (tasks == 1) return run_here(shares, share, context);
  const Lease lease(*this);
  ShareQueue& queue = lease.queue();
  queue.fill(shares, share, context);
  try {
    parallel_for_(context_, tasks, drain, &queue);
  } catch (...) {
    // Where the host's own memory or threads are out, this thread does the work.
  }
  queue.drain();
  while (!queue.finished()) std::this_thread::yield();
}

}  // namespace heed::detail
