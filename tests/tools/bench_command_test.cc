// `heed bench` where nothing is wrong: its table and its JSON, whatever the speed of the machine.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "heed/cpu.h"
#include "heed/executor.h"
#include "heed/version.h"
#include "tests/support/run_command.h"
#include "tests/support/this_build.h"

namespace heed::tests {
namespace {

using Json = nlohmann::json;
using Names = std::set<std::string>;

struct Report {
  std::string table;
  Json json;
};

/// Runs the workloads that `regex` matches on one and two threads for no longer than it takes.
Report run_bench(const std::string& regex, const std::vector<std::string>& more = {}) {
  const Folder folder;
  std::vector<std::string> arguments = {"bench",     "--workload", regex,
                                        "--seconds", "0.01",       "--threads",
                                        "1,2",       "--json",     folder.path("results")};
  arguments.insert(arguments.end(), more.begin(), more.end());
  const CommandResult result = run_heed(arguments);
  expect_fine(result);
  return {result.out, Json::parse(read_bytes(folder.path("results")), nullptr, false)};
}

Names keys_of(const Json& object) {
  Names names;
  for (const auto& [name, value] : object.items()) names.insert(name);
  return names;
}

/// The words of the table's rows that begin with `name`.
std::vector<std::vector<std::string>> rows_of(const std::string& table, const std::string& name) {
  std::vector<std::vector<std::string>> rows;
  std::istringstream lines(table);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream text(line);
    std::vector<std::string> words;
    for (std::string word; text >> word;) words.push_back(word);
    if (!words.empty() && words.front() == name) rows.push_back(words);
  }
  return rows;
}

/// What a workload's results say on any machine.
struct Expected {
  std::string name, kind, layout, limit;
  double operations = 0;  ///< 0: it has none to report
  double bytes = 0;
};

const Names kResultKeys = {"name",
                           "shape",
                           "kind",
                           "isa",
                           "q_type",
                           "kv_type",
                           "layout",
                           "threads",
                           "runs",
                           "min_ms",
                           "median_ms",
                           "run_ms",
                           "plan_ms",
                           "visible_scores",
                           "gflops",
                           "gbps",
                           "peak_gflops",
                           "tile_gflops",
                           "read_gbps",
                           "copy_gbps",
                           "percent_of_peak",
                           "percent_of_tile",
                           "percent_of_bandwidth",
                           "efficiency",
                           "max_error",
                           "peak_spread",
                           "tile_spread",
                           "read_spread",
                           "cores",
                           "lost",
                           "disturbed",
                           "samples_ms",
                           "limits",
                           "slices"};

double median(std::vector<double> numbers) {
  std::ranges::sort(numbers);
  const std::size_t middle = numbers.size() / 2;
  return numbers.size() % 2 == 1 ? numbers[middle] : (numbers[middle - 1] + numbers[middle]) / 2;
}

/// A limit without what others took: the median of the quietest samples.
double limit_of(const Json& result, const std::string& limit) {
  std::vector<std::pair<double, double>> samples;  // the part that was lost, and the rate
  for (const Json& sample : result["limits"]) {
    const double own = sample[limit]["own"], wall = sample[limit]["wall"];
    samples.emplace_back(std::max(0.0, 1 - wall / own), own);
  }
  std::ranges::sort(samples, {}, [](const auto& sample) { return sample.first; });
  const std::size_t quietest = std::min<std::size_t>(3, samples.size());
  std::vector<double> rates;
  for (const auto& [lost, rate] : samples) {
    if (lost <= std::max(0.02, samples[quietest - 1].first)) rates.push_back(rate);
  }
  return median(rates);
}

/// Samples are those of all runs, in slices between samples of the limits.
void expect_samples(const Json& result) {
  const auto samples = result["samples_ms"].get<std::vector<double>>();
  std::int64_t runs = 0;
  double seconds = 0;
  for (const Json& slice : result["slices"]) {
    runs += slice["runs"].get<std::int64_t>();
    seconds += slice["seconds"].get<double>();
    EXPECT_GE(slice["lost"], 0);
    EXPECT_LE(slice["lost"], 1);
  }
  ASSERT_FALSE(samples.empty());
  EXPECT_EQ(std::ssize(samples), runs);
  EXPECT_EQ(result["runs"], runs);
  EXPECT_NEAR(std::accumulate(samples.begin(), samples.end(), 0.0) / (1e3 * seconds), 1, 1e-9);
  EXPECT_EQ(result["min_ms"], std::ranges::min(samples));
  EXPECT_NEAR(result["median_ms"].get<double>() / median(samples), 1, 1e-9);
  EXPECT_GT(result["run_ms"], 0);
  EXPECT_EQ(result["limits"].size(), result["slices"].size() + 1);
}

/// Whether a field is this part of the figure `limit`, which is that of the samples, in percent.
void expect_percentage(const Json& result, const char* field, const std::string& limit,
                       double work) {
  const double figure = result[limit];
  EXPECT_NEAR(figure / limit_of(result, limit.substr(0, limit.find('_'))), 1, 1e-9) << limit;
  const double rate = work * 1e-9 / (1e-3 * result["run_ms"].get<double>());
  EXPECT_NEAR(result[field].get<double>() / (100 * rate / figure), 1, 1e-9) << field;
}

void expect_figures(const Json& result, const Expected& expected) {
  const double seconds = result["min_ms"].get<double>() * 1e-3;
  EXPECT_EQ(result["copy_gbps"].is_null(), expected.limit != "copy");
  EXPECT_NEAR(result["gbps"].get<double>() * seconds * 1e9 / expected.bytes, 1, 1e-9);
  expect_percentage(result, "percent_of_bandwidth", expected.limit + "_gbps", expected.bytes);
  for (const char* const limit : {"peak_gflops", "tile_gflops", "read_gbps", "cores"}) {
    EXPECT_GT(result[limit], 0) << limit;
  }
  EXPECT_GT(result["max_error"], 0);
  if (expected.operations == 0) {
    for (const char* const none : {"gflops", "percent_of_peak", "percent_of_tile", "plan_ms"}) {
      EXPECT_TRUE(result[none].is_null()) << none;
    }
    return;
  }
  EXPECT_NEAR(result["gflops"].get<double>() * seconds * 1e9 / expected.operations, 1, 1e-9);
  expect_percentage(result, "percent_of_peak", "peak_gflops", expected.operations);
  expect_percentage(result, "percent_of_tile", "tile_gflops", expected.operations);
}

void expect_result(const Json& result, const Expected& expected, const std::string& isa,
                   int threads) {
  SCOPED_TRACE(expected.name + " on " + std::to_string(threads));
  ASSERT_EQ(keys_of(result), kResultKeys);
  EXPECT_EQ(result["name"], expected.name);
  EXPECT_EQ(result["kind"], expected.kind);
  EXPECT_EQ(result["layout"], expected.layout);
  EXPECT_EQ(result["isa"], isa);
  EXPECT_EQ(result["q_type"], "f32");
  EXPECT_EQ(result["kv_type"], "f32");
  EXPECT_EQ(result["threads"], threads);
  EXPECT_EQ(result["efficiency"].is_null(), threads == 1);
  expect_samples(result);
  expect_figures(result, expected);
}

void expect_rows(const std::string& table, const Expected& expected) {
  const auto rows = rows_of(table, expected.name);
  ASSERT_EQ(rows.size(), 2U) << table;
  for (const auto& row : rows) {
    // name, threads, best, median, GFLOP/s, GB/s, of peak, of tile, of memory (two words),
    // efficiency, max error, machine (some words)
    ASSERT_GE(row.size(), 13U) << table;
    EXPECT_EQ(row[1], &row == &rows.front() ? "1" : "2");
    EXPECT_EQ(row[4] == "-", expected.operations == 0) << table;
    EXPECT_EQ(row[6].ends_with('%'), expected.operations > 0) << table;
    EXPECT_EQ(row[7].ends_with('%'), expected.operations > 0) << table;
    EXPECT_TRUE(row[8].ends_with('%')) << table;
    EXPECT_EQ(row[9], expected.limit);
    EXPECT_EQ(row[10] == "-", &row == &rows.front()) << table;
  }
}

void expect_report(const Report& report, const std::vector<Expected>& expected,
                   const std::string& isa) {
  ASSERT_EQ(keys_of(report.json),
            (Names{"schema", "schema_version", "heed", "date", "host", "setting", "results"}));
  EXPECT_EQ(report.json["schema"], "heed-bench");
  EXPECT_EQ(report.json["schema_version"], 1);
  EXPECT_EQ(report.json["setting"]["isa"], isa);
  ASSERT_EQ(report.json["results"].size(), 2 * expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    expect_result(report.json["results"][2 * i], expected[i], isa, 1);
    expect_result(report.json["results"][2 * i + 1], expected[i], isa, 2);
    expect_rows(report.table, expected[i]);
    const Json &one = report.json["results"][2 * i], &two = report.json["results"][2 * i + 1];
    EXPECT_NEAR(two["efficiency"].get<double>(),
                one["min_ms"].get<double>() / (2 * two["min_ms"].get<double>()), 1e-9);
  }
}

/// Which heed, on which machine, when.
void expect_origin(const Json& report, bool warm) {
  const Json &heed = report["heed"], &host = report["host"], &setting = report["setting"];
  EXPECT_EQ(keys_of(heed), (Names{"version", "commit", "compiler", "threads"}));
  EXPECT_EQ(heed["version"], HEED_VERSION_STRING);
  EXPECT_TRUE(heed["commit"].is_null() || heed["commit"].get<std::string>().size() >= 40);
  EXPECT_NE(heed["compiler"].get<std::string>().find('.'), std::string::npos);
  EXPECT_EQ(heed["threads"], thread_library());
  const std::string date = report["date"];
  EXPECT_TRUE(date.size() == 20 && date[10] == 'T' && date.ends_with('Z')) << date;
  EXPECT_EQ(keys_of(host), (Names{"vendor", "model", "system", "logical_cpus", "cores", "cpu_quota",
                                  "numa_nodes", "memory_bytes", "l1d_bytes", "l2_bytes", "l3_bytes",
                                  "mhz", "max_mhz", "governor", "features"}));
  EXPECT_EQ(host["vendor"], cpu_info().vendor);
  EXPECT_EQ(host["model"], cpu_info().model);
  EXPECT_EQ(host["logical_cpus"], cpu_info().logical_cpus);
  EXPECT_EQ(host["memory_bytes"], cpu_info().memory_bytes);
  EXPECT_TRUE(host["features"].is_array());
  EXPECT_EQ(setting["warm"], warm);
  EXPECT_EQ(setting["seconds"], 0.01);
  EXPECT_GT(setting["stream_bytes"], 0);
}

const Expected kPrefill = {
    "vit-base-b4-s197",         "prefill", "bshd", "read", 4.0 * 12 * 197 * 197 * 4 * 64,
    4.0 * 197 * 12 * 2 * 64 * 4};
const Expected kDecode = {"llama3-8b-decode-b1-kv4k", "decode",
                          "q bshd, kv bhsd",          "read",
                          32.0 * 4096 * 4 * 128,      8.0 * 4096 * 2 * 128 * 4};
const Expected kPaged = {"llama3-8b-decode-b8-kv2k-paged16", "decode",
                         "q bshd, kv bhsd in pages of 16",   "read",
                         8.0 * 32 * 2048 * 4 * 128,          8.0 * 8 * 2048 * 2 * 128 * 4};
const Expected kSoftmax = {"softmax-1024x64", "softmax", "rows", "copy", 0, 2.0 * 1024 * 64 * 4};

TEST(BenchCommand, TableAndJson) {
  const Report report =
      run_bench("^(vit-base-b4-s197|llama3-8b-decode-b1-kv4k|.*b8-kv2k-paged16|softmax-1024x64)$");
  expect_report(report, {kPrefill, kDecode, kPaged, kSoftmax}, chosen_command_isa());
  expect_origin(report.json, false);
  EXPECT_NE(report.table.find("rotate among copies"), std::string::npos) << report.table;
}

TEST(BenchCommand, WarmOnAnotherIsa) {
  const Report report = run_bench("^(llama3-8b-decode-b1-kv4k|softmax-1024x64)$",
                                  {"--warm", "--isa", std::string(kBaselineIsa)});
  expect_report(report, {kDecode, kSoftmax}, std::string(kBaselineIsa));
  expect_origin(report.json, true);
  EXPECT_NE(report.table.find("warm: the same keys"), std::string::npos) << report.table;
}

TEST(BenchCommand, OnPinnedThreads) {
  const Report report = run_bench("^softmax-1024x64$", {"--warm", "--pin"});
  expect_report(report, {kSoftmax}, chosen_command_isa());
  EXPECT_NE(report.table.find("\nthreads are pinned\n"), std::string::npos) << report.table;
  EXPECT_EQ(report.json["setting"]["pinned"], true);
  EXPECT_GE(report.json["host"]["numa_nodes"], 1);
}

TEST(BenchCommand, ReportsTheThreadsThatItHad) {
  const Folder folder;
  const std::string cpus = std::to_string(cpu_info().logical_cpus), json = folder.path("results");
  const CommandResult result =
      run_heed({"bench", "--workload", "^softmax-1024x64$", "--seconds", "0.01", "--warm",
                "--threads", "1000,1024,1", "--json", json});
  expect_fine(result);
  EXPECT_NE(result.out.find("threads: " + cpus + " where 1000 or 1024 are asked for"),
            std::string::npos)
      << result.out;
  std::vector<std::string> threads;
  for (const auto& row : rows_of(result.out, "softmax-1024x64")) threads.push_back(row[1]);
  const bool one = cpu_info().logical_cpus == 1;
  EXPECT_EQ(threads, one ? std::vector<std::string>{"1"} : (std::vector<std::string>{cpus, "1"}));
  EXPECT_EQ(Json::parse(read_bytes(json))["results"][0]["threads"], cpu_info().logical_cpus);
}

// What a visible score costs beside the workload that a line names, with and without planning: as
// the figures of both say. Without the other workload there is no second table.
TEST(BenchCommand, SecondTableOfCosts) {
  const Report report = run_bench("^(plain|padded)-b8-s512-d64$", {"--warm"});
  const Json& results = report.json["results"];
  ASSERT_EQ(results.size(), 4U);
  const std::size_t second = report.table.find("time of a visible score");
  ASSERT_NE(second, std::string::npos) << report.table;
  const auto rows = rows_of(report.table.substr(second), "padded-b8-s512-d64");
  ASSERT_EQ(rows.size(), 2U) << report.table;
  for (std::size_t i = 0; i < 2; ++i) {
    ASSERT_EQ(rows[i].size(), 5U) << report.table;
    const Json &plain = results[i], &padded = results[2 + i];
    const auto cost = [](const Json& result, bool with_planning) {
      const double planning = with_planning ? result["plan_ms"].get<double>() : 0;
      return (result["min_ms"].get<double>() + planning) / result["visible_scores"].get<double>();
    };
    EXPECT_EQ(rows[i][1], std::to_string(i + 1));
    EXPECT_NEAR(std::stod(rows[i][2]), cost(padded, false) / cost(plain, false), 0.0051);
    EXPECT_NEAR(std::stod(rows[i][3]), cost(padded, true) / cost(plain, true), 0.0051);
    EXPECT_EQ(rows[i][4], "plain-b8-s512-d64");
  }
  const Report alone = run_bench("^padded-b8-s512-d64$", {"--warm"});
  EXPECT_EQ(alone.table.find("time of a visible score"), std::string::npos) << alone.table;
}

// A cache as a projection writes it, and one in pages, of which sequences share the first ones:
// their bytes count once, the work on them for each.
TEST(BenchCommand, JsonTellsTheOtherLayouts) {
  const Report report =
      run_bench("^llama3-8b-decode-b(8-kv2k-bshd|16-kv2k-shared1792)$", {"--warm"});
  expect_report(report,
                {{"llama3-8b-decode-b8-kv2k-bshd", "decode", "bshd", "read",
                  8.0 * 32 * 2048 * 4 * 128, 8.0 * 8 * 2048 * 2 * 128 * 4},
                 {"llama3-8b-decode-b16-kv2k-shared1792", "decode",
                  "q bshd, kv bhsd in pages of 128, the first 1792 keys shared", "read",
                  16.0 * 32 * 2048 * 4 * 128, (1792 + 16.0 * 256) * 8 * 2 * 128 * 4}},
                chosen_command_isa());
}

// Shapes of one's own, and a file of them, in place of the built-in workloads.
TEST(BenchCommand, WorkloadsOfOnesOwn) {
  const Folder folder;
  const std::string file = folder.path("mine"), json = folder.path("json");
  write_bytes(file, "# mine\r\n\r\ntiny hq=2 q=3,4 d=8\r\nm rows=4 length=5 resident\r\n");
  const CommandResult result =
      run_heed({"bench", "--shape", "b=2 hq=4 hkv=2 q=1 kv=16..64 d=8 causal", "--workloads", file,
                "--shape", "own hq=2 q=5 d=8", "--workload", "6|^tiny|own|^m$", "--warm",
                "--seconds", "0.001", "--threads", "1", "--kv-type", "f16", "--json", json});
  expect_fine(result);
  std::vector<std::string> names, shapes;
  const Json report = Json::parse(read_bytes(json));
  for (const Json& each : report["results"]) {
    names.push_back(each["name"]);
    shapes.push_back(each["shape"]);
  }
  ASSERT_EQ(names, (std::vector<std::string>{"b2-hq4-hkv2-q1-kv16-d8-causal",
                                             "b2-hq4-hkv2-q1-kv64-d8-causal", "own", "tiny-q3",
                                             "tiny-q4", "m"}));
  EXPECT_EQ(shapes[0], "b=2 hq=4 hkv=2 q=1 kv=16 d=8 causal kv-type=f16");
  EXPECT_EQ(shapes[5], "rows=4 length=5 resident");
}

TEST(BenchCommand, FaultsOfOnesOwnWorkloads) {
  const Folder folder;
  const std::string file = folder.path("mine");
  write_bytes(file, "# nothing\n");
  const std::string none = "heed bench: --workloads " + file + ": has no workload";
  expect_fault(run_heed({"bench", "--workloads", file}), none);
  write_bytes(file, "a hq=2 q=3 d=8\nb hq=2 q=3\n");
  const std::string second = "heed bench: --workloads " + file + ", line 2: d is missing";
  expect_fault(run_heed({"bench", "--workloads", file}), second);
  expect_fault(run_heed({"bench", "--workloads", folder.path("none")}), "cannot be read");
  const std::vector<std::pair<std::string, std::string>> shapes = {
      {"hq=2 q=x d=8", "--shape (\"hq=2 q=x d=8\"): q (x) must be a whole number of at least 1"},
      {"hq=5 hkv=2 q=1 d=8", "hq5-hkv2-q1-d8: kv_heads (2) must divide query_heads (5)"},
      {"x hq=2 q=1,1 d=8", "two workloads have the name x-q1"},
      {"hq=2 q=1 d=1025", "head_dim (1025) must be"},
  };
  for (const auto& [shape, part] : shapes) {
    expect_fault(run_heed({"bench", "--shape", shape}), part);
  }
  expect_fault(run_heed({"bench", "--shape", "hq=2 q=1 d=8", "--workload", "none"}),
               "--workload (\"none\") must match the name of at least one");
}

/// What a run of two small workloads prints.
std::string printed(const std::string& format, const std::string& json) {
  const CommandResult result =
      run_heed({"bench", "--shape", "tiny hq=2 q=3,4 kv=9 d=8", "--warm", "--seconds", "0.001",
                "--threads", "1", "--format", format, "--json", json});
  expect_fine(result);
  return result.out;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

/// The cells of a line of CSV, of which those with commas are quoted.
std::vector<std::string> cells_of(const std::string& line) {
  std::vector<std::string> cells(1);
  bool quoted = false;
  for (const char c : line) {
    if (c == '"') quoted = !quoted;
    if (c == ',' && !quoted) cells.emplace_back();
    if (c != '"' && (c != ',' || quoted)) cells.back() += c;
  }
  return cells;
}

TEST(BenchCommand, JsonOnStandardOutputIsThatOfTheFile) {
  const Folder folder;
  const std::string file = folder.path("json");
  const std::string text = printed("json", file);
  EXPECT_EQ(text, read_bytes(file));
}

TEST(BenchCommand, CsvHasTheFiguresOfJson) {
  const Folder folder;
  const std::string file = folder.path("json");
  const std::vector<std::string> lines = lines_of(printed("csv", file));
  const Json json = Json::parse(read_bytes(file));
  ASSERT_EQ(lines.size(), 3U);
  const std::vector<std::string> keys = cells_of(lines[0]);
  for (std::size_t row = 0; row < 2; ++row) {
    const Json& result = json["results"][row];
    const std::vector<std::string> cells = cells_of(lines[row + 1]);
    ASSERT_EQ(cells.size(), keys.size());
    for (std::size_t i = 0; i < keys.size(); ++i) {
      if (!result.contains(keys[i]) || result[keys[i]].is_array()) continue;
      const Json& value = result[keys[i]];
      EXPECT_EQ(cells[i], value.is_null()     ? ""
                          : value.is_string() ? value.get<std::string>()
                                              : value.dump())
          << keys[i];
    }
    const auto cell = [&](const std::string& key) {
      return cells[static_cast<std::size_t>(std::ranges::find(keys, key) - keys.begin())];
    };
    EXPECT_EQ(cell("shape"), row == 0 ? "hq=2 q=3 kv=9 d=8" : "hq=2 q=4 kv=9 d=8");
    EXPECT_EQ(cell("date"), json["date"]);
    EXPECT_EQ(cell("host_model"), json["host"]["model"]);
    EXPECT_EQ(cell("heed_version"), json["heed"]["version"]);
    std::istringstream samples(cell("samples_ms"));
    std::vector<double> times;
    for (double time = 0; samples >> time;) times.push_back(time);
    EXPECT_EQ(times, result["samples_ms"].get<std::vector<double>>());
  }
}

TEST(BenchCommand, MarkdownHasTheCellsOfTheTable) {
  const Folder folder;
  const std::vector<std::string> lines = lines_of(printed("md", folder.path("json")));
  const auto head = std::ranges::find_if(
      lines, [](const std::string& line) { return line.starts_with("| workload | threads |"); });
  ASSERT_LE(head + 4, lines.end());
  EXPECT_EQ((head - 1)->size(), 0U);
  const auto bars = std::ranges::count(*head, '|');
  EXPECT_TRUE((head + 1)->starts_with("| --- | ---: |")) << head[1];
  EXPECT_TRUE((head + 2)->starts_with("| tiny-q3 | 1 | ")) << head[2];
  EXPECT_TRUE((head + 3)->starts_with("| tiny-q4 | 1 | ")) << head[3];
  for (int row = 1; row < 4; ++row) EXPECT_EQ(std::ranges::count(head[row], '|'), bars);
  expect_fault(run_heed({"bench", "--format", "xml"}),
               "--format (\"xml\") must be table, md, csv, json or html");
}

}  // namespace
}  // namespace heed::tests
