// Starting threads of heed's own.
#pragma once

#include <pthread.h>
#include <signal.h>  // NOLINT(modernize-deprecated-headers): POSIX has more than <csignal>

#include <cstddef>

namespace heed::detail {

/// Starts threads while it lives, during which the calling thread takes no signals: those that are
/// started never take any, since signals are for the host's own threads.
class ThreadStarter {
 public:
  explicit ThreadStarter(std::size_t stack_bytes) noexcept
      : ready_(pthread_attr_init(&attributes_) == 0) {
    if (ready_) pthread_attr_setstacksize(&attributes_, stack_bytes);
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~ThreadStarter() {
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    if (ready_) pthread_attr_destroy(&attributes_);
  }
  ThreadStarter(const ThreadStarter&) = delete;
  ThreadStarter& operator=(const ThreadStarter&) = delete;

  /// False where the system grants no more.
  bool start(pthread_t& thread, void* (*work)(void*), void* argument) noexcept {
    return ready_ && pthread_create(&thread, &attributes_, work, argument) == 0;
  }

 private:
  pthread_attr_t attributes_;
  const bool ready_;
  sigset_t before_;
};

}  // namespace heed::detail
