#include "bench/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "bench/console.h"
#include "heed/cpu.h"
#include "heed/tensor_data.h"

namespace heed::bench {
namespace {

using Json = nlohmann::ordered_json;

std::string percentage(const Result& result) {
  if (result.kind == "prefill") return fmt::format("{:.1f}% peak", *result.percent_of_peak());
  return fmt::format("{:.1f}% {}", result.percent_of_bandwidth(),
                     result.copy_gbps ? "copy" : "read");
}

std::string optional_number(std::optional<double> number) {
  return number ? fmt::format("{:.1f}", *number) : "-";
}

template <class Number>
Json optional_json(const std::optional<Number>& number) {
  return number ? Json(*number) : Json(nullptr);
}

Json host_json(const Setting& setting, const StreamSize& stream) {
  const CpuInfo& cpu = cpu_info();
  Json features = Json::array();
  for (const std::string_view feature : cpu.features) features.push_back(std::string(feature));
  return {
      {"vendor", cpu.vendor},        {"model", cpu.model},       {"logical_cpus", cpu.logical_cpus},
      {"l1d_bytes", cpu.l1d_bytes},  {"l2_bytes", cpu.l2_bytes}, {"l3_bytes", cpu.l3_bytes},
      {"features", features},        {"warm", setting.warm},     {"seconds", setting.seconds},
      {"stream_bytes", stream.bytes}};
}

Json result_json(const Result& result, const Setting& setting) {
  Json json = {{"name", result.name},
               {"shape", result.shape},
               {"kind", result.kind},
               {"isa", std::string(setting.isa)},
               {"dtype", std::string(dtype_info(result.q_type).name)},
               {"kv", std::string(dtype_info(result.kv_type).name)},
               {"layout", result.layout},
               {"threads", result.threads},
               {"min_ms", result.timing.min_ms},
               {"median_ms", result.timing.median_ms},
               {"plan_ms", optional_json(result.plan_ms)},
               {"visible_scores", optional_json(result.visible_scores)},
               {"gflops", optional_json(result.gflops)},
               {"peak_gflops", result.peak_gflops},
               {"percent_of_peak", optional_json(result.percent_of_peak())},
               {"gbps", result.gbps},
               {"read_gbps", result.read_gbps},
               {"percent_of_bandwidth", result.percent_of_bandwidth()},
               {"max_error", result.accuracy.max_error}};
  if (result.copy_gbps) json["copy_gbps"] = *result.copy_gbps;
  return json;
}

/// Milliseconds for each visible score of attention.
double cost(const Result& result, bool with_planning) {
  const double planning = with_planning ? *result.plan_ms : 0;
  return (result.timing.min_ms + planning) / static_cast<double>(*result.visible_scores);
}

}  // namespace

Status Table::head(const Setting& setting, const StreamSize& stream, std::string_view note) const {
  constexpr std::int64_t kMebibyte = 1 << 20;
  fmt::print("{}, {} logical CPUs, ISA {}\n", cpu_info().model, cpu_info().logical_cpus,
             setting.isa);
  if (setting.warm) {
    fmt::print("warm: the same keys and values every time, bandwidths over the same memory\n");
  } else {
    fmt::print("keys and values rotate among copies of {} MiB in all: {}\n",
               stream.bytes / kMebibyte,
               stream.capped() ? fmt::format("a quarter of the free memory, for want of {} MiB",
                                             stream.wanted_bytes / kMebibyte)
                               : fmt::format("8 times the last cache"));
  }
  fmt::print("{}\n{:<{}}  threads    best ms  median ms  GFLOP/s    GB/s    of limit  max error\n",
             note, "workload", name_width_);
  return flush_output();
}

void Table::progress(std::size_t step, std::size_t steps, std::string_view name,
                     int threads) const {
  show_progress(fmt::format("[{}/{}] {}, threads: {}", step, steps, name, threads));
}

Status Table::row(const Result& result) const {
  show_progress("");
  fmt::print("{:<{}}  {:>7}  {:>9.4f}  {:>9.4f}  {:>7}  {:>6.1f}  {:>10}  {:>9.1e}\n", result.name,
             name_width_, result.threads, result.timing.min_ms, result.timing.median_ms,
             optional_number(result.gflops), result.gbps, percentage(result),
             result.accuracy.max_error);
  return flush_output();
}

Status Table::costs(std::span<const Result> results) const {
  bool any = false;
  for (const Result& result : results) {
    const auto same = [&](const Result& other) {
      return other.name == result.beside && other.threads == result.threads &&
             other.visible_scores && result.visible_scores;
    };
    const auto beside = std::ranges::find_if(results, same);
    if (beside == results.end()) continue;
    if (!any) {
      fmt::print("\n{:<{}}  threads  time of a visible score  with planning  beside\n", "workload",
                 name_width_);
    }
    any = true;
    fmt::print("{:<{}}  {:>7}  {:>23.2f}  {:>13.2f}  {}\n", result.name, name_width_,
               result.threads, cost(result, false) / cost(*beside, false),
               cost(result, true) / cost(*beside, true), beside->name);
  }
  return any ? flush_output() : Status();
}

std::string to_json(const Setting& setting, const StreamSize& stream,
                    std::span<const Result> results) {
  Json list = Json::array();
  for (const Result& result : results) list.push_back(result_json(result, setting));
  return Json{{"host", host_json(setting, stream)}, {"results", list}}.dump(1) + "\n";
}

}  // namespace heed::bench
