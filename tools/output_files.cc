#include "tools/output_files.h"

#include <fcntl.h>
#include <fmt/format.h>
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

bool is_special(const fs::path& path) {
  std::error_code error;
  return fs::exists(path, error) && !fs::is_regular_file(path, error);
}

fs::path folder_of(const fs::path& path) {
  const fs::path folder = path.parent_path();
  return folder.empty() ? fs::path(".") : folder;
}

/// While one exists, signals that would end the program are only noted, and raised at its end.
class Interruption {
 public:
  Interruption() {
    noted_ = 0;
    for (std::size_t i = 0; i < std::size(kSignals); ++i) {
      former_[i] = std::signal(kSignals[i], [](int signal) { noted_ = signal; });
      if (former_[i] == SIG_IGN) std::signal(kSignals[i], SIG_IGN);
    }
  }
  ~Interruption() {
    for (std::size_t i = 0; i < std::size(kSignals); ++i) std::signal(kSignals[i], former_[i]);
    if (noted_ != 0) std::raise(noted_);
  }
  Interruption(const Interruption&) = delete;
  Interruption& operator=(const Interruption&) = delete;

  static bool noted() { return noted_ != 0; }

 private:
  static constexpr int kSignals[] = {SIGINT, SIGTERM, SIGHUP};
  static inline volatile std::sig_atomic_t noted_ = 0;
  void (*former_[std::size(kSignals)])(int) = {};
};

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
      if (Interruption::noted()) return cannot_write(path_, "interrupted");
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
  Staged(const OutputFile& file, std::size_t number)
      : file_(file), special_(is_special(file.path)) {
    std::error_code error;
    target_ = fs::canonical(file.path, error);
    if (error) target_ = file.path;
    temporary_ = folder_of(target_) / fmt::format(".heed-{}-{}.tmp", getpid(), number);
  }
  ~Staged() {
    if (exists_) ::unlink(temporary_.c_str());
  }
  Staged(const Staged&) = delete;
  Staged& operator=(const Staged&) = delete;

  Status stage() {
    if (special_) return {};
    const int descriptor =
        ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    exists_ = descriptor >= 0;
    return write_all(file_, descriptor);
  }

  Status publish() {
    if (special_) return write_all(file_, ::open(target_.c_str(), O_WRONLY | O_CLOEXEC));
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
  if (fs::exists(path, error) && access(path.c_str(), W_OK) != 0) return cannot_write(named);
  if (is_special(path)) return {};
  const fs::path folder = folder_of(path);
  if (!fs::is_directory(folder, error)) {
    return cannot_write(named, fmt::format("{} is not a folder", folder.string()));
  }
  return access(folder.c_str(), W_OK) == 0 ? Status() : cannot_write(named);
}

bool same_file(const std::string& a, const std::string& b) {
  std::error_code error;
  if (is_special(a) || is_special(b)) return false;
  if (fs::equivalent(a, b, error)) return true;
  return fs::weakly_canonical(fs::absolute(a, error), error) ==
         fs::weakly_canonical(fs::absolute(b, error), error);
}

Status write_together(const std::vector<OutputFile>& files) {
  const Interruption interruption;
  std::vector<std::unique_ptr<Staged>> staged;
  for (const OutputFile& file : files) {
    staged.push_back(std::make_unique<Staged>(file, staged.size()));
    if (Status status = staged.back()->stage(); !status) return status;
  }
  for (std::size_t i = 0; i < staged.size(); ++i) {
    Status status = staged[i]->publish();
    if (status.ok()) continue;
    for (std::size_t j = 0; j < i; ++j) staged[j]->withdraw();
    return status;
  }
  return {};
}

}  // namespace heed::tools
