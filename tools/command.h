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
void add_plan(CLI::App& app, Action& action);
void add_generate(CLI::App& app, Action& action);

}  // namespace heed::tools
