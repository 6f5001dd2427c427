// Where the path of an output leads.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "heed/status.h"

namespace heed::tools {

/// "path: cannot be written: why"
Status cannot_write(const std::string& path, std::string_view why);
/// The same with the reason that errno holds.
Status cannot_write(const std::string& path);

/// The folder that a path lies in; "." for a name alone.
std::filesystem::path folder_of(const std::filesystem::path& path);

/// Where links lead, a last one to a file that is not there yet included.
std::filesystem::path followed(std::filesystem::path path);

/// The descriptor of this process that a path names, by way of links or not: /dev/stdout,
/// /dev/stderr, /dev/fd/N, /proc/self/fd/N. −1 for other paths. The descriptor may be closed.
int named_descriptor(std::filesystem::path path);

/// Whether a path leads to what can only be written to as it is: devices, pipes, and files that
/// other programs hold open and that have lost their name.
bool is_special(const std::filesystem::path& path);

}  // namespace heed::tools
