#include "bench/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "bench/columns.h"
#include "bench/console.h"
#include "bench/page.h"
#include "bench/pinning.h"
#include "heed/cpu.h"
#include "heed/executor.h"
#include "heed/version.h"

namespace heed::bench {
namespace {

constexpr std::int64_t kMebibyte = 1 << 20;

Json known(const std::string& text) { return text.empty() ? Json(nullptr) : Json(text); }

Json known(std::optional<double> number) { return number ? Json(*number) : Json(nullptr); }

Json heed_json() {
  return {{"version", HEED_VERSION_STRING},
          {"commit", known(std::string(built_commit()))},
          {"compiler", std::string(built_by())},
          {"threads", std::string(thread_library())}};
}

Json host_json() {
  const CpuInfo& cpu = cpu_info();
  const Frequency clock = frequency();
  Json features = Json::array();
  for (const std::string_view feature : cpu.features) features.push_back(std::string(feature));
  return {{"vendor", cpu.vendor},
          {"model", cpu.model},
          {"system", system_name()},
          {"logical_cpus", cpu.logical_cpus},
          {"cores", cpu.physical_cores},
          {"cpu_quota", cpu.cpu_quota},
          {"numa_nodes", numa_nodes()},
          {"memory_bytes", cpu.memory_bytes},
          {"l1d_bytes", cpu.l1d_bytes},
          {"l2_bytes", cpu.l2_bytes},
          {"l3_bytes", cpu.l3_bytes},
          {"mhz", known(clock.mhz)},
          {"max_mhz", known(clock.max_mhz)},
          {"governor", known(clock.governor)},
          {"features", features}};
}

Json setting_json(const Setting& setting, const StreamSize& stream) {
  return {{"isa", std::string(setting.isa)},
          {"seconds", setting.seconds},
          {"warm", setting.warm},
          {"pinned", setting.pinned},
          {"stream_bytes", stream.bytes}};
}

/// A cell of CSV: JSON's null is empty, and text in which commas could be is quoted.
std::string csv_cell(const Json& value) {
  if (value.is_null()) return "";
  if (!value.is_string()) return value.dump();
  std::string quoted = "\"";
  for (const char c : value.get<std::string>()) quoted.append(c == '"' ? 2 : 1, c);
  return quoted + '"';
}

/// What is the same in all rows of CSV, as columns at the end of each.
Json csv_facts(const Setting& setting, const std::string& date) {
  Json facts = {{"date", date}};
  const auto add = [&](const char* prefix, const Json& object) {
    for (const auto& field : object.items()) {
      if (field.value().is_array()) continue;
      facts[fmt::format("{}_{}", prefix, field.key())] = field.value();
    }
  };
  add("heed", heed_json());
  add("host", host_json());
  facts["warm"] = setting.warm;
  facts["pinned"] = setting.pinned;
  return facts;
}

std::string csv_samples(const Result& result) {
  return fmt::format("{}", fmt::join(result.measured.samples_ms, " "));
}

/// Milliseconds for each visible score of attention.
double cost(const Result& result, bool with_planning) {
  const double planning = with_planning ? *result.plan_ms : 0;
  return (result.measured.timing.min_ms + planning) / static_cast<double>(*result.visible_scores);
}

std::string stream_in_words(const Setting& setting, const StreamSize& stream) {
  if (setting.warm) {
    return "warm: the same keys and values every time, bandwidths over the same memory";
  }
  return fmt::format(
      "keys and values rotate among copies of {} MiB in all: {}", stream.bytes / kMebibyte,
      stream.capped() ? fmt::format("a quarter of the free memory, for want of {} MiB",
                                    stream.wanted_bytes / kMebibyte)
                      : "8 times the last cache");
}

std::size_t longest_name(std::span<const Workload> workloads) {
  std::size_t longest = 0;
  for (const Workload& workload : workloads) longest = std::max(longest, workload.name.size());
  return longest;
}

}  // namespace

Report::Report(Format format, const Setting& setting, const StreamSize& stream,
               std::span<const Workload> workloads)
    : format_(format), setting_(setting), stream_(stream), name_width_(longest_name(workloads)) {}

/// The first cell stands to the left, the others to the right, of those of the last none is padded.
std::string Report::line(const std::vector<std::string>& cells) const {
  if (format_ == Format::markdown) return fmt::format("| {} |\n", fmt::join(cells, " | "));
  std::string line;
  std::size_t i = 0;
  for (const Column& column : columns()) {
    if (column.title.empty()) continue;
    const std::size_t width = i == 0 ? std::max(name_width_, column.width) : column.width;
    if (i == 0) {
      line += fmt::format("{:<{}}", cells[i], width);
    } else {
      line += fmt::format("  {:>{}}", cells[i], width);
    }
    ++i;
  }
  return line + "\n";
}

Status Report::head(std::string_view note) const {
  if (!in_rows()) return {};
  std::vector<std::string> cells, rules;
  if (format_ == Format::csv) {
    for (const Column& column : columns()) cells.emplace_back(column.key);
    cells.emplace_back("samples_ms");
    const Json facts = csv_facts(setting_, date_);
    for (const auto& fact : facts.items()) cells.push_back(fact.key());
    fmt::print("{}\n", fmt::join(cells, ","));
    return flush_output();
  }
  const std::string commit(built_commit().substr(0, 9));
  fmt::print("{}, {} logical CPUs, ISA {}, heed {}{}{}, {}, {}\n", cpu_info().model,
             cpu_info().logical_cpus, setting_.isa, HEED_VERSION_STRING,
             commit.empty() ? "" : " of commit ", commit, built_by(), date_);
  fmt::print("{}\n{}{}", stream_in_words(setting_, stream_),
             setting_.pinned ? "threads are pinned\n" : "", note);
  for (const Column& column : columns()) {
    if (column.title.empty()) continue;
    cells.emplace_back(column.title);
    rules.emplace_back(cells.size() == 1 ? "---" : "---:");
  }
  if (format_ == Format::markdown) fmt::print("\n");
  fmt::print("{}{}", line(cells), format_ == Format::markdown ? line(rules) : "");
  return flush_output();
}

void Report::progress(std::size_t step, std::size_t steps, std::string_view name,
                      int threads) const {
  show_progress(fmt::format("[{}/{}] {}, threads: {}", step, steps, name, threads));
}

Status Report::row(const Result& result) const {
  show_progress("");
  if (!in_rows()) return {};
  std::vector<std::string> cells;
  if (format_ == Format::csv) {
    for (const Column& column : columns()) cells.push_back(csv_cell(column.value(result)));
    cells.push_back(csv_samples(result));
    const Json facts = csv_facts(setting_, date_);
    for (const Json& fact : facts) cells.push_back(csv_cell(fact));
    fmt::print("{}\n", fmt::join(cells, ","));
    return flush_output();
  }
  for (const Column& column : columns()) {
    if (!column.title.empty()) cells.push_back(column.shown(result));
  }
  fmt::print("{}", line(cells));
  return flush_output();
}

Status Report::end(std::span<const Result> results) const {
  if (format_ == Format::csv) return {};
  if (!in_rows()) {
    std::string text = json(results);
    if (format_ == Format::html) {
      const PageSource source{"the results", std::move(text)};
      if (Status status = make_page({&source, 1}, nullptr, text); !status) return status;
    }
    fmt::print("{}", text);
    return flush_output();
  }
  if (Status status = costs(results); !status) return status;
  return disturbances(results);
}

Status Report::costs(std::span<const Result> results) const {
  const bool markdown = format_ == Format::markdown;
  bool any = false;
  for (const Result& result : results) {
    const auto same = [&](const Result& other) {
      return other.name == result.beside && other.threads == result.threads &&
             other.visible_scores && result.visible_scores;
    };
    const auto beside = std::ranges::find_if(results, same);
    if (beside == results.end()) continue;
    if (!any) {
      fmt::print(fmt::runtime(markdown ? "\n| {:<{}} | threads | time of a visible score | with "
                                         "planning | beside |\n|---|---:|---:|---:|---|\n"
                                       : "\n{:<{}}  threads  time of a visible score  with "
                                         "planning  beside\n"),
                 "workload", name_width_);
    }
    any = true;
    fmt::print(fmt::runtime(markdown ? "| {:<{}} | {:>7} | {:>23.2f} | {:>13.2f} | {} |\n"
                                     : "{:<{}}  {:>7}  {:>23.2f}  {:>13.2f}  {}\n"),
               result.name, name_width_, result.threads, cost(result, false) / cost(*beside, false),
               cost(result, true) / cost(*beside, true), beside->name);
  }
  return any ? flush_output() : Status();
}

Status Report::disturbances(std::span<const Result> results) const {
  double lost = 0, all = 0;
  const auto disturbed = std::ranges::count_if(results, [](const Result& result) {
    return !result.measured.disturbance(result.threads).empty();
  });
  for (const Result& result : results) {
    for (const Slice& slice : result.measured.slices) {
      lost += slice.lost * slice.seconds;
      all += slice.seconds;
    }
  }
  if (disturbed == 0) return {};
  fmt::print(
      "\nThe machine was disturbed: {} of {} figures, {:.1f}% of the time lost to other programs\n",
      disturbed, results.size(), 100 * lost / all);
  return flush_output();
}

std::string Report::json(std::span<const Result> results) const {
  Json list = Json::array();
  for (const Result& result : results) list.push_back(result_json(result));
  return Json{{"schema", std::string(kSchema)},
              {"schema_version", kSchemaVersion},
              {"heed", heed_json()},
              {"date", date_},
              {"host", host_json()},
              {"setting", setting_json(setting_, stream_)},
              {"results", list}}
             .dump(1) +
         "\n";
}

}  // namespace heed::bench
