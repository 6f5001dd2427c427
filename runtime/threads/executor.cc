// The only file that knows oneTBB.
#include "runtime/threads/executor.h"

#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/info.h>
#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/partitioner.h>
#include <oneapi/tbb/task_arena.h>
#include <oneapi/tbb/task_group.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "runtime/base/message.h"
#include "runtime/threads/thread_sanitizer.h"

namespace heed {

struct Executor::Arena {
  explicit Arena(int threads) : arena(threads) {}
  tbb::task_arena arena;
};

Executor::Executor() noexcept = default;
Executor::~Executor() = default;
Executor::Executor(Executor&&) noexcept = default;
Executor& Executor::operator=(Executor&&) noexcept = default;

Status Executor::create(int threads, Executor& executor) noexcept {
  return detail::guarded([&]() -> Status {
    if (threads < 1) return detail::invalid("threads (", threads, ") must be 1 or more");
    // oneTBB never runs more threads than this, and prints a warning where more are asked for.
    const auto most =
        tbb::global_control::active_value(tbb::global_control::max_allowed_parallelism);
    auto arena = std::make_unique<Arena>(std::min(threads, static_cast<int>(most)));
    arena->arena.initialize();
    executor.arena_ = std::move(arena);
    return {};
  });
}

int Executor::threads() const noexcept {
  return arena_ == nullptr ? 0 : arena_->arena.max_concurrency();
}

namespace detail {

Status run_shares(int shares, Executor* executor, ShareFunction share, void* context) noexcept {
  return guarded([&]() -> Status {
    if (shares == 1) {
      share(context, 0);
      return {};
    }
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
    const auto spread = [&] {
      tbb::this_task_arena::isolate(
          [&] { tbb::parallel_for(0, shares, work, tbb::simple_partitioner(), context_of_run); });
    };
    happens_before(context);
    if (executor != nullptr && executor->arena() != nullptr) {
      executor->arena()->arena.execute(spread);
    } else {
      spread();
    }
    happens_after(context);
    return {};
  });
}

int default_workers() noexcept { return tbb::info::default_concurrency(); }

Status complete_workers(int asked, int& workers) {
  // More than any machine has: a typing error, not a wish.
  constexpr int most = 4096;
  if (asked < 0 || asked > most) {
    return invalid("workers (", asked, ") must be from 0 to ", most);
  }
  workers = asked == 0 ? default_workers() : asked;
  return {};
}

}  // namespace detail
}  // namespace heed
