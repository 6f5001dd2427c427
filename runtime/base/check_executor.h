// Executors that callers hand over, and how many workers they ask for.
#pragma once

#include "heed/executor.h"
#include "runtime/base/message.h"

namespace heed::detail {

/// Null, or an executor that was created.
inline Status check_executor(const Executor* executor) {
  if (executor == nullptr || executor->pool() != nullptr) return {};
  return invalid("executor has no threads: make it with Executor::create or Executor::adopt first");
}

/// More workers than any machine has: a typing error, not a wish.
inline constexpr int kMostWorkers = 4096;

inline Status check_workers(int asked) { return check_range("workers", asked, 0, kMostWorkers); }

}  // namespace heed::detail
