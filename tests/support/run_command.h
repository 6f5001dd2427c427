// Running the `heed` command, and a folder for its files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace heed::tests {

struct CommandResult {
  int exit = -1;  ///< 128 + the signal where one ended the program
  std::string out, err;
};

using Environment = std::vector<std::pair<std::string, std::string>>;

/// Whether heed runs in an emulator of another architecture, where it cannot start other programs.
bool emulated();

/// Runs heed with these arguments, HEED_ISA unset unless `environment` sets it, and no terminal.
CommandResult run_heed(const std::vector<std::string>& arguments,
                       const Environment& environment = {});

/// Runs a heed whose checks fail.
CommandResult run_faulty_heed(const std::vector<std::string>& arguments);

/// Runs with a limit on a resource: RLIMIT_FSIZE stands for a full disk, RLIMIT_AS for a full
/// memory.
CommandResult run_heed_with_limit(int resource, std::uint64_t limit,
                                  const std::vector<std::string>& arguments);

/// What stands for a channel that is closed, and for one whose reader is gone.
inline constexpr const char *kClosed = "closed", *kBrokenPipe = "broken pipe";

/// Where standard output and standard error lead: to a file that the result holds where empty, else
/// to what this path names, or to one of the above.
struct Channels {
  std::string out = {}, err = {};
};

/// Runs with other channels.
CommandResult run_heed_on(const Channels& channels, const std::vector<std::string>& arguments);

/// Runs where standard output has had one text before, and gets another one afterwards.
CommandResult run_heed_between(const std::string& before, const std::string& after,
                               const std::vector<std::string>& arguments);

/// Starts a heed and, when `ready` says so, sends it the signal until it ends: one may come just
/// before it waits. One that does not end is a failure, and is killed.
CommandResult interrupt_heed(const std::vector<std::string>& arguments, int signal,
                             const std::function<bool()>& ready);

/// Expects exit 0, and nothing on standard error.
void expect_fine(const CommandResult& result);

/// Expects exit 2, nothing on standard output, and one line on standard error that contains `part`.
void expect_fault(const CommandResult& result, const std::string& part);

/// The ISAs of the command that this machine can run, in the order of the list of all.
std::vector<std::string> supported_command_isas();

/// The one that it chooses by itself, which on some processors is not the first.
std::string chosen_command_isa();

/// A folder that lives as long as this does.
class Folder {
 public:
  Folder();
  ~Folder();
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  /// The names in it, sorted, hidden ones included.
  std::vector<std::string> names() const;

 private:
  std::filesystem::path folder_;
};

/// The bytes of these numbers, as a file holds them.
std::string bytes_of(std::span<const float> data);

std::string read_bytes(const std::string& path);
void write_bytes(const std::string& path, const std::string& bytes);

}  // namespace heed::tests
