// The options that choose workloads, of `heed bench` and `heed plan`.
#pragma once

#include <CLI/App.hpp>
#include <string>
#include <vector>

#include "bench/workloads.h"
#include "heed/status.h"

namespace heed::tools {

/// The command line, as given.
struct WorkloadOptions {
  std::string regex, file, kv_type, q_type;
  std::vector<std::string> shapes;
};

/// Registers --workload, --shape, --workloads, --kv-type and --q-type.
void add_workload_options(CLI::App& command, WorkloadOptions& options);

/// What they choose: of the workloads that --shape and --workloads describe, or else of the
/// built-in ones, those that --workload matches, with the types that are given.
Status choose_workloads(const WorkloadOptions& options, std::vector<bench::Workload>& workloads);

}  // namespace heed::tools
