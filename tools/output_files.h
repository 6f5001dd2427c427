// Files that appear together, whole, or not at all.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "heed/status.h"

namespace heed::tools {

/// What is to be written: the bytes of `head`, then those of `data`.
struct OutputFile {
  std::string path;
  std::string head;
  std::span<const std::byte> data;
};

/// Whether write_together has a chance with the path that `option` names: known before the work
/// whose result it writes.
Status check_writable(std::string_view option, const std::string& path);

/// Whether both paths lead to one file, which need not be there yet. Devices and pipes may be
/// shared, and open files by those who both write to them as they are.
bool same_file(const std::string& a, const std::string& b);

/// Writes each file under a temporary name beside its path and, when all are complete and on the
/// disk, gives them their names. Links are followed, and a file that takes the place of another has
/// its permissions, owner and group. On failure, a closed pipe included, and where SIGINT, SIGTERM,
/// SIGHUP or SIGQUIT comes between, no file is left behind, and files that were there before are as
/// they were. Devices and pipes are written to as they are, and so are the descriptors that paths
/// such as /dev/stdout and /dev/fd/3 name: where these stand, after what was written to them
/// before. Messages begin with the path.
Status write_together(const std::vector<OutputFile>& files);

}  // namespace heed::tools
