// Where heed's work runs.
#pragma once

#include <memory>
#include <string_view>

#include "heed/export.h"
#include "heed/status.h"

namespace heed {

/// A set of worker threads of heed's own (a oneTBB arena), for callers that do not want the work to
/// run in the arena they call from. Threads sleep when there is nothing to do. Safe to share
/// between concurrent runs.
class HEED_API Executor {
 public:
  Executor() noexcept;
  ~Executor();
  Executor(Executor&&) noexcept;
  Executor& operator=(Executor&&) noexcept;

  /// Starts an arena of `threads` threads (≥ 1), the calling one included, or of as many as oneTBB
  /// allows in this process where that is less.
  static Status create(int threads, Executor& executor) noexcept;
  /// 0 before create.
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
  int workers = 0;               ///< the most workers; 0: one per CPU of this process
  Executor* executor = nullptr;  ///< default: the caller's arena
};

}  // namespace heed
