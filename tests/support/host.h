// Hosts with a pool of their own, which heed's work is handed to.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <cstddef>
#include <thread>
#include <vector>

#include "heed/executor.h"

namespace heed::tests {

/// A host that spreads calls in one way or another, and counts how often heed asked it to.
class Host {
 public:
  using Spread = void (*)(Host& host, int tasks, TaskFunction task, void* argument);

  Host(Spread spread, int threads) : spread_(spread) {
    EXPECT_TRUE(Executor::adopt(threads, parallel_for, this, executor_).ok());
  }
  Host(const Host&) = delete;

  Executor* executor() { return &executor_; }
  int asked() const { return asked_; }
  int most_tasks() const { return most_tasks_; }

 private:
  static void parallel_for(void* context, int tasks, TaskFunction task, void* argument) {
    Host& host = *static_cast<Host*>(context);
    ++host.asked_;
    int most = host.most_tasks_;
    while (most < tasks && !host.most_tasks_.compare_exchange_weak(most, tasks)) {
    }
    host.spread_(host, tasks, task, argument);
  }

  const Spread spread_;
  std::atomic<int> asked_ = 0, most_tasks_ = 0;
  Executor executor_;
};

inline void on_one_thread(Host&, int tasks, TaskFunction task, void* argument) {
  for (int i = 0; i < tasks; ++i) task(argument, i);
}

/// A thread for each call, the last one first.
inline void on_threads(Host&, int tasks, TaskFunction task, void* argument) {
  std::vector<std::jthread> threads;
  threads.reserve(static_cast<std::size_t>(tasks));
  for (int i = tasks - 1; i > 0; --i) threads.emplace_back(task, argument, i);
  task(argument, 0);
}

}  // namespace heed::tests
