// heed report: a page for browsers of JSON files of heed bench, and of one of bench/peers/run.
#include <fmt/format.h>

#include <CLI/App.hpp>
#include <memory>
#include <string>
#include <vector>

#include "bench/console.h"
#include "bench/page.h"
#include "tools/command.h"
#include "tools/output_files.h"
#include "tools/status.h"
#include "tools/text_lines.h"

namespace heed::tools {
namespace {

/// The command line, as given.
struct ReportArguments {
  std::vector<std::string> benches;
  std::string peers, out;
};

Status read_source(const std::string& path, bench::PageSource& source) {
  source.path = path;
  return read_text(path, source.text);
}

Outcome report(const ReportArguments& options) {
  HEED_RETURN_IF_ERROR(bench::check_pages());
  if (!options.out.empty()) HEED_RETURN_IF_ERROR(check_writable("--out", options.out));
  std::vector<bench::PageSource> benches(options.benches.size());
  for (std::size_t i = 0; i < benches.size(); ++i) {
    HEED_RETURN_IF_ERROR(read_source(options.benches[i], benches[i]));
  }
  bench::PageSource peers;
  if (!options.peers.empty()) HEED_RETURN_IF_ERROR(read_source(options.peers, peers));
  std::string page;
  HEED_RETURN_IF_ERROR(bench::make_page(benches, options.peers.empty() ? nullptr : &peers, page));
  if (!options.out.empty()) return write_together({{options.out, page, {}}});
  fmt::print("{}", page);
  return bench::flush_output();
}

}  // namespace

void add_report(CLI::App& app, Action& action) {
  CLI::App* const command =
      app.add_subcommand("report", "Make a page for browsers of JSON files of heed bench");
  const auto o = std::make_shared<ReportArguments>();
  command->add_option("FILES", o->benches, "Files of heed bench --json, of any machines")
      ->type_name("FILE")
      ->required();
  command->add_option("--peers", o->peers, "A file of bench/peers/run --json")->type_name("FILE");
  command->add_option("--out", o->out, "Where to write the page (standard output)")
      ->type_name("FILE");
  command->callback([o, &action] { action = [o] { return report(*o); }; });
}

}  // namespace heed::tools
