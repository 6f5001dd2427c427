// heed check: proof of this build on this machine.
#include <fmt/format.h>

#include <CLI/App.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "bench/console.h"
#include "bench/limits.h"
#include "heed/cpu.h"
#include "tools/arguments.h"
#include "tools/command.h"
#include "tools/status.h"
#include "tools/subject.h"
#include "tools/verdict.h"

namespace heed::tools {
namespace {

constexpr int kNameWidth = 30, kColumnWidth = 11;

/// The ISAs to check: the one that is named, or every one that this machine can run.
Status choose_isas(const std::string& name, std::vector<std::string_view>& names) {
  // The library's own sentence where a name, or HEED_ISA, does not exist or cannot run.
  std::string_view chosen = name;
  HEED_RETURN_IF_ERROR(bench::resolve_isa(chosen));
  if (!name.empty()) {
    names = {chosen};
    return {};
  }
  for (const IsaInfo& isa : isas()) {
    if (isa.supported) names.push_back(isa.name);
  }
  return {};
}

Status print_head(const std::vector<std::string_view>& isas) {
  fmt::print("{}\n\n{:<{}}", cpu_info().model, "check", kNameWidth);
  for (const std::string_view isa : isas) fmt::print("{:<{}}", isa, kColumnWidth);
  fmt::print("rows\n");
  return bench::flush_output();
}

std::string cell(const Verdict& verdict) {
  if (!verdict.passed()) return "FAILED";
  if (verdict.largest_share() == 0) return "ok";
  return fmt::format("ok {:>4.0f}%", 100 * verdict.largest_share());
}

/// One line of the table and, where a check failed, the first fault on each ISA.
Status print_row(const Check& check, const std::vector<std::string_view>& isas,
                 const std::vector<Verdict>& verdicts) {
  fmt::print("{:<{}}", check.name, kNameWidth);
  for (const Verdict& verdict : verdicts) fmt::print("{:<{}}", cell(verdict), kColumnWidth);
  // An ISA with a fault is not looked at any further.
  fmt::print("{}\n", std::ranges::max(verdicts, {}, &Verdict::rows).rows());
  for (std::size_t i = 0; i < isas.size(); ++i) {
    if (!verdicts[i].passed()) fmt::print("  {}: {}\n", isas[i], verdicts[i].fault());
  }
  return bench::flush_output();
}

void print_verdict(std::size_t failed, std::size_t total, double seconds) {
  fmt::print(
      "\nok: attention has the bits of the scalar oracle, drawn tokens are those of a reference "
      "that\nsorts, and all results lie within derived bounds of float64; the largest error of a "
      "check is\nshown as a share of its bound.\n");
  if (failed == 0) {
    fmt::print("\n{} {} passed in {:.1f} s.\n", total, total == 1 ? "check" : "checks", seconds);
  } else {
    fmt::print("\n{} of {} checks FAILED in {:.1f} s: do not rely on this build on this machine.\n",
               failed, total, seconds);
  }
}

/// The checks with this text in their name.
Status choose_checks(const std::string& part, std::vector<Check>& checks) {
  checks = attention_checks();
  std::ranges::move(softmax_checks(), std::back_inserter(checks));
  std::ranges::move(sampling_checks(), std::back_inserter(checks));
  std::string names;
  for (const Check& check : checks) names += (names.empty() ? "" : "; ") + check.name;
  std::erase_if(checks,
                [&](const Check& check) { return check.name.find(part) == std::string::npos; });
  if (!checks.empty()) return {};
  return bad_value("--only", part, "a part of the name of a check: " + names);
}

Outcome check(const std::string& isa, const std::string& only) {
  const auto start = std::chrono::steady_clock::now();
  std::vector<std::string_view> isas;
  std::vector<Check> checks;
  HEED_RETURN_IF_ERROR(choose_isas(isa, isas));
  HEED_RETURN_IF_ERROR(choose_checks(only, checks));
  const Subject subject = heed_operators();
  HEED_RETURN_IF_ERROR(print_head(isas));
  std::size_t failed = 0;
  for (const Check& check : checks) {
    bench::show_progress(check.name);
    std::vector<Verdict> verdicts(isas.size());
    check.run(subject, isas, verdicts);
    bench::show_progress("");
    HEED_RETURN_IF_ERROR(print_row(check, isas, verdicts));
    failed += static_cast<std::size_t>(
        std::ranges::count_if(verdicts, [](const Verdict& verdict) { return !verdict.passed(); }));
  }
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  print_verdict(failed, checks.size() * isas.size(), elapsed.count());
  return {{}, failed == 0};
}

}  // namespace

void add_check(CLI::App& app, Action& action) {
  CLI::App* const command =
      app.add_subcommand("check", "Prove this build on this machine, in under a minute");
  const auto isa = std::make_shared<std::string>(), only = std::make_shared<std::string>();
  command->add_option("--isa", *isa, "Only this instruction set (every one that can run)")
      ->type_name("NAME");
  command->add_option("--only", *only, "Only checks with this in their name (all)")
      ->type_name("TEXT");
  command->callback([=, &action] { action = [=] { return check(*isa, *only); }; });
}

}  // namespace heed::tools
