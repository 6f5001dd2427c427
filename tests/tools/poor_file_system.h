// A file system that lacks what tests say. Takes the place of tools/file_system.cc in programs that
// are linked with this.
#pragma once

#include <functional>
#include <string>

namespace heed::tests {

struct FileSystem {
  bool exchanges = true;  ///< can exchange two names in one step
  bool links = true;      ///< can give a file a second name
  /// Is told the path of what is flushed to the disk, and says whether that worked.
  std::function<bool(const std::string& path)> flushed = {};
};

extern FileSystem file_system;

}  // namespace heed::tests
