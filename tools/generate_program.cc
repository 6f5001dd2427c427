// heed-generate: `heed generate`, in a program of its own.
#include "tools/command.h"

namespace heed::tools {

void add_subcommands(CLI::App& app, Action& action) { add_generate(app, action); }

Status hand_over(int, char**) { return {}; }

}  // namespace heed::tools
