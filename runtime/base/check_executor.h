// Executors that callers hand over.
#pragma once

#include "heed/executor.h"
#include "runtime/base/message.h"

namespace heed::detail {

/// Null, or an executor that was created.
inline Status check_executor(const Executor* executor) {
  if (executor == nullptr || executor->pool() != nullptr) return {};
  return invalid("executor has no threads: make it with Executor::create or Executor::adopt first");
}

}  // namespace heed::detail
