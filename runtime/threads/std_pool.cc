#include "runtime/threads/std_pool.h"

#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <cstddef>
#include <iterator>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "runtime/threads/share_queue.h"
#include "runtime/threads/thread_starter.h"

namespace heed::detail {
namespace {

// Kernels keep what is large in the workspace.
constexpr std::size_t kStackBytes = std::size_t{1} << 20;

// How often a thread lets others go first before it sleeps, from which it takes some ten
// microseconds to wake: steps of a model give work again sooner than that.
constexpr int kTurns = 100;

/// Waits for it, awake, for a moment.
template <class Condition>
void wait_awake(const Condition& condition) {
  for (int turn = 0; turn < kTurns && !condition(); ++turn) std::this_thread::yield();
}

}  // namespace

/// The threads of a pool in one process.
class StdPool::Crew {
 public:
  /// What a thread has to run, on its stack, until nobody works on it any more.
  struct Job {
    ShareQueue queue;
    std::atomic<int> helpers = 0;
    Job* next = nullptr;
  };

  Crew() = default;
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;
  ~Crew();

  bool is_of_this_process() const noexcept { return process_ == getpid(); }
  /// Starts up to so many, once; later calls do nothing.
  void start(int workers);
  /// Besides the caller's.
  int workers() const noexcept { return workers_.load(std::memory_order_acquire); }
  void run(Job& job, int shares);

 private:
  static constexpr int kNotStarted = -1;

  static void* work(void* crew);
  void work();
  void post(Job& job);
  void withdraw(Job& job);
  Job* open_job() const noexcept;

  const pid_t process_ = getpid();
  std::mutex mutex_;
  std::condition_variable posted_, left_;
  std::atomic<unsigned> posts_ = 0;  ///< jobs so far, and the end
  Job* jobs_ = nullptr;              ///< the oldest first
  bool ending_ = false;
  std::vector<pthread_t> threads_;
  std::atomic<int> workers_ = kNotStarted;
};

StdPool::Crew::~Crew() {
  {
    const std::scoped_lock lock(mutex_);
    ending_ = true;
    posts_.fetch_add(1, std::memory_order_relaxed);
  }
  posted_.notify_all();
  for (const pthread_t thread : threads_) pthread_join(thread, nullptr);
}

void StdPool::Crew::start(int workers) {
  if (this->workers() != kNotStarted) return;
  const std::scoped_lock lock(mutex_);
  if (this->workers() != kNotStarted) return;
  threads_.reserve(static_cast<std::size_t>(workers));
  ThreadStarter starter(kStackBytes);
  pthread_t thread = {};
  while (std::ssize(threads_) < workers && starter.start(thread, work, this)) {
    threads_.push_back(thread);
  }
  workers_.store(static_cast<int>(threads_.size()), std::memory_order_release);
}

void* StdPool::Crew::work(void* crew) {
  static_cast<Crew*>(crew)->work();
  return nullptr;
}

void StdPool::Crew::work() {
  std::unique_lock lock(mutex_);
  while (!ending_) {
    Job* const job = open_job();
    if (job != nullptr) {
      job->helpers.fetch_add(1, std::memory_order_relaxed);
      lock.unlock();
      job->queue.drain();
      lock.lock();
      if (job->helpers.fetch_sub(1, std::memory_order_release) == 1) left_.notify_all();
      continue;
    }
    const unsigned seen = posts_.load(std::memory_order_relaxed);
    lock.unlock();
    wait_awake([&] { return posts_.load(std::memory_order_relaxed) != seen; });
    lock.lock();
    posted_.wait(lock, [&] { return posts_.load(std::memory_order_relaxed) != seen; });
  }
}

StdPool::Crew::Job* StdPool::Crew::open_job() const noexcept {
  Job* job = jobs_;
  while (job != nullptr && job->queue.empty()) job = job->next;
  return job;
}

void StdPool::Crew::post(Job& job) {
  const std::scoped_lock lock(mutex_);
  Job** end = &jobs_;
  while (*end != nullptr) end = &(*end)->next;
  *end = &job;
  posts_.fetch_add(1, std::memory_order_relaxed);
}

/// Returns when no thread works on it.
void StdPool::Crew::withdraw(Job& job) {
  wait_awake([&] { return job.helpers.load(std::memory_order_relaxed) == 0; });
  std::unique_lock lock(mutex_);
  Job** place = &jobs_;
  while (*place != &job) place = &(*place)->next;
  *place = job.next;
  left_.wait(lock, [&] { return job.helpers.load(std::memory_order_relaxed) == 0; });
}

void StdPool::Crew::run(Job& job, int shares) {
  post(job);
  for (int helper = 1; helper < std::min(shares, workers() + 1); ++helper) posted_.notify_one();
  job.queue.drain();
  withdraw(job);
}

StdPool::~StdPool() {
  const Crew* const crew = crew_.load(std::memory_order_acquire);
  // A parent's threads and locks are not there, so that its crew cannot be ended.
  if (crew != nullptr && crew->is_of_this_process()) delete crew;
}

StdPool::Crew& StdPool::crew() {
  Crew* crew = crew_.load(std::memory_order_acquire);
  while (crew == nullptr || !crew->is_of_this_process()) {
    auto made = std::make_unique<Crew>();
    if (crew_.compare_exchange_strong(crew, made.get(), std::memory_order_acq_rel)) {
      crew = made.release();
    }
  }
  crew->start(wanted_ - 1);
  return *crew;
}

int StdPool::threads() const noexcept {
  const Crew* const crew = crew_.load(std::memory_order_acquire);
  return crew != nullptr && crew->is_of_this_process() ? crew->workers() + 1 : wanted_;
}

void StdPool::run(int shares, TaskFunction share, void* context) {
  Crew& here = crew();
  if (here.workers() == 0) return run_here(shares, share, context);
  Crew::Job job;
  job.queue.fill(shares, share, context);
  here.run(job, shares);
}

}  // namespace heed::detail
