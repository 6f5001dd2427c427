// `heed bench`: runs the workloads, measures the machine's limits beside each, and reports.
#pragma once

#include <string>
#include <vector>

#include "bench/report.h"
#include "bench/workloads.h"
#include "heed/status.h"

namespace heed::bench {

struct BenchOptions {
  std::vector<Workload> workloads;  ///< what to measure
  /// Each ≥ 1; empty: usual_threads(). Those that this process cannot have become those it can
  /// have, and the table says so.
  std::vector<int> threads;
  std::string isa;       ///< as in PlanOptions
  double seconds = 0.8;  ///< > 0: the time that one workload on one thread count is repeated for
  Format format = Format::table;  ///< of what is printed
  bool pinned = false;            ///< each thread to a CPU of its own
  bool warm = false;              ///< always the same keys and values, not rotating copies of them
};

/// The numbers of threads of a run that names none: 1, and one per CPU of this process.
std::vector<int> usual_threads();

/// Prints a report on standard output, row by row where it has rows, and progress on standard error
/// where that is a terminal; where nothing failed `json`, unless null, is the results as JSON text.
/// Fails with invalid_argument (or unsupported, for the ISA) where an option is wrong, and with
/// internal when a result lies further from the float64 reference than rounding explains.
Status run_bench(const BenchOptions& options, std::string* json = nullptr);

}  // namespace heed::bench
