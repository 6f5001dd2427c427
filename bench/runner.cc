#include "bench/runner.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <exception>
#include <new>

#include "bench/attention_case.h"
#include "bench/bench.h"
#include "bench/pinning.h"
#include "bench/report.h"
#include "heed/attention.h"
#include "heed/cpu.h"
#include "heed/executor.h"
#include "heed/tensor_data.h"

namespace heed::bench {
namespace {

constexpr int kMaxThreads = 1024;

Status check_options(const BenchOptions& options) {
  for (const int threads : options.threads) {
    if (threads >= 1 && threads <= kMaxThreads) continue;
    return {StatusCode::invalid_argument,
            fmt::format("threads ({}) must be 1 to {}", threads, kMaxThreads)};
  }
  if (!(options.seconds > 0) || !std::isfinite(options.seconds)) {
    return {StatusCode::invalid_argument,
            fmt::format("seconds ({}) must be a finite number above 0", options.seconds)};
  }
  return {};
}

/// As many threads as heed gives a run that asks for so many.
Status available_threads(int asked, int& threads) {
  Executor executor;
  Status status = Executor::create(asked, executor);
  if (status.ok()) threads = executor.threads();
  return status;
}

/// The numbers of threads that runs will have, each once, and a note where they are not those that
/// were asked for.
Status choose_threads(const BenchOptions& options, std::vector<int>& chosen, std::string& note) {
  const std::vector<int> asked = options.threads.empty() ? usual_threads() : options.threads;
  std::vector<int> missed;
  int most = 0;
  for (const int count : asked) {
    int threads = 0;
    if (Status status = available_threads(count, threads); !status) return status;
    most = std::max(most, threads);
    if (threads != count) missed.push_back(count);
    if (std::ranges::find(chosen, threads) == chosen.end()) chosen.push_back(threads);
  }
  if (!missed.empty()) {
    note = fmt::format("threads: {} where {} are asked for, the most that this process can have\n",
                       most, fmt::join(missed, " or "));
  }
  return {};
}

/// Finds descriptions that heed refuses before anything is measured.
Status check_plans(const std::vector<Workload>& workloads, std::string_view isa) {
  for (const Workload& workload : workloads) {
    const auto* const attention = std::get_if<AttentionWorkload>(&workload.what);
    if (attention == nullptr) continue;
    const AttentionCase described(*attention);
    Plan plan;
    const Status status =
        plan_attention(described.config(), described.batch(), {.isa = isa, .workers = 1}, plan);
    if (status.ok()) continue;
    return {status.code(), fmt::format("{}: {}", workload.name, status.message())};
  }
  return {};
}

Status create_pool(const std::vector<Workload>& workloads, const std::vector<int>& threads,
                   const Setting& setting, Pool& pool) {
  std::size_t floats = 0;
  for (const Workload& workload : workloads) {
    floats = std::max(floats, pool_floats(workload, setting));
  }
  Status status = Pool::create(floats, setting.pages(), pool);
  if (status.ok()) pool.touch(std::ranges::max(threads));
  return status;
}

/// Measures every workload on every thread count and prints as it goes.
Status measure_all(const std::vector<Workload>& workloads, const std::vector<int>& threads,
                   const Setting& setting, const Report& report, std::vector<Result>& results) {
  Pool pool;
  if (Status status = create_pool(workloads, threads, setting, pool); !status) return status;
  const std::size_t steps = workloads.size() * threads.size();
  for (const Workload& workload : workloads) {
    const std::unique_ptr<Bench> bench = make_bench(workload, setting, pool);
    for (const int count : threads) {
      report.progress(results.size() + 1, steps, workload.name, count);
      Result result;
      result.name = workload.name;
      result.shape = workload.shape;
      result.beside = workload.beside;
      result.kind = workload.kind();
      result.isa = setting.isa;
      if (Status status = bench->measure(count, result); !status) return status;
      result.efficiency = efficiency_of(result, results);
      if (Status status = report.row(result); !status) return status;
      results.push_back(std::move(result));
    }
  }
  return {};
}

Status judge(const std::vector<Result>& results) {
  for (const Result& result : results) {
    if (result.accuracy.fault.empty()) continue;
    return {StatusCode::internal, fmt::format("{} on {} threads: {}", result.name, result.threads,
                                              result.accuracy.fault)};
  }
  return {};
}

Status run_checked(const BenchOptions& options, std::string* json) {
  if (Status status = check_options(options); !status) return status;
  const std::vector<Workload>& workloads = options.workloads;
  if (Status status = check_names(workloads); !status) return status;
  const StreamSize stream = stream_size();
  Setting setting{options.isa, options.seconds, options.warm, options.pinned,
                  static_cast<std::size_t>(stream.bytes) / sizeof(float)};
  if (Status status = resolve_isa(setting.isa); !status) return status;

  if (Status status = check_plans(workloads, setting.isa); !status) return status;
  std::vector<int> threads;
  std::string note;
  if (Status status = choose_threads(options, threads, note); !status) return status;
  if (setting.pinned) start_pinning();
  const Report report(options.format, setting, stream, workloads);
  if (Status status = report.head(note); !status) return status;
  std::vector<Result> results;
  if (Status status = measure_all(workloads, threads, setting, report, results); !status) {
    return status;
  }
  if (Status status = report.end(results); !status) return status;
  if (Status status = judge(results); !status) return status;
  if (json != nullptr) *json = report.json(results);
  return {};
}

}  // namespace

std::vector<int> usual_threads() {
  const int workers = cpu_info().default_workers;
  return workers == 1 ? std::vector{1} : std::vector{1, workers};
}

Status run_bench(const BenchOptions& options, std::string* json) {
  try {
    return run_checked(options, json);
  } catch (const std::bad_alloc&) {
    return {StatusCode::out_of_memory, "out of memory"};
  } catch (const std::exception& error) {
    return {StatusCode::internal, error.what()};
  }
}

}  // namespace heed::bench
