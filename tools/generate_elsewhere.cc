// heed generate, as heed knows it: heed-generate does the work, the only program that loads
// OpenBLAS. Loading it starts threads and allocates for every CPU, and ends or stops a process that
// may not.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/App.hpp>
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <system_error>

#include "tools/command.h"

namespace heed::tools {
namespace {

constexpr const char* kProgram = "heed-generate";

/// Whether the command line's first word, options apart, is this one.
bool asks_for(std::string_view subcommand, int argc, char** argv) {
  char** const end = argv + argc;
  char** const word = std::find_if(argv + 1, end, [](const char* text) { return *text != '-'; });
  return word != end && *word == subcommand;
}

}  // namespace

void add_generate(CLI::App& app, Action&) { app.add_subcommand("generate", kGenerateDescription); }

Status hand_over(int argc, char** argv) {
  if (argc < 1 || !asks_for("generate", argc, argv)) return {};
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) {
    return {StatusCode::unsupported,
            fmt::format("/proc/self/exe, beside which {} lies, cannot be read: {}", kProgram,
                        error.message())};
  }
  // Beside heed where both were built, in HEED_PROGRAMS where they were installed.
  const auto folder = self.parent_path();
  const auto installed = (folder / HEED_PROGRAMS / kProgram).lexically_normal();
  execv((folder / kProgram).c_str(), argv);
  execv(installed.c_str(), argv);
  return {StatusCode::unsupported,
          fmt::format("{} cannot be started: {}", installed.string(), std::strerror(errno))};
}

}  // namespace heed::tools
