// heed info: the processor, the instruction sets, and on request what the machine can do at most.
#include <fmt/format.h>

#include <CLI/App.hpp>
#include <algorithm>
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "bench/console.h"
#include "bench/limits.h"
#include "heed/cpu.h"
#include "heed/executor.h"
#include "heed/version.h"
#include "tools/command.h"
#include "tools/status.h"

namespace heed::tools {
namespace {

using Json = nlohmann::ordered_json;

struct InfoOptions {
  bool measure = false;
  bool json = false;
};

/// What was measured on one number of threads.
struct Limits {
  int threads = 0;
  std::vector<double> fma_gflops;  ///< one per supported ISA, in the order of isas()
  double read_gbps = 0, copy_gbps = 0;
};

std::vector<std::string_view> supported_isas() {
  std::vector<std::string_view> names;
  for (const IsaInfo& isa : isas()) {
    if (isa.supported) names.push_back(isa.name);
  }
  return names;
}

Status measure(int threads, Limits& limits) {
  limits.threads = threads;
  bench::MachineLimits machine;
  bench::show_progress(fmt::format("measuring bandwidth, threads: {}", threads));
  HEED_RETURN_IF_ERROR(bench::measure_limits({}, threads, machine));
  limits.read_gbps = machine.read_gbps;
  limits.copy_gbps = machine.copy_gbps;
  for (const std::string_view isa : supported_isas()) {
    bench::show_progress(fmt::format("measuring {}, threads: {}", isa, threads));
    double gflops = 0;
    HEED_RETURN_IF_ERROR(bench::measure_fma_peak(isa, threads, gflops));
    limits.fma_gflops.push_back(gflops);
  }
  return {};
}

/// On one thread, and on as many as work is spread over by default.
Status measure_all(std::vector<Limits>& all) {
  for (const int threads : {1, cpu_info().default_workers}) {
    if (!all.empty() && threads == all.back().threads) continue;
    all.emplace_back();
    HEED_RETURN_IF_ERROR(measure(threads, all.back()));
  }
  bench::show_progress("");
  return {};
}

Json limits_json(const std::vector<Limits>& all) {
  const std::vector<std::string_view> names = supported_isas();
  Json list = Json::array();
  for (const Limits& limits : all) {
    Json peaks = Json::object();
    for (std::size_t i = 0; i < names.size(); ++i) {
      peaks[std::string(names[i])] = limits.fma_gflops[i];
    }
    list.push_back({{"threads", limits.threads},
                    {"fma_gflops", peaks},
                    {"read_gbps", limits.read_gbps},
                    {"copy_gbps", limits.copy_gbps}});
  }
  return list;
}

Json isas_json() {
  Json list = Json::array();
  for (const IsaInfo& isa : isas()) {
    list.push_back({{"name", std::string(isa.name)},
                    {"built", true},
                    {"supported", isa.supported},
                    {"chosen", isa.chosen}});
  }
  return list;
}

void print_json(const std::vector<Limits>& limits) {
  const CpuInfo& cpu = cpu_info();
  Json features = Json::array();
  for (const std::string_view feature : cpu.features) features.push_back(std::string(feature));
  Json json = {{"version", HEED_VERSION_STRING},
               {"cpu",
                {{"vendor", cpu.vendor},
                 {"model", cpu.model},
                 {"logical_cpus", cpu.logical_cpus},
                 {"cores", cpu.physical_cores},
                 {"cpu_quota", cpu.cpu_quota},
                 {"default_workers", cpu.default_workers},
                 {"memory_bytes", cpu.memory_bytes},
                 {"l1d_bytes", cpu.l1d_bytes},
                 {"l2_bytes", cpu.l2_bytes},
                 {"l3_bytes", cpu.l3_bytes},
                 {"features", features}}},
               {"threads", std::string(thread_library())},
               {"isas", isas_json()}};
  if (!limits.empty()) json["limits"] = limits_json(limits);
  fmt::print("{}\n", json.dump(1));
}

std::string size_text(std::int64_t bytes) {
  constexpr std::int64_t kKibibyte = 1 << 10, kMebibyte = 1 << 20;
  if (bytes == 0) return "unknown";
  if (bytes % kMebibyte == 0) return fmt::format("{} MiB", bytes / kMebibyte);
  return fmt::format("{} KiB", bytes / kKibibyte);
}

std::string memory_text(std::int64_t bytes) {
  constexpr double kGibibyte = 1 << 30;
  return bytes == 0 ? "unknown" : fmt::format("{:.1f} GiB", static_cast<double>(bytes) / kGibibyte);
}

/// The CPUs of this process, and what a control group leaves it of their time.
std::string cpus_text(const CpuInfo& cpu) {
  std::string text = fmt::format("{} for this process", cpu.logical_cpus);
  if (cpu.cpu_quota > 0) text += fmt::format(", and {} CPUs' time", cpu.cpu_quota);
  return text;
}

/// What spreads work over threads in this build.
std::string threads_text() {
  const std::string_view library = thread_library();
  if (library == "tbb") return "tbb (oneTBB)";
  if (library == "std") return "std (heed's own)";
  return "none (the calling one)";
}

std::string isas_text() {
  std::string text;
  for (const IsaInfo& isa : isas()) {
    if (!text.empty()) text += ", ";
    text += isa.name;
    if (isa.chosen) text += " (chosen)";
    if (!isa.supported) text += " (not on this machine)";
  }
  return text;
}

void print_limits(const std::vector<Limits>& all) {
  const std::vector<std::string_view> names = supported_isas();
  for (const Limits& limits : all) {
    fmt::print("{:<10} ",
               fmt::format("{} thread{}", limits.threads, limits.threads > 1 ? "s" : ""));
    for (std::size_t i = 0; i < names.size(); ++i) {
      fmt::print("{} {:.1f} GFLOP/s, ", names[i], limits.fma_gflops[i]);
    }
    fmt::print("read {:.1f} GB/s, copy {:.1f} GB/s\n", limits.read_gbps, limits.copy_gbps);
  }
}

void print_machine() {
  const CpuInfo& cpu = cpu_info();
  fmt::print("heed       {}\n", HEED_VERSION_STRING);
  fmt::print("processor  {} ({})\n", cpu.model, cpu.vendor);
  fmt::print("CPUs       {}\n", cpus_text(cpu));
  fmt::print("cores      {}\n",
             cpu.physical_cores > 0 ? std::to_string(cpu.physical_cores) : "unknown");
  fmt::print("workers    {} by default\n", cpu.default_workers);
  fmt::print("threads    {}\n", threads_text());
  fmt::print("memory     {}\n", memory_text(cpu.memory_bytes));
  fmt::print("caches     L1d {}, L2 {}, L3 {}\n", size_text(cpu.l1d_bytes), size_text(cpu.l2_bytes),
             size_text(cpu.l3_bytes));
  fmt::print("features   {}\n", fmt::join(cpu.features, " "));
  fmt::print("ISAs       {}\n", isas_text());
}

Outcome show_info(const InfoOptions& options) {
  std::string_view chosen;
  HEED_RETURN_IF_ERROR(chosen_isa(chosen));
  HEED_RETURN_IF_ERROR(bench::check_output());
  if (!options.json) print_machine();
  HEED_RETURN_IF_ERROR(bench::flush_output());
  std::vector<Limits> limits;
  if (options.measure) {
    HEED_RETURN_IF_ERROR(measure_all(limits));
  }
  if (options.json) {
    print_json(limits);
  } else {
    print_limits(limits);
  }
  return {};
}

}  // namespace

void add_info(CLI::App& app, Action& action) {
  CLI::App* const info = app.add_subcommand("info", "Describe the processor and its ISAs");
  const auto options = std::make_shared<InfoOptions>();
  info->add_flag("--measure", options->measure,
                 "Measure multiply-add peaks, read and copy bandwidth (takes some seconds)");
  info->add_flag("--json", options->json, "Print JSON");
  info->callback([options, &action] { action = [options] { return show_info(*options); }; });
}

}  // namespace heed::tools
