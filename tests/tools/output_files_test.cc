// Output files appear together, whole, or not at all, whatever lies in their way.
#include "tools/output_files.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <string>
#include <vector>

#include "tests/support/run_command.h"

namespace heed::tests {
namespace {

using tools::write_together;

class OutputFiles : public testing::Test {
 protected:
  Folder folder_;
  const std::string a_ = folder_.path("a"), b_ = folder_.path("b");
};

TEST_F(OutputFiles, LeaveTheRemainsOfOthersAlone) {
  std::vector<std::string> names = {"a", "b"};
  for (const char* const number : {"0", "1", "3"}) {
    const std::string name = ".heed-" + std::to_string(getpid()) + "-" + number + ".tmp";
    write_bytes(folder_.path(name), "remains");
    names.insert(names.end() - 2, name);
  }
  const std::array<float, 2> data = {1, 2};
  const Status status = write_together({{a_, "head of a", data}, {b_, "all of b", {}}});
  EXPECT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(read_bytes(a_), "head of a" + bytes_of(data));
  EXPECT_EQ(read_bytes(b_), "all of b");
  EXPECT_EQ(folder_.names(), names);
  EXPECT_EQ(read_bytes(folder_.path(names.front())), "remains");
}

volatile std::sig_atomic_t signals = 0;

TEST_F(OutputFiles, AreWithdrawnWhereASignalComesWithTheLastByte) {
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

TEST_F(OutputFiles, CanBeOpenFilesThatHaveLostTheirName) {
  const int file = open(a_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  ASSERT_GE(file, 0);
  unlink(a_.c_str());
  const std::string path = "/dev/fd/" + std::to_string(file);
  EXPECT_TRUE(tools::check_writable("--out", path).ok());
  const Status status = write_together({{path, "all", {}}});
  EXPECT_TRUE(status.ok()) << status.message();
  char text[8] = {};
  EXPECT_EQ(read(file, text, sizeof text), 3);
  EXPECT_STREQ(text, "all");
  EXPECT_EQ(folder_.names(), std::vector<std::string>());
  close(file);
}

}  // namespace
}  // namespace heed::tests
