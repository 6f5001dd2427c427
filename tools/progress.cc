#include "tools/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

namespace heed::tools {

void show_progress(std::string_view text) {
  if (isatty(STDERR_FILENO) == 0) return;
  std::fflush(stdout);
  std::fputs(fmt::format("\r{}\x1b[K", text).c_str(), stderr);
  std::fflush(stderr);
}

}  // namespace heed::tools
