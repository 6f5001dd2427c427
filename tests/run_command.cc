#include "tests/run_command.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>

#include "heed/cpu.h"

namespace heed::tests {
namespace {

/// Replaces the calling process; only after fork.
[[noreturn]] void become_heed(const std::vector<std::string>& arguments,
                              const Environment& environment, const std::string& out,
                              const std::string& err) {
  const int flags = O_WRONLY | O_CREAT | O_TRUNC;
  dup2(open("/dev/null", O_RDONLY), STDIN_FILENO);
  dup2(open(out.c_str(), flags, 0600), STDOUT_FILENO);
  dup2(open(err.c_str(), flags, 0600), STDERR_FILENO);
  unsetenv("HEED_ISA");
  for (const auto& [name, value] : environment) setenv(name.c_str(), value.c_str(), 1);
  std::vector<char*> argv = {const_cast<char*>(HEED_COMMAND)};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  execv(HEED_COMMAND, argv.data());
  _exit(127);
}

}  // namespace

CommandResult run_heed(const std::vector<std::string>& arguments, const Environment& environment) {
  const Folder folder;
  const std::string out = folder.path("out"), err = folder.path("err");
  const pid_t child = fork();
  if (child == 0) become_heed(arguments, environment, out, err);
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  CommandResult result;
  result.exit = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  result.out = read_bytes(out);
  result.err = read_bytes(err);
  return result;
}

CommandResult run_heed_with_file_limit(const std::vector<std::string>& arguments,
                                       std::uint64_t bytes) {
  rlimit former{};
  EXPECT_EQ(getrlimit(RLIMIT_FSIZE, &former), 0);
  rlimit limit = former;
  limit.rlim_cur = bytes;
  EXPECT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
  CommandResult result = run_heed(arguments);
  EXPECT_EQ(setrlimit(RLIMIT_FSIZE, &former), 0);
  return result;
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
