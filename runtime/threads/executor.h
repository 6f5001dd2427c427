// How the runtime spreads shares of work over threads, whosever they are.
#pragma once

#include "heed/executor.h"
#include "heed/status.h"

namespace heed::detail {

/// Calls share(context, i), which must not throw, for i = 0 … shares − 1, concurrently where
/// threads are free, in the executor, which was created, or, where that is null, where runs without
/// one go; inline when shares is 1, and where the system grants this process no thread. Shares may
/// run one after the other: none may wait for another. Returns when all are done.
Status run_shares(int shares, Executor* executor, TaskFunction share, void* context) noexcept;

/// The number of workers that a caller asks for, 0 standing for CpuInfo::default_workers.
Status complete_workers(int asked, int& workers);

}  // namespace heed::detail
