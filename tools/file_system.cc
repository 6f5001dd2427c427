#include "tools/file_system.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

namespace heed::tools {

bool exchange_names(const char* a, const char* b) {
#ifdef SYS_renameat2
  // Not every C library has the function, nor its header the name of the flag.
  constexpr unsigned kExchange = 2;
  return ::syscall(SYS_renameat2, AT_FDCWD, a, AT_FDCWD, b, kExchange) == 0;
#else
  errno = ENOSYS;
  return false;
#endif
}

bool add_name(const char* file, const char* name) { return ::link(file, name) == 0; }

bool flush_to_disk(int descriptor) {
  while (::fsync(descriptor) != 0) {
    if (errno != EINTR) return errno == EINVAL || errno == ENOTSUP || errno == ENOSYS;
  }
  return true;
}

}  // namespace heed::tools
