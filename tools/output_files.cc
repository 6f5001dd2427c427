#include "tools/output_files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <system_error>
#include <utility>

#include "tools/file_system.h"
#include "tools/interruption.h"
#include "tools/output_path.h"
#include "tools/status.h"

namespace heed::tools {
namespace {

namespace fs = std::filesystem;

/// Whether anything bears this name, a link that leads nowhere included.
bool is_there(const fs::path& path) {
  std::error_code error;
  return fs::exists(fs::symlink_status(path, error));
}

Status interrupted(const std::string& path) { return cannot_write(path, "interrupted"); }

/// A descriptor, or −1; may wait for a pipe's reader until a signal is noted.
int open_file(const fs::path& path, int flags, mode_t mode = 0) {
  for (;;) {
    const int descriptor = ::open(path.c_str(), flags | O_WRONLY | O_CLOEXEC, mode);
    if (descriptor >= 0 || errno != EINTR || Interruption::noted()) return descriptor;
  }
}

/// An open file; write errors name `path`.
class Writer {
 public:
  Writer(const std::string& path, int descriptor) : path_(path), descriptor_(descriptor) {}
  ~Writer() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  Status write(std::span<const std::byte> bytes) {
    constexpr std::size_t kStep = std::size_t{1} << 24;
    if (descriptor_ < 0) return cannot_write(path_);
    while (!bytes.empty()) {
      if (Interruption::noted()) return interrupted(path_);
      const ssize_t count = ::write(descriptor_, bytes.data(), std::min(bytes.size(), kStep));
      if (count < 0 && !is_passing(errno)) return cannot_write(path_);
      if (count > 0) bytes = bytes.subspan(static_cast<std::size_t>(count));
    }
    return {};
  }

  Status flush_to_disk() {
    return tools::flush_to_disk(descriptor_) ? Status() : cannot_write(path_);
  }

  Status close() {
    return ::close(std::exchange(descriptor_, -1)) == 0 ? Status() : cannot_write(path_);
  }

 private:
  /// Whether to try again. A descriptor that others opened may refuse to wait: then this waits.
  bool is_passing(int fault) const {
    if (fault == EAGAIN) {
      pollfd events{descriptor_, POLLOUT, 0};
      ::poll(&events, 1, -1);
      return true;
    }
    return fault == EINTR;
  }

  const std::string& path_;
  int descriptor_;
};

Status write_all(const OutputFile& file, Writer& writer) {
  HEED_RETURN_IF_ERROR(writer.write(std::as_bytes(std::span(file.head))));
  return writer.write(file.data);
}

/// Another name of an open file, so that what is written follows what was, and may be followed.
int duplicate(int descriptor) {
  std::fflush(stdout);
  return ::fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
}

/// A file that is to take the place of what bears its name, if anything does. Lies beside it under
/// a temporary name until it is published.
class Replacement {
 public:
  explicit Replacement(const std::string& path) : path_(path), target_(followed(path)) {}
  ~Replacement() {
    for (const std::string& name : {temporary_, former_}) {
      if (!name.empty()) ::unlink(name.c_str());
    }
  }
  Replacement(const Replacement&) = delete;
  Replacement& operator=(const Replacement&) = delete;

  /// Makes the file, with owner and permissions of the one whose place it will take.
  Status create(int& descriptor) {
    struct stat former {};
    const bool replaces = ::stat(target_.c_str(), &former) == 0;
    const mode_t mode = replaces ? former.st_mode & 0777 : 0666;
    descriptor = -1;
    // Programs that were killed may have left files with the same process id.
    for (int number = 0; descriptor < 0; ++number) {
      const std::string name = name_of(number);
      descriptor = open_file(name, O_CREAT | O_EXCL, replaces ? mode & 0700 : mode);
      if (descriptor >= 0) temporary_ = name;
      if (descriptor < 0 && errno != EEXIST) return cannot_write(path_);
    }
    return replaces ? resemble(former, descriptor) : Status();
  }

  /// The file gets its name. What bore it before is kept until this ends.
  Status publish() {
    if (exchange_names(temporary_.c_str(), target_.c_str())) {
      former_ = std::exchange(temporary_, {});
    } else {
      if (is_there(target_) && !keep_former()) return cannot_write(path_);
      if (::rename(temporary_.c_str(), target_.c_str()) != 0) return cannot_write(path_);
      temporary_.clear();
    }
    published_ = true;
    return {};
  }

  /// What bore the name before bears it again.
  void withdraw() {
    if (!former_.empty()) {
      // Where that fails the former file stays under the other name: it is the only copy.
      if (::rename(former_.c_str(), target_.c_str()) != 0) former_.clear();
    } else if (published_) {
      ::unlink(target_.c_str());
    }
  }

  fs::path folder() const { return folder_of(target_); }

 private:
  std::string name_of(int number) const {
    return folder() / fmt::format(".heed-{}-{}.tmp", getpid(), number);
  }

  /// Gives an open file the owner and the permissions of another.
  Status resemble(const struct stat& former, int descriptor) const {
    struct stat made {};
    if (::fstat(descriptor, &made) != 0) return cannot_write(path_);
    const bool same = made.st_uid == former.st_uid && made.st_gid == former.st_gid;
    if (!same && ::fchown(descriptor, former.st_uid, former.st_gid) != 0) {
      return cannot_write(path_, fmt::format("its owner and group ({}:{}) cannot be kept: {}",
                                             former.st_uid, former.st_gid, std::strerror(errno)));
    }
    // Gives back what the umask took; where that fails, fewer may read the file, never more.
    ::fchmod(descriptor, former.st_mode & 0777);
    return {};
  }

  /// Where names cannot be exchanged, the former file gets another one besides, or instead.
  bool keep_former() {
    for (int number = 0;; ++number) {
      const std::string name = name_of(number);
      if (is_there(name)) continue;
      if (!add_name(target_.c_str(), name.c_str()) &&
          ::rename(target_.c_str(), name.c_str()) != 0) {
        return false;
      }
      former_ = name;
      return true;
    }
  }

  const std::string& path_;
  const fs::path target_;
  std::string temporary_;  ///< empty: nothing bears a temporary name
  std::string former_;     ///< where the former file lies; empty: there is none, or not yet
  bool published_ = false;
};

/// A file on its way: staged beside its path, then published. What can only be written to as it is,
/// is written when it is published.
class Staged {
 public:
  explicit Staged(const OutputFile& file) : file_(file), descriptor_(named_descriptor(file.path)) {
    if (descriptor_ < 0 && !is_special(file.path)) replacement_.emplace(file.path);
  }

  Status stage() {
    if (!replacement_) return {};
    int descriptor = -1;
    const Status created = replacement_->create(descriptor);
    Writer writer(file_.path, descriptor);
    HEED_RETURN_IF_ERROR(created);
    HEED_RETURN_IF_ERROR(write_all(file_, writer));
    // A name must not come to the disk before what it names.
    HEED_RETURN_IF_ERROR(writer.flush_to_disk());
    return writer.close();
  }

  Status publish() {
    if (replacement_) return replacement_->publish();
    Writer writer(file_.path, descriptor_ >= 0 ? duplicate(descriptor_) : open_file(file_.path, 0));
    HEED_RETURN_IF_ERROR(write_all(file_, writer));
    return writer.close();
  }

  /// Waits until the name is on the disk.
  Status flush_to_disk() const {
    if (!replacement_) return {};
    const int folder = ::open(replacement_->folder().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0) return {};  // one may write names into a folder without reading it
    const bool flushed = tools::flush_to_disk(folder);
    Status status = flushed ? Status() : cannot_write(file_.path);
    ::close(folder);
    return status;
  }

  void withdraw() {
    if (replacement_) replacement_->withdraw();
  }

 private:
  const OutputFile& file_;
  const int descriptor_;  ///< that the path names; −1: it names none
  std::optional<Replacement> replacement_;
};

Status check_descriptor(const std::string& named, int descriptor) {
  const int flags = ::fcntl(descriptor, F_GETFL);
  if (flags < 0) return cannot_write(named);
  if ((flags & O_ACCMODE) != O_RDONLY) return {};
  return cannot_write(named, "it is not open for writing");
}

}  // namespace

Status check_writable(std::string_view option, const std::string& path) {
  const std::string named = fmt::format("{} {}", option, path);
  std::error_code error;
  if (fs::is_directory(path, error)) return cannot_write(named, "it is a directory");
  if (const int descriptor = named_descriptor(path); descriptor >= 0) {
    return check_descriptor(named, descriptor);
  }
  if (access(path.c_str(), W_OK) != 0 && errno != ENOENT) return cannot_write(named);
  if (is_special(path)) return {};
  const fs::path folder = folder_of(followed(path));
  if (!fs::is_directory(folder, error)) {
    return cannot_write(named, fmt::format("{} is not a folder", folder.string()));
  }
  // Whether a file can be made there, and be given its owner, is best known by doing it.
  const Interruption interruption;
  int descriptor = -1;
  Replacement replacement(path);
  Status status = replacement.create(descriptor);
  if (descriptor >= 0) ::close(descriptor);
  if (status.ok()) return status;
  return {status.code(), fmt::format("{} {}", option, status.message())};
}

bool same_file(const std::string& a, const std::string& b) {
  std::error_code error;
  const bool descriptors[] = {named_descriptor(a) >= 0, named_descriptor(b) >= 0};
  if (fs::equivalent(a, b, error)) {
    return fs::is_regular_file(a, error) && !(descriptors[0] && descriptors[1]);
  }
  if (descriptors[0] || descriptors[1] || is_special(a) || is_special(b)) return false;
  return fs::weakly_canonical(fs::absolute(followed(a), error), error) ==
         fs::weakly_canonical(fs::absolute(followed(b), error), error);
}

Status write_together(const std::vector<OutputFile>& files) {
  const Interruption interruption;
  std::vector<std::unique_ptr<Staged>> staged;
  for (const OutputFile& file : files) {
    staged.push_back(std::make_unique<Staged>(file));
    HEED_RETURN_IF_ERROR(staged.back()->stage());
  }
  Status status;
  for (const auto& file : staged) {
    if (status.ok()) status = file->publish();
  }
  for (const auto& file : staged) {
    if (status.ok()) status = file->flush_to_disk();
  }
  if (status.ok() && Interruption::noted()) status = interrupted(files.back().path);
  if (!status) {
    for (const auto& file : staged) file->withdraw();
  }
  return status;
}

}  // namespace heed::tools
