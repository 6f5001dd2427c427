#include "tools/output_files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <system_error>
#include <utility>

namespace heed::tools {
namespace {

namespace fs = std::filesystem;

Status cannot_write(const std::string& path, std::string_view why) {
  return {StatusCode::invalid_argument, fmt::format("{}: cannot be written: {}", path, why)};
}

Status cannot_write(const std::string& path) { return cannot_write(path, std::strerror(errno)); }

fs::path folder_of(const fs::path& path) {
  const fs::path folder = path.parent_path();
  return folder.empty() ? fs::path(".") : folder;
}

/// Where links lead, a last one to a file that is not there yet included.
fs::path followed(fs::path path) {
  constexpr int kMostLinks = 40;  // Linux follows no more
  std::error_code error;
  for (int i = 0; i < kMostLinks && fs::is_symlink(fs::symlink_status(path, error)); ++i) {
    path = folder_of(path) / fs::read_symlink(path, error);
  }
  return path;
}

/// What can only be written to as it is: devices, pipes, and open files that have lost their name.
bool is_special(const fs::path& path) {
  std::error_code error;
  if (!fs::exists(path, error)) return false;
  return !fs::is_regular_file(path, error) || !fs::exists(followed(path), error);
}

/// While one exists, signals that would end the program interrupt what waits, are only noted, and
/// are raised at its end; a closed pipe is a write error.
class Interruption {
 public:
  Interruption() {
    noted_ = 0;
    struct sigaction note {};  // without SA_RESTART, so that nothing waits on
    note.sa_handler = [](int signal) { noted_ = signal; };
    for (std::size_t i = 0; i < std::size(kSignals); ++i) {
      ::sigaction(kSignals[i], nullptr, &former_[i]);
      if (former_[i].sa_handler != SIG_IGN) ::sigaction(kSignals[i], &note, nullptr);
    }
    struct sigaction ignore {};
    ignore.sa_handler = SIG_IGN;
    ::sigaction(SIGPIPE, &ignore, &former_pipe_);
  }
  ~Interruption() {
    for (std::size_t i = 0; i < std::size(kSignals); ++i) {
      ::sigaction(kSignals[i], &former_[i], nullptr);
    }
    ::sigaction(SIGPIPE, &former_pipe_, nullptr);
    if (noted_ != 0) std::raise(noted_);
  }
  Interruption(const Interruption&) = delete;
  Interruption& operator=(const Interruption&) = delete;

  static bool noted() { return noted_ != 0; }

 private:
  static constexpr int kSignals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
  static inline volatile std::sig_atomic_t noted_ = 0;
  struct sigaction former_[std::size(kSignals)] = {};
  struct sigaction former_pipe_ = {};
};

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
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) return cannot_write(path_);
      bytes = bytes.subspan(static_cast<std::size_t>(count));
    }
    return {};
  }

  Status close() {
    return ::close(std::exchange(descriptor_, -1)) == 0 ? Status() : cannot_write(path_);
  }

 private:
  const std::string& path_;
  int descriptor_;
};

Status write_all(const OutputFile& file, int descriptor) {
  Writer writer(file.path, descriptor);
  Status status = writer.write(std::as_bytes(std::span(file.head)));
  if (status.ok()) status = writer.write(std::as_bytes(file.data));
  return status.ok() ? writer.close() : status;
}

/// A file on its way: staged under a temporary name, then published.
class Staged {
 public:
  explicit Staged(const OutputFile& file)
      : file_(file), special_(is_special(file.path)), target_(followed(file.path)) {}
  ~Staged() {
    if (exists_) ::unlink(temporary_.c_str());
  }
  Staged(const Staged&) = delete;
  Staged& operator=(const Staged&) = delete;

  Status stage() { return special_ ? Status() : write_all(file_, create_temporary()); }

  Status publish() {
    if (special_) return write_all(file_, open_file(file_.path, 0));
    // What was there before is kept under the temporary name until all files are published.
    exchanged_ = rename(RENAME_EXCHANGE);
    published_ = exchanged_ || rename(RENAME_NOREPLACE) || rename(0);
    exists_ = exchanged_ || !published_;
    return published_ ? Status() : cannot_write(file_.path);
  }

  void withdraw() {
    if (exchanged_) {
      rename(RENAME_EXCHANGE);
    } else if (published_) {
      ::unlink(target_.c_str());
    }
  }

 private:
  /// A descriptor, or −1. Programs that were killed may have left files with the same process id.
  int create_temporary() {
    struct stat former {};
    const bool replaces = ::stat(target_.c_str(), &former) == 0;
    const mode_t mode = replaces ? former.st_mode & 0777 : 0666;
    int descriptor = -1;
    for (int number = 0; descriptor < 0; ++number) {
      temporary_ = folder_of(target_) / fmt::format(".heed-{}-{}.tmp", getpid(), number);
      descriptor = open_file(temporary_, O_CREAT | O_EXCL, mode);
      if (descriptor < 0 && errno != EEXIST) return -1;
    }
    exists_ = true;
    // Gives back what the umask took; where that fails, fewer may read the file, never more.
    if (replaces) ::fchmod(descriptor, mode);
    return descriptor;
  }

  bool rename(unsigned flags) const {
    return ::renameat2(AT_FDCWD, temporary_.c_str(), AT_FDCWD, target_.c_str(), flags) == 0;
  }

  const OutputFile& file_;
  bool special_;
  fs::path target_, temporary_;
  bool exists_ = false;  ///< something bears the temporary name
  bool exchanged_ = false, published_ = false;
};

}  // namespace

Status check_writable(std::string_view option, const std::string& path) {
  const std::string named = fmt::format("{} {}", option, path);
  std::error_code error;
  if (fs::is_directory(path, error)) return cannot_write(named, "it is a directory");
  if (access(path.c_str(), W_OK) != 0 && errno != ENOENT) return cannot_write(named);
  if (is_special(path)) return {};
  const fs::path folder = folder_of(followed(path));
  if (!fs::is_directory(folder, error)) {
    return cannot_write(named, fmt::format("{} is not a folder", folder.string()));
  }
  return access(folder.c_str(), W_OK) == 0 ? Status() : cannot_write(named);
}

bool same_file(const std::string& a, const std::string& b) {
  std::error_code error;
  if (is_special(a) || is_special(b)) return false;
  if (fs::equivalent(a, b, error)) return true;
  return fs::weakly_canonical(fs::absolute(followed(a), error), error) ==
         fs::weakly_canonical(fs::absolute(followed(b), error), error);
}

Status write_together(const std::vector<OutputFile>& files) {
  const Interruption interruption;
  std::vector<std::unique_ptr<Staged>> staged;
  for (const OutputFile& file : files) {
    staged.push_back(std::make_unique<Staged>(file));
    if (Status status = staged.back()->stage(); !status) return status;
  }
  Status status;
  for (const auto& file : staged) {
    if (status.ok()) status = file->publish();
  }
  if (status.ok() && Interruption::noted()) status = interrupted(files.back().path);
  if (!status) {
    for (const auto& file : staged) file->withdraw();
  }
  return status;
}

}  // namespace heed::tools
