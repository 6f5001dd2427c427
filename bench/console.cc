#include "bench/console.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace heed::bench {
namespace {

/// While one exists, a pipe without a reader is a write error, not the end of the program.
class IgnoredPipeSignal {
 public:
  IgnoredPipeSignal() {
    struct sigaction ignore {};
    ignore.sa_handler = SIG_IGN;
    ::sigaction(SIGPIPE, &ignore, &former_);
  }
  ~IgnoredPipeSignal() { ::sigaction(SIGPIPE, &former_, nullptr); }
  IgnoredPipeSignal(const IgnoredPipeSignal&) = delete;
  IgnoredPipeSignal& operator=(const IgnoredPipeSignal&) = delete;

 private:
  struct sigaction former_ {};
};

Status cannot_print(const char* why) {
  return {StatusCode::invalid_argument, fmt::format("standard output cannot be written: {}", why)};
}

}  // namespace

Status check_output() {
  const int flags = ::fcntl(STDOUT_FILENO, F_GETFL);
  if (flags >= 0 && (flags & O_ACCMODE) != O_RDONLY) return {};
  return cannot_print(std::strerror(flags < 0 ? errno : EBADF));
}

Status flush_output() {
  errno = 0;
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return {};
  return cannot_print(errno != 0 ? std::strerror(errno) : "a part of it was lost");
}

void write_note(std::string_view text) {
  const IgnoredPipeSignal ignored;
  std::fwrite(text.data(), 1, text.size(), stderr);
  std::fflush(stderr);
}

void show_progress(std::string_view text) {
  if (isatty(STDERR_FILENO) == 0) return;
  std::fflush(stdout);
  write_note(fmt::format("\r{}\x1b[K", text));
}

}  // namespace heed::bench
