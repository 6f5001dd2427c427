// Linux counts the time that each thread was ready and waited, in nanoseconds, as the second number
// of its schedstat.
#include "bench/lost_time.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>

namespace heed::bench {
namespace {

constexpr const char* kTasks = "/proc/self/task";

double read_seconds(int file) {
  char text[128];
  const ssize_t length = ::pread(file, text, sizeof(text) - 1, 0);
  if (length <= 0) return 0;
  text[length] = '\0';
  char* waited = nullptr;
  std::strtoull(text, &waited, 10);  // the time that it ran
  return 1e-9 * static_cast<double>(std::strtoull(waited, nullptr, 10));
}

}  // namespace

double own_lost_seconds() {
  const int file = ::open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  const double seconds = read_seconds(file);
  ::close(file);
  return seconds;
}

LostTime::LostTime() {
  std::error_code error;
  for (const auto& task : std::filesystem::directory_iterator(kTasks, error)) {
    const int file = ::open((task.path() / "schedstat").c_str(), O_RDONLY | O_CLOEXEC);
    if (file >= 0) files_.push_back(file);
  }
}

LostTime::~LostTime() {
  for (const int file : files_) ::close(file);
}

double LostTime::seconds() const {
  double seconds = 0;
  for (const int file : files_) seconds += read_seconds(file);
  return seconds;
}

}  // namespace heed::bench
