// Threads of heed's own, where there is no oneTBB.
#pragma once

#include <atomic>

#include "runtime/threads/thread_pool.h"

namespace heed::detail {

/// Threads that start when they are first needed, and sleep while there is nothing to do. The
/// thread that runs something takes part. Where the system grants fewer than are wanted there are
/// fewer. In a child of fork, which has none of its parent's threads, they start anew.
class StdPool final : public ThreadPool {
 public:
  /// At most so many threads, ≥ 1, the calling one included.
  explicit StdPool(int threads) noexcept : wanted_(threads) {}
  ~StdPool() override;

  /// Starts what is not running yet. Throws where memory is out.
  void start() { crew(); }
  int threads() const noexcept override;
  void run(int shares, TaskFunction share, void* context) override;

 private:
  class Crew;
  Crew& crew();

  const int wanted_;
  std::atomic<Crew*> crew_ = nullptr;
};

}  // namespace heed::detail
