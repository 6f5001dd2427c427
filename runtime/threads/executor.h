// How the runtime spreads shares of work over threads; the oneTBB that does it is in executor.cc
// alone.
#pragma once

#include "heed/executor.h"
#include "heed/status.h"

namespace heed::detail {

/// One worker's share: called with the context and the share's number.
using ShareFunction = void (*)(void* context, int ith);

/// Calls share(context, i) for i = 0 … shares − 1, concurrently where threads are free, in the
/// executor's arena or, where that is null, in the caller's; inline when shares is 1, and where the
/// system grants this process no thread. Shares may run one after the other: none may wait for
/// another. Returns when all are done.
Status run_shares(int shares, Executor* executor, ShareFunction share, void* context) noexcept;

/// The number of workers that a caller asks for, 0 standing for CpuInfo::default_workers.
Status complete_workers(int asked, int& workers);

}  // namespace heed::detail
