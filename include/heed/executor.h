// Where heed's work runs.
#pragma once

#include <memory>
#include <string_view>

#include "heed/export.h"
#include "heed/status.h"

namespace heed {

namespace detail {
class ThreadPool;
}

/// A piece of work: the argument that was given beside it, and which piece it is.
using TaskFunction = void (*)(void* argument, int index);

/// A host's own way to spread work over its threads: calls task(argument, i) for i = 0 … tasks − 1.
/// Executor::adopt says when heed calls it, and what it promises.
using ParallelForFunction = void (*)(void* context, int tasks, TaskFunction task, void* argument);

/// Threads that heed's work runs on, for callers that do not want it to run where they call from
/// (thread_library() says where that is). Safe to share between concurrent runs.
class HEED_API Executor {
 public:
  Executor() noexcept;
  ~Executor();
  Executor(Executor&&) noexcept;
  Executor& operator=(Executor&&) noexcept;

  /// Makes `threads` threads (≥ 1) of heed's own, the calling one included, which sleep when there
  /// is nothing to do. Fewer is no failure: where the system grants fewer (a limit on processes or
  /// memory), the executor has those that there are, and threads() says how many.
  ///
  /// With oneTBB they are an arena, whose threads oneTBB starts when it first needs them. It allows
  /// a process so many (by default as many as it may use CPUs), and would end the process where the
  /// system grants fewer than it wants: heed tries beforehand how many there can be and, where
  /// these are too few, limits oneTBB to them for good (a tbb::global_control).
  static Status create(int threads, Executor& executor) noexcept;

  /// Makes an executor of a host's threads. Where heed has work for several workers it calls
  /// parallel_for(context, tasks, task, argument) on the thread that called heed, with `tasks` from
  /// 2 to `threads` (≥ 1). The host promises to call task(argument, i) for each i = 0 … tasks − 1,
  /// from any of its threads, at once or one after the other, and to return when these calls have.
  /// No call waits for another one, so that a single thread may do them all.
  ///
  /// Results do not depend on what the host keeps of this: a call takes what work there is left,
  /// whatever its number, and when parallel_for returns or throws, the thread that called heed does
  /// the rest, and waits for calls that are still running. A call that comes later, while the
  /// executor lives, finds nothing to do. An exception of the host's goes no further.
  ///
  /// Threads that call heed at the same time call parallel_for at the same time; one that calls
  /// heed within a task of the host's calls it there. `context` goes to parallel_for as it is, and
  /// may be null; what it points to must live as long as the executor.
  static Status adopt(int threads, ParallelForFunction parallel_for, void* context,
                      Executor& executor) noexcept;

  /// The threads that may work at once, the calling one included, which can be fewer than create
  /// was asked for; 0 before create or adopt.
  int threads() const noexcept;

  /// For heed itself.
  detail::ThreadPool* pool() const noexcept { return pool_.get(); }

 private:
  std::unique_ptr<detail::ThreadPool> pool_;
};

/// What spreads work over threads in this build of heed (HEED_THREADS), where no executor is
/// adopted. "tbb": oneTBB; work without an executor runs in the arena that it is called in. "std":
/// threads of heed's own; work without an executor runs on CpuInfo::default_workers of them, which
/// start when they are first needed. "none": nothing does; work runs on the thread that calls.
HEED_API std::string_view thread_library() noexcept;

/// Calls task(argument, i) once for each i = 0 … tasks − 1, in `executor` or, where that is null,
/// where other work without an executor runs: a host's own work on the threads that heed uses.
/// Calls are in any order, at once or one after the other, so that none may wait for another.
/// Returns when all have; what they wrote is visible then. Where a task throws the others are
/// called all the same, and the result is a failure (internal) with the reason.
HEED_API Status parallel_for(int tasks, TaskFunction task, void* argument,
                             Executor* executor = nullptr) noexcept;

/// How a single pass over rows is run.
struct RunOptions {
  std::string_view isa = {};     ///< force an ISA by name; empty: HEED_ISA, else the best
  int workers = 0;               ///< the most workers; 0: CpuInfo::default_workers
  Executor* executor = nullptr;  ///< null: where thread_library() says
};

}  // namespace heed
