// heed bench: the workloads of bench/, measured on this machine.
#include <CLI/App.hpp>
#include <algorithm>
#include <iterator>
#include <memory>
#include <string>

#include "bench/page.h"
#include "bench/runner.h"
#include "tools/arguments.h"
#include "tools/command.h"
#include "tools/output_files.h"
#include "tools/workload_options.h"

namespace heed::tools {
namespace {

/// The command line, as given.
struct BenchArguments {
  bench::BenchOptions bench;
  WorkloadOptions workloads;
  std::string threads, seconds, format, json;
};

Status parse_format(const std::string& text, bench::Format& format) {
  if (text.empty()) return {};
  const auto* const name = std::ranges::find(bench::kFormatNames, text);
  if (name == std::end(bench::kFormatNames)) {
    return bad_value("--format", text, "table, md, csv, json or html");
  }
  format = static_cast<bench::Format>(name - bench::kFormatNames);
  return format == bench::Format::html ? bench::check_pages() : Status();
}

Outcome measure(BenchArguments& options) {
  Status status;
  if (!options.threads.empty()) {
    status = parse_thread_list("--threads", options.threads, options.bench.threads);
  }
  if (status.ok() && !options.seconds.empty()) {
    status = parse_seconds("--seconds", options.seconds, options.bench.seconds);
  }
  if (status.ok()) status = parse_format(options.format, options.bench.format);
  if (status.ok() && !options.json.empty()) status = check_writable("--json", options.json);
  if (status.ok()) status = choose_workloads(options.workloads, options.bench.workloads);
  std::string json;
  if (status.ok()) status = bench::run_bench(options.bench, &json);
  if (status.ok() && !options.json.empty()) status = write_together({{options.json, json, {}}});
  return {status};
}

}  // namespace

void add_bench(CLI::App& app, Action& action) {
  CLI::App* const command =
      app.add_subcommand("bench", "Measure workloads, and the machine's limits beside each");
  const auto o = std::make_shared<BenchArguments>();
  const auto option = [&](const char* name, std::string& value, const char* type,
                          const char* description) {
    command->add_option(name, value, description)->type_name(type);
  };
  add_workload_options(*command, o->workloads);
  option("--threads", o->threads, "N,N...",
         "Numbers of threads (1, and one per CPU that it may use)");
  option("--isa", o->bench.isa, "NAME", "Instruction set (HEED_ISA, else the best)");
  option("--seconds", o->seconds, "S", "Time per workload and number of threads (0.8)");
  option("--format", o->format, "FORMAT",
         "Of what is printed: table, md, csv, json or html (table)");
  option("--json", o->json, "FILE", "Where to write the results as JSON");
  command->add_flag("--pin", o->bench.pinned, "Pin each thread to a CPU, one of each core first");
  command->add_flag("--warm", o->bench.warm,
                    "Use the same keys and values every time, not rotating copies of them");
  command->callback([o, &action] { action = [o] { return measure(*o); }; });
}

}  // namespace heed::tools
