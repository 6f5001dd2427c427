// Executors of heed's own and of hosts: every operator has the bits that it has on one thread, also
// where a host does not keep what it promises.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstring>
#include <map>
#include <mutex>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "heed/heed.h"
#include "tests/support/every_operator.h"
#include "tests/support/host.h"

namespace heed::tests {
namespace {

constexpr int kThreads = 3;

/// Threads that may run on when the host has returned; they end before the executor does.
class LateThreads {
 public:
  ~LateThreads() {
    for (std::thread& thread : threads_) thread.join();
  }
  template <class Work>
  void start(const Work& work) {
    const std::scoped_lock lock(mutex_);
    threads_.emplace_back(work);
  }

 private:
  std::mutex mutex_;
  std::vector<std::thread> threads_;
};

class LateHost : public Host {
 public:
  using Host::Host;
  LateThreads threads;
};

/// What keeps the promise comes first.
struct Way {
  const char* name;
  Host::Spread spread;  ///< of a LateHost
};

void late(Host& host, int tasks, TaskFunction task, void* argument) {
  for (int i = 0; i < tasks; ++i) {
    static_cast<LateHost&>(host).threads.start([=] {
      std::this_thread::sleep_for(std::chrono::microseconds(100 * i));
      task(argument, i);
    });
  }
}

const std::array<Way, 9> kWays = {{
    {"one thread", on_one_thread},
    {"the last call first",
     [](Host&, int tasks, TaskFunction task, void* argument) {
       for (int i = tasks - 1; i >= 0; --i) task(argument, i);
     }},
    {"a thread for each call", on_threads},
    {"more calls than were asked for",
     [](Host& host, int tasks, TaskFunction task, void* argument) {
       on_threads(host, 3 * tasks, task, argument);
     }},
    {"one call alone", [](Host&, int, TaskFunction task, void* argument) { task(argument, 1); }},
    {"no call", [](Host&, int, TaskFunction, void*) {}},
    {"an exception after a call",
     [](Host&, int, TaskFunction task, void* argument) {
       task(argument, 0);
       throw std::runtime_error("the host's");
     }},
    {"no memory", [](Host&, int, TaskFunction, void*) { throw std::bad_alloc(); }},
    {"calls that come late", late},
}};

void expect_same_bits(const std::vector<float>& expected, const std::vector<float>& got) {
  ASSERT_EQ(expected.size(), got.size());
  EXPECT_EQ(std::memcmp(expected.data(), got.data(), expected.size() * sizeof(float)), 0);
}

void expect_bits_of_one_thread(const Operator& op, Executor* executor) {
  static std::mutex mutex;
  static std::map<std::string, std::vector<float>> computed;
  std::unique_lock lock(mutex);
  if (!computed.contains(op.name)) computed[op.name] = op.results(1, nullptr);
  const std::vector<float>& expected = computed[op.name];
  lock.unlock();
  expect_same_bits(expected, op.results(kOperatorWorkers, executor));
}

TEST(AdoptedExecutor, EveryOperatorRunsOnTheHostsThreads) {
  for (const Way& way : kWays) {
    LateHost host(way.spread, kThreads);
    for (const Operator& op : every_operator()) {
      SCOPED_TRACE(op.name + ", " + way.name);
      const int asked = host.asked();
      expect_bits_of_one_thread(op, host.executor());
      EXPECT_GT(host.asked(), asked) << "the host was not asked";
      EXPECT_LE(host.most_tasks(), kThreads);
    }
  }
}

TEST(AdoptedExecutor, OfOneThreadIsTheCallers) {
  Host host(on_threads, 1);
  for (const Operator& op : every_operator()) expect_bits_of_one_thread(op, host.executor());
  EXPECT_EQ(host.asked(), 0);
  EXPECT_EQ(host.executor()->threads(), 1);
}

TEST(AdoptedExecutor, SeveralThreadsOfTheHostAtOnce) {
  for (const Way& way : kWays) {
    SCOPED_TRACE(way.name);
    LateHost host(way.spread, kThreads);
    std::vector<std::thread> callers;
    callers.reserve(2);
    for (int caller = 0; caller < 2; ++caller) {
      callers.emplace_back([&] {
        for (int repeat = 0; repeat < 5; ++repeat) {
          for (const Operator& op : {every_operator()[0], every_operator()[1]}) {
            expect_bits_of_one_thread(op, host.executor());
          }
        }
      });
    }
    for (std::thread& caller : callers) caller.join();
  }
}

// A task of the host's calls heed, which calls the host again.
TEST(AdoptedExecutor, CallsWithinCalls) {
  for (const Way& way : kWays) {
    SCOPED_TRACE(way.name);
    LateHost host(way.spread, kThreads);
    std::atomic<int> calls = 0;
    const auto outer = [&](int) {
      ++calls;
      expect_bits_of_one_thread(every_operator()[1], host.executor());
    };
    const Status status = parallel_for(
        kThreads, [](void* f, int i) { (*static_cast<decltype(&outer)>(f))(i); },
        const_cast<void*>(static_cast<const void*>(&outer)), host.executor());
    EXPECT_TRUE(status.ok()) << status.message();
    EXPECT_EQ(calls, kThreads);
  }
}

/// What a host was given, which calls nothing itself.
struct Kept {
  TaskFunction task = nullptr;
  void* argument = nullptr;

  static void keep(void* context, int, TaskFunction task, void* argument) {
    auto& kept = *static_cast<Kept*>(context);
    if (kept.task == nullptr) kept = {task, argument};
  }
};

TEST(AdoptedExecutor, CallsAfterTheEndDoNothing) {
  Kept kept;
  Executor executor;
  ASSERT_TRUE(Executor::adopt(kThreads, Kept::keep, &kept, executor).ok());
  for (int run = 0; run < 3; ++run) {
    std::atomic<int> calls = 0;
    const auto count = [](void* counter, int) { ++*static_cast<std::atomic<int>*>(counter); };
    ASSERT_TRUE(parallel_for(10, count, &calls, &executor).ok());
    for (int call = 0; call < 3; ++call) kept.task(kept.argument, call);
    EXPECT_EQ(calls, 10);
  }
}

TEST(AdoptedExecutor, NeedsThreadsAndAFunction) {
  Host host(on_one_thread, kThreads);
  Executor executor;
  const auto nothing = [](void*, int, TaskFunction, void*) {};
  EXPECT_EQ(Executor::adopt(0, nothing, nullptr, executor).message(),
            "threads (0) must be 1 or more");
  EXPECT_EQ(Executor::adopt(2, nullptr, nullptr, executor).message(),
            "parallel_for must not be null");
  EXPECT_EQ(executor.threads(), 0) << "a failure changed it";
  ASSERT_TRUE(Executor::adopt(2, nothing, nullptr, executor).ok());
  EXPECT_EQ(executor.threads(), 2);
  EXPECT_FALSE(Executor::adopt(2, nullptr, nullptr, executor).ok());
  EXPECT_EQ(executor.threads(), 2) << "a failure changed it";
}

TEST(OwnExecutor, EveryOperatorHasTheSameBits) {
  Executor executor;
  ASSERT_TRUE(Executor::create(kThreads, executor).ok());
  for (Executor* const where : {&executor, static_cast<Executor*>(nullptr)}) {
    for (const Operator& op : every_operator()) {
      SCOPED_TRACE(op.name);
      expect_bits_of_one_thread(op, where);
    }
  }
}

TEST(ThreadLibrary, IsThatOfTheBuild) {
  EXPECT_EQ(thread_library(), HEED_THREADS);
  Executor executor;
  ASSERT_TRUE(Executor::create(1, executor).ok());
  EXPECT_EQ(executor.threads(), 1);
  ASSERT_TRUE(Executor::create(kThreads, executor).ok());
  EXPECT_LE(executor.threads(), thread_library() == "none" ? 1 : kThreads);
}

/// Calls of tasks by their number.
struct Calls {
  static constexpr int kTasks = 100;
  std::array<std::atomic<int>, kTasks> of = {};
  std::vector<int> written = std::vector<int>(kTasks);

  static void count(void* context, int index) {
    auto& calls = *static_cast<Calls*>(context);
    ++calls.of.at(static_cast<std::size_t>(index));
    calls.written[static_cast<std::size_t>(index)] = index + 1;
  }
  void expect_each_once() const {
    for (int i = 0; i < kTasks; ++i) {
      EXPECT_EQ(of[static_cast<std::size_t>(i)], 1) << i;
      EXPECT_EQ(written[static_cast<std::size_t>(i)], i + 1);
    }
  }
};

TEST(ParallelFor, CallsEachTaskOnce) {
  Executor own;
  ASSERT_TRUE(Executor::create(kThreads, own).ok());
  LateHost host(on_threads, kThreads), late_host(late, kThreads);
  for (Executor* const where :
       {static_cast<Executor*>(nullptr), &own, host.executor(), late_host.executor()}) {
    Calls calls;
    ASSERT_TRUE(parallel_for(Calls::kTasks, Calls::count, &calls, where).ok());
    calls.expect_each_once();
    EXPECT_TRUE(parallel_for(0, Calls::count, &calls, where).ok());
    calls.expect_each_once();
  }
}

// A thread that goes on with the calls of the first run: nothing but heed tells it of later ones.
TEST(AdoptedExecutor, CallsThatComeLateHelpLaterRuns) {
  Kept kept;
  Executor executor;
  ASSERT_TRUE(Executor::adopt(kThreads, Kept::keep, &kept, executor).ok());
  Calls first;
  ASSERT_TRUE(parallel_for(Calls::kTasks, Calls::count, &first, &executor).ok());
  std::atomic<bool> over = false;
  std::thread late_thread([&, kept] {
    while (!over.load(std::memory_order_relaxed)) kept.task(kept.argument, 0);
  });
  for (int run = 0; run < 300; ++run) {
    Calls calls;
    EXPECT_TRUE(parallel_for(Calls::kTasks, Calls::count, &calls, &executor).ok());
    calls.expect_each_once();
  }
  over = true;
  late_thread.join();
}

TEST(ParallelFor, TellsOfATaskThatThrows) {
  Executor own;
  ASSERT_TRUE(Executor::create(kThreads, own).ok());
  Host host(on_threads, kThreads);
  for (Executor* const where : {static_cast<Executor*>(nullptr), &own, host.executor()}) {
    Calls calls;
    const Status status = parallel_for(
        Calls::kTasks,
        [](void* context, int index) {
          Calls::count(context, index);
          if (index == 7) throw std::runtime_error("seven");
        },
        &calls, where);
    EXPECT_EQ(status.code(), StatusCode::internal);
    EXPECT_NE(status.message().find("seven"), std::string::npos) << status.message();
    calls.expect_each_once();
  }
}

TEST(ParallelFor, RefusesWhatItCannotRun) {
  Executor none;
  Calls calls;
  EXPECT_EQ(parallel_for(-1, Calls::count, &calls).message(), "tasks (-1) must be 0 or more");
  EXPECT_EQ(parallel_for(2, nullptr, &calls).message(), "task must not be null");
  EXPECT_EQ(parallel_for(2, Calls::count, &calls, &none).code(), StatusCode::invalid_argument);
  EXPECT_EQ(calls.of[0], 0);
}

}  // namespace
}  // namespace heed::tests
