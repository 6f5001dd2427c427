// Signals that come while files are half written.
#pragma once

#include <csignal>
#include <iterator>

namespace heed::tools {

/// While one exists, signals that would end the program interrupt what waits, are only noted, and
/// are raised at its end; a closed pipe is a write error.
class Interruption {
 public:
  Interruption();
  ~Interruption();
  Interruption(const Interruption&) = delete;
  Interruption& operator=(const Interruption&) = delete;

  static bool noted() { return noted_ != 0; }

 private:
  static constexpr int kSignals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
  static inline volatile std::sig_atomic_t noted_ = 0;
  struct sigaction former_[std::size(kSignals)] = {};
  struct sigaction former_pipe_ = {};
};

}  // namespace heed::tools
