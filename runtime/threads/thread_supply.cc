#include "runtime/threads/thread_supply.h"

#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <vector>

#include "runtime/threads/thread_starter.h"

namespace heed::detail {
namespace {

// What oneTBB gives a worker: a limit on memory counts it, too.
constexpr std::size_t kStackBytes = std::size_t{4} << 20;

/// Holds all threads until the last one has been started.
struct Gate {
  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t opened = PTHREAD_COND_INITIALIZER;
  bool open = false;
};

struct Trial {
  Gate* gate = nullptr;
  pthread_t thread = {};
  std::atomic<pid_t> id = 0;  ///< as the system calls the thread
};

void* wait_at_gate(void* pointer) {
  auto& trial = *static_cast<Trial*>(pointer);
  trial.id = static_cast<pid_t>(syscall(SYS_gettid));
  pthread_mutex_lock(&trial.gate->mutex);
  while (!trial.gate->open) pthread_cond_wait(&trial.gate->opened, &trial.gate->mutex);
  pthread_mutex_unlock(&trial.gate->mutex);
  return nullptr;
}

/// Starts as many of the trials as can be.
std::size_t start(std::vector<Trial>& trials, Gate& gate) {
  ThreadStarter starter(kStackBytes);
  std::size_t started = 0;
  while (started < trials.size()) {
    Trial& trial = trials[started];
    trial.gate = &gate;
    if (!starter.start(trial.thread, wait_at_gate, &trial)) break;
    ++started;
  }
  return started;
}

/// A thread that was joined counts against limits for some microseconds more, until the system has
/// forgotten its id.
void wait_until_forgotten(pid_t id) {
  constexpr int kMostTurns = 100000;
  for (int turn = 0; turn < kMostTurns; ++turn) {
    if (syscall(SYS_tgkill, getpid(), id, 0) != 0) return;
    sched_yield();
  }
}

}  // namespace

int count_startable_threads(int wanted) noexcept {
  try {
    Gate gate;
    std::vector<Trial> trials(static_cast<std::size_t>(wanted > 0 ? wanted : 0));
    const std::size_t started = start(trials, gate);
    pthread_mutex_lock(&gate.mutex);
    gate.open = true;
    pthread_cond_broadcast(&gate.opened);
    pthread_mutex_unlock(&gate.mutex);
    for (std::size_t i = 0; i < started; ++i) pthread_join(trials[i].thread, nullptr);
    for (std::size_t i = 0; i < started; ++i) wait_until_forgotten(trials[i].id);
    return static_cast<int>(started);
  } catch (...) {
    return 0;
  }
}

}  // namespace heed::detail
