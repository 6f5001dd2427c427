// heed plan: how the workloads of bench/ would be cut for a number of threads, and how evenly.
// Nothing is computed, so that the threads may be those of another machine.
#include <fmt/format.h>

#include <CLI/App.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "bench/attention_case.h"
#include "bench/console.h"
#include "bench/runner.h"
#include "bench/workloads.h"
#include "heed/attention.h"
#include "heed/forecast.h"
#include "tools/arguments.h"
#include "tools/command.h"
#include "tools/status.h"
#include "tools/workload_options.h"

namespace heed::tools {
namespace {

/// The command line, as given.
struct PlanArguments {
  WorkloadOptions workloads;
  std::string threads, simulate, isa;
};

/// The workloads with attention among those that are chosen; there must be one.
Status choose_attention(const WorkloadOptions& options, std::vector<bench::Workload>& workloads) {
  HEED_RETURN_IF_ERROR(choose_workloads(options, workloads));
  std::erase_if(workloads, [](const bench::Workload& workload) {
    return !std::holds_alternative<bench::AttentionWorkload>(workload.what);
  });
  if (!workloads.empty()) return {};
  return {StatusCode::invalid_argument,
          fmt::format("workload (\"{}\") must match the name of at least one with attention",
                      options.regex)};
}

/// Prints the plan of one workload.
Status show(const bench::Workload& workload, int threads, const std::string& isa) {
  const bench::AttentionCase described(std::get<bench::AttentionWorkload>(workload.what));
  const PlanOptions options{.isa = isa, .workers = threads};
  Plan plan;
  Status status = plan_attention(described.config(), described.batch(), options, plan);
  if (!status) return status;
  fmt::print("{} on {} {}\n{}\n", workload.name, threads, threads == 1 ? "thread" : "threads",
             plan.describe());
  return bench::flush_output();
}

/// One row: how a workload would spread over so many workers.
Status simulate(const bench::Workload& workload, std::size_t width, int workers,
                const std::string& isa) {
  const bench::AttentionCase described(std::get<bench::AttentionWorkload>(workload.what));
  const PlanOptions options{.isa = isa, .workers = workers};
  Plan plan;
  Forecast forecast;
  HEED_RETURN_IF_ERROR(plan_attention(described.config(), described.batch(), options, plan));
  HEED_RETURN_IF_ERROR(heed::forecast(plan, forecast));
  const double speedup = forecast.work / forecast.makespan;
  fmt::print("{:<{}}  {:>7}  {:>7}  {:>6}  {:>8.1f}  {:>9.1f}%  {:>11.1f}%\n", workload.name, width,
             workers, forecast.items, forecast.splits, speedup, 100 * speedup / workers,
             100 * forecast.longest / forecast.makespan);
  return bench::flush_output();
}

/// The table of --simulate.
Status simulate_all(const std::vector<bench::Workload>& workloads, const std::vector<int>& workers,
                    const std::string& isa) {
  std::size_t width = std::string_view("workload").size();
  for (const bench::Workload& workload : workloads) width = std::max(width, workload.name.size());
  fmt::print("{:<{}}  workers    items  splits  speed-up  efficiency  longest item\n", "workload",
             width);
  for (const bench::Workload& workload : workloads) {
    for (const int count : workers) {
      HEED_RETURN_IF_ERROR(simulate(workload, width, count, isa));
    }
  }
  return {};
}

Outcome show_all(const PlanArguments& options) {
  std::vector<int> threads = bench::usual_threads();
  if (!options.threads.empty()) {
    Status status = parse_thread_list("--threads", options.threads, threads);
    if (!status) return {status};
  }
  std::vector<bench::Workload> workloads;
  HEED_RETURN_IF_ERROR(choose_attention(options.workloads, workloads));
  if (!options.simulate.empty()) {
    HEED_RETURN_IF_ERROR(parse_thread_list("--simulate", options.simulate, threads));
    return simulate_all(workloads, threads, options.isa);
  }
  for (const bench::Workload& workload : workloads) {
    for (const int count : threads) {
      HEED_RETURN_IF_ERROR(show(workload, count, options.isa));
    }
  }
  return {};
}

}  // namespace

void add_plan(CLI::App& app, Action& action) {
  CLI::App* const command = app.add_subcommand(
      "plan", "Show how workloads are cut for a number of threads, and how evenly");
  const auto o = std::make_shared<PlanArguments>();
  const auto option = [&](const char* name, std::string& value, const char* type,
                          const char* description) {
    command->add_option(name, value, description)->type_name(type);
  };
  add_workload_options(*command, o->workloads);
  option("--threads", o->threads, "N,N...",
         "Numbers of threads (1, and one per CPU that it may use)");
  option(
      "--simulate", o->simulate, "N,N...",
      "A table of what these numbers of workers would gain, by estimated costs, in place of plans");
  option("--isa", o->isa, "NAME", "Instruction set (HEED_ISA, else the best)");
  command->callback([o, &action] { action = [o] { return show_all(*o); }; });
}

}  // namespace heed::tools
