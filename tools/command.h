// The subcommands of `heed`: one file each, registered by one function each.
#pragma once

#include <CLI/App.hpp>
#include <functional>
#include <utility>

#include "heed/status.h"

namespace heed::tools {

/// How a subcommand ended: a fault of usage or input, or else whether all checks passed.
struct Outcome {
  /// Implicit, so that a Status can be handed on.
  Outcome(Status ended = {}, bool all_passed = true)
      : status(std::move(ended)), passed(all_passed) {}

  Status status;
  bool passed;
};

/// The type of options whose values may be empty.
inline constexpr const char* kTextType = "TEXT";

/// What the command line asks for; set while it is parsed.
using Action = std::function<Outcome()>;

void add_info(CLI::App& app, Action& action);
void add_attend(CLI::App& app, Action& action);
void add_check(CLI::App& app, Action& action);
void add_bench(CLI::App& app, Action& action);
void add_compare(CLI::App& app, Action& action);
void add_report(CLI::App& app, Action& action);
void add_plan(CLI::App& app, Action& action);
void add_generate(CLI::App& app, Action& action);

inline constexpr const char* kGenerateDescription =
    "Continue texts with a language model, a checkpoint in the format of llama2.c";

/// Registers the subcommands of the program that main.cc is linked into.
void add_subcommands(CLI::App& app, Action& action);

/// Replaces this program by another one where the command line asks for what that one does. Returns
/// otherwise, and with a fault where the other program cannot be started.
Status hand_over(int argc, char** argv);

}  // namespace heed::tools
