// Output files appear together, whole, or not at all, whatever lies in their way.
#include "tools/output_files.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/run_command.h"
#include "tests/tools/poor_file_system.h"

namespace heed::tests {
namespace {

using tools::write_together;

/// On a file system that can do all, one that cannot exchange names, and one that cannot give a
/// file two names either.
class OutputFiles : public testing::TestWithParam<FileSystem> {
 protected:
  OutputFiles() { file_system = GetParam(); }
  ~OutputFiles() override { file_system = {}; }

  Folder folder_;
  const std::string a_ = folder_.path("a"), b_ = folder_.path("b");
};

TEST_P(OutputFiles, LeaveTheRemainsOfOthersAlone) {
  std::vector<std::string> names = {"a", "b"};
  for (const char* const number : {"0", "1", "3"}) {
    const std::string name = ".heed-" + std::to_string(getpid()) + "-" + number + ".tmp";
    write_bytes(folder_.path(name), "remains");
    names.insert(names.end() - 2, name);
  }
  const std::array<float, 2> data = {1, 2};
  const Status status =
      write_together({{a_, "head of a", std::as_bytes(std::span(data))}, {b_, "all of b", {}}});
  EXPECT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(read_bytes(a_), "head of a" + bytes_of(data));
  EXPECT_EQ(read_bytes(b_), "all of b");
  EXPECT_EQ(folder_.names(), names);
  EXPECT_EQ(read_bytes(folder_.path(names.front())), "remains");
}

volatile std::sig_atomic_t signals = 0;

TEST_P(OutputFiles, AreWithdrawnWhereASignalComesWithTheLastByte) {
  ASSERT_EQ(mkfifo(b_.c_str(), 0600), 0);
  const int reader = open(b_.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  ASSERT_GE(reader, 0);
  // The system sends it when the pipe is written to.
  ASSERT_EQ(fcntl(reader, F_SETSIG, SIGTERM), 0);
  ASSERT_EQ(fcntl(reader, F_SETOWN, getpid()), 0);
  ASSERT_EQ(fcntl(reader, F_SETFL, O_NONBLOCK | O_ASYNC), 0);
  const auto former = std::signal(SIGTERM, [](int) { signals = signals + 1; });
  for (const bool replaces : {false, true}) {
    SCOPED_TRACE(replaces);
    signals = 0;
    if (replaces) write_bytes(a_, "former a");
    EXPECT_FALSE(write_together({{a_, "all of a", {}}, {b_, "all of b", {}}}).ok());
    EXPECT_GT(signals, 0);
    EXPECT_EQ(read_bytes(a_), replaces ? "former a" : "");
    EXPECT_EQ(folder_.names(),
              replaces ? (std::vector<std::string>{"a", "b"}) : (std::vector<std::string>{"b"}));
  }
  std::signal(SIGTERM, former);
  close(reader);
}

TEST_P(OutputFiles, CanBeOpenFilesThatHaveLostTheirName) {
  const int file = open(a_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  ASSERT_GE(file, 0);
  unlink(a_.c_str());
  const std::string path = "/dev/fd/" + std::to_string(file);
  EXPECT_TRUE(tools::check_writable("--out", path).ok());
  const Status status = write_together({{path, "all", {}}});
  EXPECT_TRUE(status.ok()) << status.message();
  char text[8] = {};
  EXPECT_EQ(pread(file, text, sizeof text, 0), 3);
  EXPECT_STREQ(text, "all");
  EXPECT_EQ(folder_.names(), std::vector<std::string>());
  close(file);
}

/// What a file has after `first` was written to it, then the outputs, then "last".
std::string written_between(const std::string& path, const std::vector<std::string>& outputs,
                            int flags) {
  const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0600);
  EXPECT_EQ(write(file, "first ", 6), 6);
  std::vector<tools::OutputFile> files;
  for (const std::string& output : outputs) {
    const std::string name = output + std::to_string(file);
    EXPECT_TRUE(tools::check_writable("--out", name).ok());
    files.push_back({name, "output ", {}});
  }
  const Status status = write_together(files);
  EXPECT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(write(file, "last", 4), 4);
  close(file);
  return read_bytes(path);
}

TEST_P(OutputFiles, AreWrittenToOpenDescriptorsWhereTheseStand) {
  const std::string link = folder_.path("link");
  ASSERT_EQ(symlink("/dev/fd", link.c_str()), 0);
  for (const std::string& folder : {std::string("/dev/fd/"), std::string("/proc/self/fd/"),
                                    std::string("/proc/thread-self/fd/"),
                                    "/proc/" + std::to_string(getpid()) + "/fd/", link + "/"}) {
    SCOPED_TRACE(folder);
    EXPECT_EQ(written_between(a_, {folder}, O_TRUNC), "first output last");
    EXPECT_EQ(written_between(a_, {folder, folder}, O_APPEND),
              "first output lastfirst output output last");
    unlink(a_.c_str());
  }
  EXPECT_EQ(folder_.names(), std::vector<std::string>{"link"});
}

TEST_P(OutputFiles, WaitForAReaderWhereTheDescriptorDoesNot) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0);
  const std::string content(1 << 20, 'x');  // more than a pipe holds
  std::string got;
  std::thread reader([&] {
    std::array<char, 4096> bytes{};
    while (got.size() < content.size()) {
      const ssize_t count = read(ends[0], bytes.data(), bytes.size());
      if (count > 0) got.append(bytes.data(), static_cast<std::size_t>(count));
      if (count <= 0) std::this_thread::yield();
    }
  });
  const Status status = write_together({{"/dev/fd/" + std::to_string(ends[1]), content, {}}});
  EXPECT_TRUE(status.ok()) << status.message();
  if (!status) got.resize(content.size());
  reader.join();
  EXPECT_EQ(got, content);
  close(ends[0]);
  close(ends[1]);
}

TEST_P(OutputFiles, CannotBeDescriptorsThatTakeNothing) {
  write_bytes(a_, "");
  const int file = open(a_.c_str(), O_RDONLY | O_CLOEXEC);
  const std::string path = "/dev/fd/" + std::to_string(file);
  EXPECT_EQ(tools::check_writable("--out", path).message(),
            "--out " + path + ": cannot be written: it is not open for writing");
  close(file);
  EXPECT_EQ(tools::check_writable("--out", path).message(),
            "--out " + path + ": cannot be written: Bad file descriptor");
  EXPECT_FALSE(write_together({{path, "all", {}}}).ok());
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_P(OutputFiles, ADescriptorIsTheFileThatItHolds) {
  write_bytes(a_, "");
  const int file = open(a_.c_str(), O_WRONLY | O_CLOEXEC);
  const std::string path = "/dev/fd/" + std::to_string(file);
  EXPECT_TRUE(tools::same_file(path, a_));
  EXPECT_TRUE(tools::same_file(a_, path));
  EXPECT_FALSE(tools::same_file(path, path));  // one may follow the other
  EXPECT_FALSE(tools::same_file(path, b_));
  close(file);
}

TEST_P(OutputFiles, ThatFailLeaveThoseBeforeAsTheyWere) {
  const std::string full = "/dev/full";
  if (!std::filesystem::exists(full)) GTEST_SKIP() << "no " << full;
  write_bytes(a_, "former a");
  struct stat former {};
  ASSERT_EQ(stat(a_.c_str(), &former), 0);
  EXPECT_FALSE(write_together({{a_, "new a", {}}, {b_, "new b", {}}, {full, "x", {}}}).ok());
  EXPECT_EQ(read_bytes(a_), "former a");
  struct stat now {};
  ASSERT_EQ(stat(a_.c_str(), &now), 0);
  EXPECT_EQ(now.st_ino, former.st_ino);
  EXPECT_EQ(folder_.names(), std::vector<std::string>{"a"});
  EXPECT_TRUE(write_together({{a_, "new a", {}}, {b_, "new b", {}}}).ok());
  EXPECT_EQ(read_bytes(a_), "new a");
  EXPECT_EQ(folder_.names(), (std::vector<std::string>{"a", "b"}));
}

TEST_P(OutputFiles, AreOnTheDiskBeforeTheirNames) {
  write_bytes(a_, "former a");
  std::vector<std::string> seen;
  file_system.flushed = [&](const std::string& path) {
    const bool folder = std::filesystem::is_directory(path);
    seen.push_back(folder ? "folder of " + read_bytes(a_)
                          : "file with " + read_bytes(path) + " beside " + read_bytes(a_));
    return true;
  };
  EXPECT_TRUE(write_together({{a_, "new a", {}}}).ok());
  EXPECT_EQ(seen, (std::vector<std::string>{"file with new a beside former a", "folder of new a"}));
}

TEST_P(OutputFiles, AreNotThereWhereTheDiskFails) {
  for (const bool folder_fails : {false, true}) {
    SCOPED_TRACE(folder_fails);
    write_bytes(a_, "former a");
    file_system.flushed = [&](const std::string& path) {
      errno = EIO;
      return std::filesystem::is_directory(path) != folder_fails;
    };
    const Status status = write_together({{a_, "new a", {}}, {b_, "new b", {}}});
    EXPECT_EQ(status.message(), a_ + ": cannot be written: Input/output error");
    EXPECT_EQ(read_bytes(a_), "former a");
    EXPECT_EQ(folder_.names(), std::vector<std::string>{"a"});
  }
}

TEST_P(OutputFiles, KeepOwnerAndGroup) {
  if (geteuid() != 0) GTEST_SKIP() << "only root gives files away";
  write_bytes(a_, "former a");
  ASSERT_EQ(chown(a_.c_str(), 12345, 54321), 0);
  ASSERT_EQ(chmod(a_.c_str(), 0640), 0);
  EXPECT_TRUE(tools::check_writable("--out", a_).ok());
  EXPECT_TRUE(write_together({{a_, "new a", {}}}).ok());
  EXPECT_EQ(read_bytes(a_), "new a");
  struct stat now {};
  ASSERT_EQ(stat(a_.c_str(), &now), 0);
  EXPECT_EQ(now.st_uid, 12345U);
  EXPECT_EQ(now.st_gid, 54321U);
  EXPECT_EQ(now.st_mode & 07777U, 0640U);
}

TEST_P(OutputFiles, OfOthersAreNotTakenFromThem) {
  if (geteuid() != 0) GTEST_SKIP() << "only root becomes somebody else";
  write_bytes(a_, "former a");
  ASSERT_EQ(chmod(a_.c_str(), 0666), 0);
  ASSERT_EQ(chown(folder_.path("").c_str(), 12345, 12345), 0);
  ASSERT_EQ(seteuid(12345), 0);
  const Status checked = tools::check_writable("--out", a_);
  const Status written = write_together({{a_, "new a", {}}});
  ASSERT_EQ(seteuid(0), 0);
  const std::string sentence = a_ +
                               ": cannot be written: its owner and group (0:0) cannot be kept: "
                               "Operation not permitted";
  EXPECT_EQ(checked.message(), "--out " + sentence);
  EXPECT_EQ(written.message(), sentence);
  EXPECT_EQ(read_bytes(a_), "former a");
  EXPECT_EQ(folder_.names(), std::vector<std::string>{"a"});
}

INSTANTIATE_TEST_SUITE_P(Everywhere, OutputFiles,
                         testing::Values(FileSystem{}, FileSystem{.exchanges = false},
                                         FileSystem{.exchanges = false, .links = false}),
                         [](const auto& system) -> std::string {
                           if (system.param.exchanges) return "Usual";
                           return system.param.links ? "WithoutExchange" : "WithoutLinks";
                         });

}  // namespace
}  // namespace heed::tests
