// HEED_THREADS=tbb: the only file that knows oneTBB.
#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/partitioner.h>
#include <oneapi/tbb/task_arena.h>
#include <oneapi/tbb/task_group.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <limits>
#include <memory>
#include <mutex>
#include <new>
#include <optional>

#include "runtime/threads/thread_pool.h"
#include "runtime/threads/thread_sanitizer.h"
#include "runtime/threads/thread_supply.h"

namespace heed::detail {
namespace {

/// The most threads that oneTBB runs at once in this process, callers included.
int allowed_threads() {
  using tbb::global_control;
  return static_cast<int>(global_control::active_value(global_control::max_allowed_parallelism));
}

/// Keeps oneTBB from starting threads that the system does not grant. It starts its workers when
/// they are first needed, some of them from within others, and ends the process where one cannot be
/// started. So heed tries beforehand how many there can be and, where these are too few, limits
/// oneTBB to them, for the whole process, whose other tasks would end it just as well.
class ThreadSupply {
 public:
  /// Never destroyed: a run may come as late as it likes.
  static ThreadSupply& instance() {
    static auto* const supply = new ThreadSupply;
    return *supply;
  }

  /// To be called before oneTBB is given work of an arena with so many threads. Tries threads that
  /// have not been tried before, and returns whether oneTBB may run any besides the caller.
  bool prepare(int threads) {
    if (tried_.load(std::memory_order_acquire) == 0) look_for_memory();
    const int workers = std::max(allowed_threads(), threads) - 1;
    if (workers > tried_.load(std::memory_order_acquire)) try_workers(workers);
    return allowed_threads() > 1;
  }

 private:
  /// Throws where memory is out. oneTBB's first use in a process waits for ever, as does every
  /// later one, where an allocation within it has failed.
  static void look_for_memory() {
    constexpr std::size_t kFirstUse = std::size_t{16} << 20;
    ::operator delete(::operator new(kFirstUse));
  }

  void try_workers(int workers) {
    const std::scoped_lock lock(mutex_);
    if (workers <= tried_.load(std::memory_order_relaxed)) return;
    const int granted = count_startable_threads(workers);
    if (granted < workers) {
      limit_.emplace(tbb::global_control::max_allowed_parallelism,
                     static_cast<std::size_t>(granted) + 1);
    }
    tried_.store(limit_ ? std::numeric_limits<int>::max() : workers, std::memory_order_release);
  }

  std::mutex mutex_;
  /// Workers that the system granted, all at once; any number once oneTBB is limited.
  std::atomic<int> tried_ = 0;
  /// Stays: trying again would take threads from oneTBB just when it may start them.
  std::optional<tbb::global_control> limit_;
};

/// Runs shares in the arena that it is called in.
void run_in_this_arena(int shares, TaskFunction share, void* context) {
  // One task per share: a share takes its work from a queue, so there is nothing to balance here.
  const auto work = [&](int ith) {
    happens_after(context);
    share(context, ith);
    happens_before(context);
  };
  // A run is its own: it is not cancelled with the caller's tasks, which would leave rows
  // unwritten without a word; and while its threads wait for each other they take up no other
  // task, which could come back to the workspace, or to a lock, that this run holds.
  tbb::task_group_context context_of_run(tbb::task_group_context::isolated);
  tbb::this_task_arena::isolate(
      [&] { tbb::parallel_for(0, shares, work, tbb::simple_partitioner(), context_of_run); });
}

/// A pool that is an arena.
class Arena : public ThreadPool {
 public:
  void run(int shares, TaskFunction share, void* context) final {
    if (!ThreadSupply::instance().prepare(threads())) return run_here(shares, share, context);
    happens_before(context);
    execute(shares, share, context);
    happens_after(context);
  }

 private:
  virtual void execute(int shares, TaskFunction share, void* context) = 0;
};

/// The arena that a run without an executor is called in.
class CallersArena final : public Arena {
 public:
  int threads() const noexcept override { return tbb::this_task_arena::max_concurrency(); }

 private:
  void execute(int shares, TaskFunction share, void* context) override {
    run_in_this_arena(shares, share, context);
  }
};

/// An arena of an executor's own.
class OwnArena final : public Arena {
 public:
  explicit OwnArena(int threads) : arena_(threads) { arena_.initialize(); }
  int threads() const noexcept override { return arena_.max_concurrency(); }

 private:
  void execute(int shares, TaskFunction share, void* context) override {
    arena_.execute([&] { run_in_this_arena(shares, share, context); });
  }

  tbb::task_arena arena_;
};

}  // namespace

std::string_view library_of_threads() noexcept { return "tbb"; }

std::unique_ptr<ThreadPool> make_pool(int threads) {
  ThreadSupply::instance().prepare(1);
  // oneTBB never runs more threads than this, and prints a warning where more are asked for.
  return std::make_unique<OwnArena>(std::min(threads, allowed_threads()));
}

ThreadPool& callers_pool() {
  static auto* const arena = new CallersArena;
  return *arena;
}

}  // namespace heed::detail
