// The `heed` command as a person or a script meets it: exit status, messages, reports.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "heed/cpu.h"
#include "heed/executor.h"
#include "tests/support/run_command.h"
#include "tests/support/this_build.h"

namespace heed::tests {
namespace {

using Arguments = std::vector<std::string>;

TEST(Heed, HelpAndVersion) {
  for (const Arguments& arguments : {Arguments{"--help"},
                                     {"-h"},
                                     {"attend", "--help"},
                                     {"info", "-h"},
                                     {"check", "--help"},
                                     {"bench", "--help"},
                                     {"compare", "--help"},
                                     {"report", "--help"},
                                     {"plan", "--help"},
                                     {"generate", "--help"},
                                     {"--version"}}) {
    if (emulated() && arguments.front() == "generate") continue;
    const CommandResult result = run_heed(arguments);
    expect_fine(result);
    EXPECT_NE(result.out, "");
  }
  EXPECT_TRUE(run_heed({"--version"}).out.starts_with("heed "));
}

TEST(Heed, BadUsage) {
  const std::vector<std::pair<Arguments, std::string>> faults = {
      {{},
       "the first argument must be a subcommand: info, attend, check, bench, compare, report, plan "
       "or "
       "generate"},
      {{""}, "argument (\"\") must be a subcommand"},
      {{"attent"}, "argument (\"attent\") must be a subcommand"},
      {{"--isa"}, "argument (\"--isa\") must be a subcommand"},
      {{"a\nb"}, "argument (\"a\\nb\") must be a subcommand"},
      {{"info", "extra"}, "heed info: argument (\"extra\") must be one"},
      {{"info", "--jsn"}, "heed info: argument (\"--jsn\") must be one"},
      {{"info", "check"}, "heed info: argument (\"check\") must be one"},
      {{"info", "--json=maybe"}, "--json = maybe: a flag must have no value"},
      {{"check", "--isa"}, "heed check: --isa must be given once, with one value"},
      {{"check", "--isa", ""}, "heed check: --isa (\"\") must not be empty"},
      {{"check", "--only", "speed"},
       "heed check: --only (\"speed\") must be a part of the name of a check: head dimensions; "},
      {{"check", "--isa", "sse9"},
       "heed check: --isa (\"sse9\") must be one of " + std::string(kIsaNames)},
      {{"bench", "--threads", "0"},
       "heed bench: --threads (\"0\") must be integers from 1 to 1024"},
      {{"bench", "--threads", "1,"}, "heed bench: --threads (\"1,\") must be integers"},
      {{"bench", "--threads", "2000"}, "heed bench: --threads (\"2000\") must be integers"},
      {{"bench", "--seconds", "0"},
       "heed bench: --seconds (\"0\") must be a finite number above 0"},
      {{"bench", "--seconds", "inf"}, "heed bench: --seconds (\"inf\") must be"},
      {{"bench", "--seconds", "nan"}, "heed bench: --seconds (\"nan\") must be"},
      {{"bench", "--workload", "("}, "heed bench: --workload (\"(\")"},
      {{"bench", "--workload", "^no such$"}, "heed bench: --workload (\"^no such$\")"},
      {{"bench", "--isa", "sse9"}, "heed bench: --isa (\"sse9\") must be one of"},
      {{"plan", "--threads", "0"}, "heed plan: --threads (\"0\") must be integers from 1 to 1024"},
      {{"plan", "--isa", "sse9"}, "heed plan: --isa (\"sse9\") must be one of"},
      {{"plan", "--workload", "^no such$"}, "heed plan: --workload (\"^no such$\") must match"},
      {{"plan", "--workload", "^softmax"},
       "heed plan: --workload (\"^softmax\") must match the name of at least one with attention"},
      {{"generate"}, "heed generate: MODEL is required"},
      {{"bench", "--json", "/no/such/folder/x"},
       "heed bench: --json /no/such/folder/x: cannot be written: /no/such/folder is not a folder"},
  };
  for (const auto& [arguments, part] : faults) {
    if (emulated() && arguments == Arguments{"generate"}) continue;
    SCOPED_TRACE(part);
    expect_fault(run_heed(arguments), part);
  }
}

// What would take more stack or time than there is, if it were tried.
TEST(Heed, ExpressionsThatAreTooMuch) {
  const std::string sentence = "heed plan: --workload (";
  const auto expect = [&](const std::string& regex, const std::string& part) {
    SCOPED_TRACE(regex.substr(0, 50));
    expect_fault(run_heed({"plan", "--workload", regex}), sentence + part);
  };
  for (const char* const part : {"(", "a", "a|", "(?:", "[a]", "a*"}) {
    std::string regex;
    while (regex.size() < 100'000) regex += part;
    expect(regex, std::to_string(regex.size()) + " characters) must be at most 200 long");
  }
  expect("(){45000}", "\"(){45000}\") must be a regular expression without {");
  expect("(?=.*(?=a))", "\"(?=.*(?=a))\") must be a regular expression without (?=");
  expect("(?!a)", "\"(?!a)\") must be a regular expression without (?!");
  expect("(a)\\1", "\"(a)\\1\") must be a regular expression");
  std::string regex;
  while (regex.size() < 190) regex += "(.*)*";
  expect(regex + "!", "\"" + regex + "!\") must match the name of at least one");
  expect(std::string(200, '('), "\"(((");
}

TEST(Heed, ForcedIsaThatDoesNotExist) {
  for (const Arguments& arguments :
       {Arguments{"info"}, {"info", "--json"}, {"check"}, {"bench"}, {"plan"}}) {
    expect_fault(run_heed(arguments, {{"HEED_ISA", "bogus"}}),
                 "HEED_ISA (\"bogus\") must be one of " + std::string(kIsaNames));
  }
}

TEST(Heed, StandardOutputThatCannotBeWritten) {
  EXPECT_EQ(run_heed_with_limit(RLIMIT_FSIZE, 10, {"info"}).exit, 2);
}

/// Ends at once, with a sentence, where the work would take long.
void expect_early_fault(const Channels& channels, const std::vector<std::string>& arguments) {
  SCOPED_TRACE(arguments.front() + " to " + channels.out);
  const auto start = std::chrono::steady_clock::now();
  const CommandResult result = run_heed_on(channels, arguments);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
  expect_fault(result, "heed " + arguments.front() + ": standard output cannot be written: ");
}

TEST(Heed, NoticesEarlyThatStandardOutputCannotBeWritten) {
  for (const char* const out : {"/dev/full", kClosed}) {
    if (out != kClosed && !std::filesystem::exists(out)) continue;
    for (const Arguments& arguments :
         {Arguments{"check"}, {"bench", "--seconds", "100"}, {"info", "--measure"}, {"plan"}}) {
      expect_early_fault({.out = out}, arguments);
    }
  }
  expect_early_fault({.out = kClosed}, {"info", "--measure", "--json"});
  expect_fault(run_heed_on({.out = kClosed}, {"--help"}),
               "heed: standard output cannot be written");
}

TEST(Heed, DoesWithoutStandardError) {
  for (const char* const err : {"/dev/full", kClosed, kBrokenPipe}) {
    SCOPED_TRACE(err);
    EXPECT_EQ(run_heed_on({.err = err}, {"info", "extra"}).exit, 2);
    EXPECT_EQ(run_heed_on({.err = err}, {"info"}).exit, 0);
  }
}

TEST(Info, Text) {
  const CommandResult result = run_heed({"info"});
  expect_fine(result);
  EXPECT_NE(result.out.find(cpu_info().model), std::string::npos) << result.out;
  for (const std::string& isa : supported_command_isas()) {
    EXPECT_NE(result.out.find(isa), std::string::npos) << result.out;
  }
}

TEST(Info, TextNamesTheCores) {
  const int cores = cpu_info().physical_cores;
  const std::string line = "\ncores      " + (cores > 0 ? std::to_string(cores) : "unknown") + "\n";
  const CommandResult result = run_heed({"info"});
  EXPECT_NE(result.out.find(line), std::string::npos) << result.out;
}

TEST(Info, TextTellsTheLimitsOfThisProcess) {
  const CommandResult result = run_heed({"info"});
  const std::string workers = std::to_string(cpu_info().default_workers);
  EXPECT_NE(result.out.find("\nworkers    " + workers + " by default\n"), std::string::npos)
      << result.out;
  EXPECT_NE(result.out.find("\nmemory     "), std::string::npos) << result.out;
}

TEST(Info, Json) {
  const CommandResult result = run_heed({"info", "--json"});
  expect_fine(result);
  const auto json = nlohmann::json::parse(result.out);
  EXPECT_EQ(json["cpu"]["vendor"], cpu_info().vendor);
  EXPECT_EQ(json["cpu"]["model"], cpu_info().model);
  EXPECT_EQ(json["cpu"]["logical_cpus"], cpu_info().logical_cpus);
  EXPECT_EQ(json["cpu"]["cpu_quota"], cpu_info().cpu_quota);
  EXPECT_EQ(json["cpu"]["default_workers"], cpu_info().default_workers);
  EXPECT_EQ(json["threads"], thread_library());
  EXPECT_EQ(json["cpu"]["memory_bytes"], cpu_info().memory_bytes);
  EXPECT_EQ(json["cpu"]["cores"], cpu_info().physical_cores);
  EXPECT_EQ(json["cpu"]["l1d_bytes"], cpu_info().l1d_bytes);
  EXPECT_EQ(json["cpu"]["l2_bytes"], cpu_info().l2_bytes);
  EXPECT_EQ(json["cpu"]["l3_bytes"], cpu_info().l3_bytes);
  const std::vector<std::string> features = json["cpu"]["features"];
  EXPECT_TRUE(std::ranges::equal(features, cpu_info().features));
  EXPECT_FALSE(json.contains("limits"));
  std::vector<std::string> supported, chosen;
  std::string all;
  for (const auto& isa : json["isas"]) {
    EXPECT_EQ(isa.size(), 4U);
    EXPECT_TRUE(isa["built"].get<bool>());
    all += (all.empty() ? "" : ", ") + isa["name"].get<std::string>();
    if (isa["supported"].get<bool>()) supported.push_back(isa["name"]);
    if (isa["chosen"].get<bool>()) chosen.push_back(isa["name"]);
  }
  EXPECT_EQ(all, kIsaNames);
  EXPECT_EQ(supported, supported_command_isas());
  EXPECT_EQ(chosen, std::vector<std::string>{chosen_command_isa()});
}

TEST(Info, JsonOfWhatIsMeasured) {
  const CommandResult result = run_heed({"info", "--measure", "--json"});
  expect_fine(result);
  const auto limits = nlohmann::json::parse(result.out)["limits"];
  std::vector<int> threads;
  for (const auto& limit : limits) {
    EXPECT_EQ(limit.size(), 4U);
    threads.push_back(limit["threads"]);
    EXPECT_GT(limit["read_gbps"].get<double>(), 0);
    EXPECT_GT(limit["copy_gbps"].get<double>(), 0);
    EXPECT_EQ(limit["fma_gflops"].size(), supported_command_isas().size());
    for (const std::string& isa : supported_command_isas()) {
      EXPECT_GT(limit["fma_gflops"][isa].get<double>(), 0) << isa;
    }
  }
  const int workers = cpu_info().default_workers;
  EXPECT_EQ(threads, workers > 1 ? (std::vector<int>{1, workers}) : std::vector<int>{1});
}

TEST(Info, JsonSaysWhichIsaIsForced) {
  const CommandResult result =
      run_heed({"info", "--json"}, {{"HEED_ISA", std::string(kBaselineIsa)}});
  expect_fine(result);
  const auto json = nlohmann::json::parse(result.out);
  for (const auto& isa : json["isas"]) {
    EXPECT_EQ(isa["chosen"].get<bool>(), isa["name"] == kBaselineIsa);
  }
}

TEST(CheckCommand, ProvesOneIsa) {
  const CommandResult one =
      run_heed({"check", "--isa", std::string(kBaselineIsa), "--only", "softmax, temp"});
  EXPECT_EQ(one.exit, 0);
  EXPECT_NE(one.out.find("\n1 check passed in "), std::string::npos) << one.out;
  const CommandResult result = run_heed({"check", "--isa", std::string(kBaselineIsa)});
  expect_fine(result);
  EXPECT_NE(result.out.find("checks passed"), std::string::npos) << result.out;
  EXPECT_EQ(result.out.find("FAILED"), std::string::npos) << result.out;
  EXPECT_EQ(result.out.find("avx2"), std::string::npos) << result.out;
}

TEST(CheckCommand, EndsWithOneWhereChecksFail) {
  const CommandResult result = run_faulty_heed({"check", "--isa", std::string(kBaselineIsa)});
  EXPECT_EQ(result.exit, 1) << result.err;
  EXPECT_EQ(result.err, "");
  EXPECT_NE(result.out.find("a planted fault"), std::string::npos) << result.out;
  EXPECT_NE(result.out.find("do not rely on this build"), std::string::npos) << result.out;
}

TEST(CheckCommand, RefusesAForcedIsaThatDoesNotExist) {
  expect_fault(run_heed({"check"}, {{"HEED_ISA", "avx1024"}}), "HEED_ISA (\"avx1024\")");
}

}  // namespace
}  // namespace heed::tests
