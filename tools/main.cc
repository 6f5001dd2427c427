// heed: attention on NumPy files, proof, figures and plans of this build on this machine, and text
// from language models.
//
// Ends with 0 where all is well, 1 where a check failed, and 2 with one line on standard error
// where usage or input is wrong.
#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <exception>
#include <new>
#include <string>
#include <string_view>

#include "bench/console.h"
#include "heed/version.h"
#include "tools/command.h"

namespace heed::tools {
namespace {

constexpr int kFine = 0, kCheckFailed = 1, kBadUsage = 2;
constexpr std::string_view kSubcommands =
    "a subcommand: info, attend, check, bench, compare, report, plan or generate";

/// The text without control characters, so that a message is one line whatever a file is called.
std::string one_line(std::string_view text) {
  std::string line;
  for (const char c : text) {
    const auto code = static_cast<unsigned char>(c);
    if (c == '\n') {
      line += "\\n";
    } else if (code < 0x20 || code == 0x7F) {
      line += fmt::format("\\x{:02x}", code);
    } else {
      line += c;
    }
  }
  return line;
}

int fail(std::string_view who, std::string_view message, int code = kBadUsage) {
  bench::show_progress("");
  std::fflush(stdout);
  bench::write_note(fmt::format("{}: {}\n", who, one_line(message)));
  return code;
}

/// The subcommand that the command line names, or null.
CLI::App* subcommand_of(CLI::App& app) {
  const auto given = app.get_subcommands();
  return given.empty() ? nullptr : given.front();
}

std::string name_of(const CLI::App* subcommand) {
  return subcommand == nullptr ? "heed" : "heed " + subcommand->get_name();
}

/// A sentence of the library about a field begins with it, "field (value)"; where the field is an
/// option here, it is called so. Other messages may begin with the same word: "out of memory".
std::string with_option_name(const CLI::App& subcommand, const std::string& message) {
  const std::string option = "--" + message.substr(0, message.find(" ("));
  return subcommand.get_option_no_throw(option) == nullptr ? message : "--" + message;
}

/// What the parser found, in a sentence with a rule.
std::string sentence_of(const CLI::ParseError& error, bool has_subcommand) {
  const auto code = static_cast<CLI::ExitCodes>(error.get_exit_code());
  std::string text = error.what();
  const std::string subject = text.substr(0, text.find(':'));
  if (code == CLI::ExitCodes::ArgumentMismatch) {
    return subject + " must be given once, with one value";
  }
  // All options take text, so that only a flag's value can fail to convert.
  if (code == CLI::ExitCodes::ConversionError) return text + ": a flag must have no value";
  if (code != CLI::ExitCodes::ExtrasError) return text;
  const std::string arguments = text.substr(std::min(text.find(':') + 2, text.size()));
  return fmt::format("argument (\"{}\") must be {}", arguments,
                     has_subcommand ? "one that this subcommand knows" : kSubcommands);
}

int fail_to_parse(CLI::App& app, const CLI::ParseError& error) {
  const CLI::App* const subcommand = subcommand_of(app);
  const std::string who = name_of(subcommand);
  return fail(who,
              fmt::format("{} (see {} --help)", sentence_of(error, subcommand != nullptr), who));
}

/// An option with an empty value where there must be none, or an empty string.
std::string empty_option(const CLI::App& subcommand) {
  for (const CLI::Option* option : subcommand.get_options()) {
    if (option->get_type_name() == kTextType) continue;
    const auto& values = option->results();
    if (std::ranges::find(values, std::string()) != values.end()) return option->get_name();
  }
  return {};
}

int end(const CLI::App& subcommand, const Outcome& outcome) {
  const std::string who = name_of(&subcommand);
  if (!outcome.status) {
    // An internal fault is one of heed's own: a result that proved wrong, not a wrong wish.
    const bool internal = outcome.status.code() == StatusCode::internal;
    return fail(who, with_option_name(subcommand, outcome.status.message()),
                internal ? kCheckFailed : kBadUsage);
  }
  if (Status status = bench::flush_output(); !status) return fail(who, status.message());
  return outcome.passed ? kFine : kCheckFailed;
}

int run(int argc, char** argv) {
  if (Status status = hand_over(argc, argv); !status) {
    return fail("heed generate", status.message());
  }
  CLI::App app("Multi-head attention for CPUs.", "heed");
  app.set_version_flag("--version", "heed " HEED_VERSION_STRING);
  app.require_subcommand(0, 1);
  Action action;
  add_subcommands(app, action);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() != static_cast<int>(CLI::ExitCodes::Success)) {
      return fail_to_parse(app, error);
    }
    app.exit(error);  // prints what --help and --version ask for
    const Status status = bench::flush_output();
    return status.ok() ? kFine : fail("heed", status.message());
  }
  const CLI::App* const subcommand = subcommand_of(app);
  if (subcommand == nullptr) {
    return fail("heed",
                fmt::format("the first argument must be {} (see heed --help)", kSubcommands));
  }
  if (const std::string option = empty_option(*subcommand); !option.empty()) {
    return fail(name_of(subcommand), option + " (\"\") must not be empty");
  }
  try {
    return end(*subcommand, action());
  } catch (const std::bad_alloc&) {
    return fail(name_of(subcommand), "there is too little memory");
  } catch (const std::exception& error) {
    const Status printed = bench::flush_output();
    return fail(name_of(subcommand), printed.ok() ? error.what() : printed.message());
  }
}

}  // namespace
}  // namespace heed::tools

int main(int argc, char** argv) {
  // A file that grows beyond the limit is a write error like others, not the end of the program.
  std::signal(SIGXFSZ, SIG_IGN);
  try {
    return heed::tools::run(argc, argv);
  } catch (...) {  // before anything was parsed, and nothing but memory can be missing
    std::fputs("heed: there is too little memory\n", stderr);
    return heed::tools::kBadUsage;
  }
}
