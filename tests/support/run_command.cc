#include "tests/support/run_command.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <initializer_list>
#include <iterator>
#include <thread>

#include "heed/cpu.h"

namespace heed::tests {
namespace {

/// What programs of another architecture run in.
constexpr std::initializer_list<const char*> kEmulator = {HEED_EMULATOR};

/// What to run, and how.
struct Launch {
  std::vector<std::string> arguments;
  Environment environment = {};
  const char* program = HEED_COMMAND;
  int resource = RLIMIT_CORE;  ///< which has a limit: signals need leave no dump
  std::uint64_t limit = 0;
  Channels channels = {};
};

/// Makes `descriptor` what a channel says, or `file`; only after fork.
void open_channel(const std::string& channel, int file, int descriptor) {
  if (channel.empty()) {
    dup2(file, descriptor);
  } else if (channel == kClosed) {
    close(descriptor);
  } else if (channel == kBrokenPipe) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) _exit(127);
    dup2(ends[1], descriptor);
  } else {
    dup2(open(channel.c_str(), O_WRONLY | O_CLOEXEC), descriptor);
  }
}

/// Replaces the calling process; only after fork.
[[noreturn]] void become_heed(const Launch& launch, int out, int err) {
  dup2(open("/dev/null", O_RDONLY), STDIN_FILENO);
  open_channel(launch.channels.out, out, STDOUT_FILENO);
  open_channel(launch.channels.err, err, STDERR_FILENO);
  unsetenv("HEED_ISA");
  for (const auto& [name, value] : launch.environment) setenv(name.c_str(), value.c_str(), 1);
  std::vector<char*> argv;
  for (const char* const word : kEmulator) argv.push_back(const_cast<char*>(word));
  argv.push_back(const_cast<char*>(launch.program));
  for (const std::string& argument : launch.arguments) {
    argv.push_back(const_cast<char*>(argument.c_str()));
  }
  argv.push_back(nullptr);
  const auto resource = static_cast<__rlimit_resource>(launch.resource);
  rlimit limit{};
  getrlimit(resource, &limit);
  limit.rlim_cur = launch.limit;
  setrlimit(resource, &limit);
  execvp(argv.front(), argv.data());
  _exit(127);
}

/// A program that runs.
class Process {
 public:
  explicit Process(const Launch& launch, const std::string& printed_before = {}) {
    write_out(printed_before);
    child_ = fork();
    if (child_ == 0) become_heed(launch, out_, err_);
  }
  ~Process() {
    close(out_);
    close(err_);
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  void send(int signal) const { kill(child_, signal); }

  bool has_ended() const {
    siginfo_t info{};
    waitid(P_PID, static_cast<id_t>(child_), &info, WEXITED | WNOHANG | WNOWAIT);
    return info.si_pid != 0;
  }

  CommandResult wait(const std::string& printed_after = {}) const {
    int status = 0;
    EXPECT_EQ(waitpid(child_, &status, 0), child_);
    write_out(printed_after);
    CommandResult result;
    result.exit = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    result.out = read_bytes(folder_.path("out"));
    result.err = read_bytes(folder_.path("err"));
    return result;
  }

 private:
  int create(const char* name) const {
    return open(folder_.path(name).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  }
  void write_out(const std::string& text) const {
    EXPECT_EQ(write(out_, text.data(), text.size()), std::ssize(text));
  }

  const Folder folder_;
  const int out_ = create("out"), err_ = create("err");
  pid_t child_ = -1;
};

CommandResult run_program(const Launch& launch) { return Process(launch).wait(); }

}  // namespace

bool emulated() { return kEmulator.size() > 0; }

CommandResult run_heed(const std::vector<std::string>& arguments, const Environment& environment) {
  return run_program({.arguments = arguments, .environment = environment});
}

CommandResult run_faulty_heed(const std::vector<std::string>& arguments) {
  return run_program({.arguments = arguments, .program = HEED_FAULTY_COMMAND});
}

CommandResult run_heed_with_limit(int resource, std::uint64_t limit,
                                  const std::vector<std::string>& arguments) {
  return run_program({.arguments = arguments, .resource = resource, .limit = limit});
}

CommandResult run_heed_on(const Channels& channels, const std::vector<std::string>& arguments) {
  return run_program({.arguments = arguments, .channels = channels});
}

CommandResult run_heed_between(const std::string& before, const std::string& after,
                               const std::vector<std::string>& arguments) {
  return Process({.arguments = arguments}, before).wait(after);
}

CommandResult interrupt_heed(const std::vector<std::string>& arguments, int signal,
                             const std::function<bool()>& ready) {
  constexpr int kMostPolls = 1000;
  constexpr std::chrono::milliseconds kPoll{10};
  const Process process({.arguments = arguments});
  for (int i = 0; i < kMostPolls && !process.has_ended(); ++i) {
    if (ready()) process.send(signal);
    std::this_thread::sleep_for(kPoll);
  }
  if (!process.has_ended()) {
    ADD_FAILURE() << "signal " << signal << " does not end the program";
    process.send(SIGKILL);
  }
  return process.wait();
}

void expect_fault(const CommandResult& result, const std::string& part) {
  EXPECT_EQ(result.exit, 2) << result.err;
  EXPECT_EQ(result.out, "");
  EXPECT_EQ(std::ranges::count(result.err, '\n'), 1) << result.err;
  EXPECT_TRUE(result.err.ends_with('\n')) << result.err;
  EXPECT_TRUE(result.err.starts_with("heed")) << result.err;
  EXPECT_NE(result.err.find(part), std::string::npos) << result.err << "has no \"" << part << '"';
}

void expect_fine(const CommandResult& result) {
  EXPECT_EQ(result.exit, 0) << result.err;
  EXPECT_EQ(result.err, "");
}

std::vector<std::string> supported_command_isas() {
  std::vector<std::string> names;
  for (const IsaInfo& isa : isas()) {
    if (isa.supported && isa.name != "toy") names.emplace_back(isa.name);
  }
  return names;
}

std::string chosen_command_isa() {
  for (const IsaInfo& isa : isas()) {
    if (isa.chosen) return std::string(isa.name);
  }
  return {};
}

Folder::Folder() {
  std::string name = testing::TempDir() + "/heed-XXXXXX";
  const char* const made = mkdtemp(name.data());
  if (made == nullptr) std::abort();
  folder_ = made;
}

Folder::~Folder() {
  std::error_code error;
  std::filesystem::remove_all(folder_, error);
}

std::vector<std::string> Folder::names() const {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
    names.push_back(entry.path().filename().string());
  }
  std::ranges::sort(names);
  return names;
}

std::string bytes_of(std::span<const float> data) {
  return {reinterpret_cast<const char*>(data.data()), data.size_bytes()};
}

std::string read_bytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

void write_bytes(const std::string& path, const std::string& bytes) {
  std::ofstream file(path, std::ios::binary);
  file << bytes;
  EXPECT_TRUE(file.flush()) << path;
}

}  // namespace heed::tests
