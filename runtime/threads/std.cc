// HEED_THREADS=std: threads of heed's own.
#include <algorithm>

#include "heed/cpu.h"
#include "runtime/base/check_executor.h"
#include "runtime/threads/std_pool.h"

namespace heed::detail {

std::string_view library_of_threads() noexcept { return "std"; }

std::unique_ptr<ThreadPool> make_pool(int threads) {
  auto pool = std::make_unique<StdPool>(std::min(threads, kMostWorkers));
  pool->start();
  return pool;
}

ThreadPool& callers_pool() {
  // Never destroyed: a run may come as late as it likes.
  static auto* const pool = new StdPool(cpu_info().default_workers);
  return *pool;
}

}  // namespace heed::detail
