// What spreads shares of work over threads: oneTBB (tbb.cc), threads of heed's own (std_pool.h),
// the calling thread (none.cc), or a host's (adopted_pool.h).
#pragma once

#include <memory>
#include <string_view>

#include "heed/executor.h"

namespace heed::detail {

/// Threads that may work at once. Safe to use by several threads.
class ThreadPool {
 public:
  ThreadPool() = default;
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;
  virtual ~ThreadPool() = default;

  /// How many they are, the calling one included.
  virtual int threads() const noexcept = 0;
  /// Calls share(context, i) once for each i = 0 … shares − 1, in any order, as many at once as
  /// threads are free. Returns when all have returned; what they wrote is visible then. Throws
  /// before the first call or not at all.
  virtual void run(int shares, TaskFunction share, void* context) = 0;
};

/// Runs shares on the calling thread, one after the other.
inline void run_here(int shares, TaskFunction share, void* context) {
  for (int ith = 0; ith < shares; ++ith) share(context, ith);
}

// What HEED_THREADS chooses when heed is built: tbb.cc, std.cc or none.cc.

/// Its name.
std::string_view library_of_threads() noexcept;
/// A pool of so many threads, or of fewer where there are no more.
std::unique_ptr<ThreadPool> make_pool(int threads);
/// The pool of whatever is run without an executor.
ThreadPool& callers_pool();

}  // namespace heed::detail
