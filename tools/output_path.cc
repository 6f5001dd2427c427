#include "tools/output_path.h"

#include <fmt/format.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <system_error>

namespace heed::tools {
namespace {

namespace fs = std::filesystem;

constexpr int kMostLinks = 40;  // Linux follows no more

bool is_link(const fs::path& path) {
  std::error_code error;
  return fs::is_symlink(fs::symlink_status(path, error));
}

/// What a link says, seen from where it lies.
fs::path target_of(const fs::path& link) {
  std::error_code error;
  return folder_of(link) / fs::read_symlink(link, error);
}

/// The descriptor that an entry of the folder of this process's descriptors stands for; −1 for
/// paths that are none.
int entry_of_descriptors(const fs::path& path) {
  const std::string name = path.filename().string();
  const char* const end = name.data() + name.size();
  int descriptor = -1;
  const auto [stop, fault] = std::from_chars(name.data(), end, descriptor);
  if (fault != std::errc() || stop != end || descriptor < 0) return -1;
  std::error_code error;
  const fs::path folder = folder_of(path);
  const bool own = fs::equivalent(folder, "/proc/self/fd", error) ||
                   fs::equivalent(folder, "/proc/thread-self/fd", error);
  return own ? descriptor : -1;
}

}  // namespace

Status cannot_write(const std::string& path, std::string_view why) {
  return {StatusCode::invalid_argument, fmt::format("{}: cannot be written: {}", path, why)};
}

Status cannot_write(const std::string& path) { return cannot_write(path, std::strerror(errno)); }

fs::path folder_of(const fs::path& path) {
  const fs::path folder = path.parent_path();
  return folder.empty() ? fs::path(".") : folder;
}

fs::path followed(fs::path path) {
  for (int i = 0; i < kMostLinks && is_link(path); ++i) path = target_of(path);
  return path;
}

int named_descriptor(fs::path path) {
  for (int i = 0; i < kMostLinks; ++i) {
    if (const int descriptor = entry_of_descriptors(path); descriptor >= 0) return descriptor;
    if (!is_link(path)) return -1;
    path = target_of(path);
  }
  return -1;
}

bool is_special(const fs::path& path) {
  std::error_code error;
  if (!fs::exists(path, error)) return false;
  return !fs::is_regular_file(path, error) || !fs::exists(followed(path), error);
}

}  // namespace heed::tools
