// heed generate, in a build without OpenBLAS.
#include <CLI/App.hpp>

#include "tools/command.h"

namespace heed::tools {

void add_generate(CLI::App& app, Action& action) {
  CLI::App* const command = app.add_subcommand(
      "generate", "Continue texts with a language model; not in this build, which has no OpenBLAS");
  command->allow_extras();
  command->callback([&action] {
    action = [] {
      return Outcome{{StatusCode::unsupported, "this heed was built without OpenBLAS"}};
    };
  });
}

Status hand_over(int, char**) { return {}; }

}  // namespace heed::tools
