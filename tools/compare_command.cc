// heed compare: two JSON files of heed bench, and whether the second one is faster.
#include <fmt/format.h>

#include <CLI/App.hpp>
#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bench/compare.h"
#include "bench/console.h"
#include "tools/arguments.h"
#include "tools/command.h"
#include "tools/status.h"
#include "tools/text_lines.h"

namespace heed::tools {
namespace {

using Json = nlohmann::ordered_json;
using bench::BenchFile;
using bench::Comparison;
using bench::Verdict;

/// The command line, as given.
struct CompareArguments {
  std::string a, b, margin, format = "table";
};

constexpr double kMargin = 0.02;

Status read_file(const std::string& path, BenchFile& file) {
  std::string text;
  HEED_RETURN_IF_ERROR(read_text(path, text));
  return bench::parse_bench_file(path, text, file);
}

std::string_view name_of(Verdict verdict) {
  return bench::kVerdictNames[static_cast<std::size_t>(verdict)];
}

std::ptrdiff_t count(const std::vector<Comparison>& comparisons, Verdict verdict) {
  return std::ranges::count(comparisons, verdict, &Comparison::verdict);
}

void print_json(const BenchFile& a, const BenchFile& b,
                const std::vector<Comparison>& comparisons) {
  Json list = Json::array();
  for (const Comparison& each : comparisons) {
    list.push_back({{"name", each.name},
                    {"threads", each.threads},
                    {"a_ms", each.a_ms},
                    {"b_ms", each.b_ms},
                    {"ratio", each.ratio},
                    {"low", each.low},
                    {"high", each.high},
                    {"verdict", std::string(name_of(each.verdict))}});
  }
  const Json json = {{"a", a.about}, {"b", b.about}, {"comparisons", list}};
  fmt::print("{}\n", json.dump(1));
}

/// One line of the table, in Markdown or not.
void print_row(bool markdown, std::size_t name_width, const std::vector<std::string>& cells) {
  if (markdown) {
    fmt::print("| {} |\n", fmt::join(cells, " | "));
    return;
  }
  fmt::print("{:<{}}  {:>7}  {:>9}  {:>9}  {:>6}  {:>13}  {}\n", cells[0], name_width, cells[1],
             cells[2], cells[3], cells[4], cells[5], cells[6]);
}

void print_table(bool markdown, const BenchFile& a, const BenchFile& b,
                 const std::vector<Comparison>& comparisons) {
  std::size_t width = std::string_view("workload").size();
  for (const Comparison& each : comparisons) width = std::max(width, each.name.size());
  fmt::print("A: {}{}\nB: {}\nratio: the time of A by that of B, with the interval of 95%\n{}",
             a.about, markdown ? "\\" : "", b.about, markdown ? "\n" : "");
  print_row(markdown, width, {"workload", "threads", "A ms", "B ms", "ratio", "95%", "B is"});
  if (markdown) print_row(true, width, {"---", "---:", "---:", "---:", "---:", "---:", "---"});
  for (const Comparison& each : comparisons) {
    print_row(
        markdown, width,
        {each.name, std::to_string(each.threads), fmt::format("{:.4f}", each.a_ms),
         fmt::format("{:.4f}", each.b_ms), fmt::format("{:.3f}", each.ratio),
         fmt::format("{:.3f}..{:.3f}", each.low, each.high), std::string(name_of(each.verdict))});
  }
  fmt::print("\nfaster: {}, slower: {}, undecided: {}\n", count(comparisons, Verdict::faster),
             count(comparisons, Verdict::slower), count(comparisons, Verdict::undecided));
}

Outcome compare(const CompareArguments& options) {
  if (options.format != "table" && options.format != "md" && options.format != "json") {
    return {bad_value("--format", options.format, "table, md or json")};
  }
  double margin = kMargin;
  if (!options.margin.empty()) {
    HEED_RETURN_IF_ERROR(parse_part("--margin", options.margin, margin));
  }
  BenchFile a, b;
  HEED_RETURN_IF_ERROR(read_file(options.a, a));
  HEED_RETURN_IF_ERROR(read_file(options.b, b));
  std::vector<Comparison> comparisons;
  HEED_RETURN_IF_ERROR(bench::compare_files(a, b, margin, comparisons));
  if (options.format == "json") {
    print_json(a, b, comparisons);
  } else {
    print_table(options.format == "md", a, b, comparisons);
  }
  return {bench::flush_output(), count(comparisons, Verdict::slower) == 0};
}

}  // namespace

void add_compare(CLI::App& app, Action& action) {
  CLI::App* const command = app.add_subcommand(
      "compare", "Compare two JSON files of heed bench; ends with 1 where the second is slower");
  const auto o = std::make_shared<CompareArguments>();
  command->add_option("A", o->a, "The file to compare with")->type_name("FILE")->required();
  command->add_option("B", o->b, "The file that is judged")->type_name("FILE")->required();
  command->add_option("--margin", o->margin, "Smaller differences are none, a part of 1 (0.02)")
      ->type_name("PART");
  command->add_option("--format", o->format, "Of what is printed: table, md or json (table)")
      ->type_name("FORMAT");
  command->callback([o, &action] { action = [o] { return compare(*o); }; });
}

}  // namespace heed::tools
