#include "runtime/threads/executor.h"

#include <atomic>
#include <memory>
#include <utility>

#include "heed/cpu.h"
#include "runtime/base/check_executor.h"
#include "runtime/base/message.h"
#include "runtime/threads/adopted_pool.h"
#include "runtime/threads/thread_pool.h"

namespace heed {

Executor::Executor() noexcept = default;
Executor::~Executor() = default;
Executor::Executor(Executor&&) noexcept = default;
Executor& Executor::operator=(Executor&&) noexcept = default;

Status Executor::create(int threads, Executor& executor) noexcept {
  return detail::guarded([&]() -> Status {
    if (threads < 1) return detail::invalid("threads (", threads, ") must be 1 or more");
    executor.pool_ = detail::make_pool(threads);
    return {};
  });
}

Status Executor::adopt(int threads, ParallelForFunction parallel_for, void* context,
                       Executor& executor) noexcept {
  return detail::guarded([&]() -> Status {
    if (threads < 1) return detail::invalid("threads (", threads, ") must be 1 or more");
    if (parallel_for == nullptr) return detail::invalid("parallel_for must not be null");
    executor.pool_ = std::make_unique<detail::AdoptedPool>(threads, parallel_for, context);
    return {};
  });
}

int Executor::threads() const noexcept { return pool_ == nullptr ? 0 : pool_->threads(); }

std::string_view thread_library() noexcept { return detail::library_of_threads(); }

namespace detail {

Status run_shares(int shares, Executor* executor, TaskFunction share, void* context) noexcept {
  return guarded([&]() -> Status {
    if (shares <= 1) {
      run_here(shares, share, context);
    } else {
      ThreadPool* const own = executor != nullptr ? executor->pool() : nullptr;
      ThreadPool& pool = own != nullptr ? *own : callers_pool();
      pool.run(shares, share, context);
    }
    return {};
  });
}

Status complete_workers(int asked, int& workers) {
  HEED_RETURN_IF_ERROR(check_workers(asked));
  workers = asked == 0 ? cpu_info().default_workers : asked;
  return {};
}

namespace {

/// Tasks of the host's, which may throw although they should not.
struct HostTasks {
  TaskFunction task;
  void* argument;
  std::atomic<bool> failed = false;
  Status failure;  ///< the first one

  static void call(void* context, int index) {
    auto& tasks = *static_cast<HostTasks*>(context);
    Status status = guarded([&]() -> Status {
      tasks.task(tasks.argument, index);
      return {};
    });
    if (!status.ok() && !tasks.failed.exchange(true)) tasks.failure = std::move(status);
  }
};

}  // namespace
}  // namespace detail

Status parallel_for(int tasks, TaskFunction task, void* argument, Executor* executor) noexcept {
  return detail::guarded([&]() -> Status {
    if (tasks < 0) return detail::invalid("tasks (", tasks, ") must be 0 or more");
    if (task == nullptr) return detail::invalid("task must not be null");
    HEED_RETURN_IF_ERROR(detail::check_executor(executor));
    detail::HostTasks host{task, argument, {}, {}};
    HEED_RETURN_IF_ERROR(detail::run_shares(tasks, executor, detail::HostTasks::call, &host));
    return std::move(host.failure);
  });
}

}  // namespace heed
