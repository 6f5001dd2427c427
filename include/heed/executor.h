// Where heed's work runs.
#pragma once

#include <memory>
#include <string_view>

#include "heed/export.h"
#include "heed/status.h"

namespace heed {

/// A set of worker threads of heed's own (a oneTBB arena), for callers that do not want the work to
/// run in the arena they call from. Threads sleep when there is nothing to do. Safe to share
/// between concurrent runs. Before its first threads start heed tries how many the system grants
/// this process; where these are fewer than oneTBB may want, which would end the process, it limits
/// oneTBB to them for good (a tbb::global_control).
class HEED_API Executor {
 public:
  Executor() noexcept;
  ~Executor();
  Executor(Executor&&) noexcept;
  Executor& operator=(Executor&&) noexcept;

  /// Makes an arena of `threads` threads (≥ 1), the calling one included. Fewer is no failure:
  /// where oneTBB allows this process fewer (by default as many as it may use CPUs), or the system
  /// grants fewer (a limit on processes or memory), the executor has those that there are, and
  /// threads() says how many.
  static Status create(int threads, Executor& executor) noexcept;
  /// The threads that may work at once, the calling one included, which can be fewer than create
  /// was asked for; 0 before create.
  int threads() const noexcept;

  struct Arena;
  /// For heed itself.
  Arena* arena() const noexcept { return arena_.get(); }

 private:
  std::unique_ptr<Arena> arena_;
};

/// How a single pass over rows is run.
struct RunOptions {
  std::string_view isa = {};     ///< force an ISA by name; empty: HEED_ISA, else the best
  int workers = 0;               ///< the most workers; 0: CpuInfo::default_workers
  Executor* executor = nullptr;  ///< default: the caller's arena
};

}  // namespace heed
