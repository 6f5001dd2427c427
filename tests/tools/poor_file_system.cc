#include "tests/tools/poor_file_system.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "tools/file_system.h"

namespace heed::tests {

FileSystem file_system;

}  // namespace heed::tests

namespace heed::tools {

using tests::file_system;

bool exchange_names(const char* a, const char* b) {
  constexpr unsigned kExchange = 2;
  if (file_system.exchanges)
    return syscall(SYS_renameat2, AT_FDCWD, a, AT_FDCWD, b, kExchange) == 0;
  errno = EINVAL;
  return false;
}

bool add_name(const char* file, const char* name) {
  if (file_system.links) return link(file, name) == 0;
  errno = EPERM;
  return false;
}

bool flush_to_disk(int descriptor) {
  if (!file_system.flushed) return fsync(descriptor) == 0;
  const std::string name = "/proc/self/fd/" + std::to_string(descriptor);
  return file_system.flushed(std::filesystem::read_symlink(name).string());
}

}  // namespace heed::tools
