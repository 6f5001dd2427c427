// Formats: cgroups(7), "/proc/PID/cgroup"; proc(5), "/proc/PID/mountinfo"; and of the files of
// limits Linux, Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst, and
// Documentation/scheduler/sched-bwc.rst.
#include "runtime/cpu/control_groups.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace heed::detail {
namespace {

/// A text without its first field, which ends at `separator`; the field is returned.
std::string_view take_field(std::string_view& text, char separator) {
  const std::size_t end = std::min(text.find(separator), text.size());
  const std::string_view field = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return field;
}

bool lists(std::string_view comma_separated, std::string_view name) {
  while (!comma_separated.empty()) {
    if (take_field(comma_separated, ',') == name) return true;
  }
  return false;
}

/// An open file, closed in the end.
struct File {
  int descriptor;
  ~File() {
    if (descriptor >= 0) close(descriptor);
  }
};

/// Empty where the file cannot be read.
std::string read_file(const std::string& path) {
  constexpr std::size_t kMost = 1 << 20;  // a mount table of thousands of entries
  const File file{open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  std::string text;
  char bytes[4096];
  while (file.descriptor >= 0 && text.size() < kMost) {
    const ssize_t length = read(file.descriptor, bytes, sizeof bytes);
    if (length <= 0) break;
    text.append(bytes, static_cast<std::size_t>(length));
  }
  return text;
}

/// The number that a field is, all of it: not "max", and not −1 for none.
std::optional<std::int64_t> limit_of(std::string_view field) {
  while (field.ends_with('\n')) field.remove_suffix(1);
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), value);
  if (error != std::errc() || end != field.data() + field.size() || value < 0) return {};
  return value;
}

/// A path of mountinfo, which writes blanks and the like as backslash and three octal digits.
std::string unescaped(std::string_view field) {
  std::string path;
  for (std::size_t i = 0; i < field.size(); ++i) {
    unsigned code = 0;
    const char* const digits = field.data() + i + 1;
    if (field[i] == '\\' && field.size() - i > 3 &&
        std::from_chars(digits, digits + 3, code, 8).ptr == digits + 3) {
      path += static_cast<char>(code);
      i += 3;
    } else {
      path += field[i];
    }
  }
  return path;
}

enum class Version { v1, v2 };

/// A hierarchy that is mounted somewhere: the folder `root` of it appears as `point`.
struct Mount {
  Version version = Version::v1;
  std::string root, point;
  std::string controllers;  ///< version 1: "rw,cpu,cpuacct"
};

/// "36 35 98:0 /root /point rw,noatime shared:1 - cgroup cgroup rw,cpu,cpuacct"
std::optional<Mount> parse_mount(std::string_view line) {
  Mount mount;
  for (int skipped = 0; skipped < 3; ++skipped) take_field(line, ' ');
  mount.root = unescaped(take_field(line, ' '));
  mount.point = unescaped(take_field(line, ' '));
  const std::size_t separator = line.find(" - ");
  if (separator == std::string_view::npos) return {};
  line.remove_prefix(separator + 3);
  const std::string_view type = take_field(line, ' ');
  if (type != "cgroup" && type != "cgroup2") return {};
  mount.version = type == "cgroup" ? Version::v1 : Version::v2;
  take_field(line, ' ');
  mount.controllers = line;
  return mount;
}

std::vector<Mount> parse_mounts(std::string_view text) {
  std::vector<Mount> mounts;
  while (!text.empty()) {
    if (std::optional<Mount> mount = parse_mount(take_field(text, '\n'))) {
      mounts.push_back(std::move(*mount));
    }
  }
  return mounts;
}

/// The folder of a group of a mounted hierarchy, below the mount's point. A group outside of what
/// is mounted, as a container may see its own, is that of the mount itself.
std::string folder_in(const Mount& mount, std::string_view group) {
  std::string_view below = group;
  if (mount.root != "/") {
    const bool inside = below.starts_with(mount.root) &&
                        (below.size() == mount.root.size() || below[mount.root.size()] == '/');
    below = inside ? below.substr(mount.root.size()) : std::string_view();
  }
  if (below.starts_with("/..")) below = {};
  while (below.ends_with('/')) below.remove_suffix(1);
  return std::string(below);
}

template <class Number>
void tighten(Number& limit, Number other) {
  if (limit == 0 || other < limit) limit = other;
}

void tighten_cpus(GroupLimits& limits, std::string_view quota, std::string_view period) {
  const std::optional<std::int64_t> allowed = limit_of(quota), per = limit_of(period);
  if (!allowed || !per || *allowed == 0 || *per == 0) return;
  tighten(limits.cpus, static_cast<double>(*allowed) / static_cast<double>(*per));
}

void tighten_memory(GroupLimits& limits, std::string_view bytes) {
  // Version 1 writes the largest number of whole pages for no limit.
  constexpr std::int64_t kNone = std::int64_t{1} << 62;
  const std::optional<std::int64_t> allowed = limit_of(bytes);
  if (allowed && *allowed > 0 && *allowed < kNone) tighten(limits.memory_bytes, *allowed);
}

/// The limits that the files of one folder give.
void read_folder(const std::string& folder, Version version, GroupLimits& limits) {
  if (version == Version::v1) {
    tighten_cpus(limits, read_file(folder + "/cpu.cfs_quota_us"),
                 read_file(folder + "/cpu.cfs_period_us"));
    tighten_memory(limits, read_file(folder + "/memory.limit_in_bytes"));
    return;
  }
  const std::string cpus = read_file(folder + "/cpu.max");
  std::string_view period = cpus;
  const std::string_view quota = take_field(period, ' ');
  tighten_cpus(limits, quota, period);
  tighten_memory(limits, read_file(folder + "/memory.max"));
}

/// True where the mount is of the hierarchy that has these controllers (none: version 2), and these
/// are of those that limit what is asked here.
bool holds(const Mount& mount, std::string_view controllers) {
  if (mount.version == Version::v2) return controllers.empty();
  for (const std::string_view name : {"cpu", "memory"}) {
    if (lists(controllers, name) && lists(mount.controllers, name)) return true;
  }
  return false;
}

/// From the group up to where its hierarchy is mounted: each limits all within.
void read_hierarchy(const std::string& root, const Mount& mount, std::string_view group,
                    GroupLimits& limits) {
  const std::string point = root + mount.point;
  std::string below = folder_in(mount, group);
  for (;;) {
    read_folder(point + below, mount.version, limits);
    if (below.empty()) return;
    const std::size_t last = below.rfind('/');
    below.resize(last == std::string::npos ? 0 : last);
  }
}

}  // namespace

GroupLimits read_group_limits(const std::string& root) {
  GroupLimits limits;
  const std::string groups = read_file(root + "/proc/self/cgroup");
  const std::vector<Mount> mounts = parse_mounts(read_file(root + "/proc/self/mountinfo"));
  std::string_view rest = groups;
  while (!rest.empty()) {  // "4:cpu,cpuacct:/group", or "0::/group" of version 2
    std::string_view group = take_field(rest, '\n');
    take_field(group, ':');
    const std::string_view controllers = take_field(group, ':');
    for (const Mount& mount : mounts) {
      if (holds(mount, controllers)) read_hierarchy(root, mount, group, limits);
    }
  }
  return limits;
}

}  // namespace heed::detail
