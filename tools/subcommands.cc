#include "tools/command.h"

namespace heed::tools {

void add_subcommands(CLI::App& app, Action& action) {
  add_info(app, action);
  add_attend(app, action);
  add_check(app, action);
  add_bench(app, action);
  add_compare(app, action);
  add_report(app, action);
  add_plan(app, action);
  add_generate(app, action);
}

}  // namespace heed::tools
