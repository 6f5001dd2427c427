// `heed plan`: the plans of workloads, and how evenly they spread over threads that need not be
// there.
#include <gtest/gtest.h>

#include <cstdlib>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "heed/cpu.h"
#include "tests/support/run_command.h"
#include "tests/support/this_build.h"

namespace heed::tests {
namespace {

/// One plan as printed: its heading, and the lines below.
struct Shown {
  std::string heading, text;

  /// The number after `label` in the line that begins with `line`; −1 where there is none.
  double number(const std::string& line, const std::string& label) const {
    const std::size_t start = text.find("\n" + line);
    const std::size_t at = start == std::string::npos ? start : text.find(label, start);
    const std::size_t end = start == std::string::npos ? start : text.find('\n', start + 1);
    return at >= end ? -1 : std::atof(text.c_str() + at + label.size());
  }
  double balance() const { return number("balance: ", "balance: "); }
  double longest() const { return number("balance: ", "longest item: "); }
  double items() const { return number("items: ", "items: "); }
  double splits() const { return number("splits: ", "splits: "); }
};

/// The plans that heed prints; each ends with an empty line.
std::vector<Shown> plans(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "plan");
  const CommandResult result = run_heed(arguments);
  expect_fine(result);
  std::vector<Shown> shown;
  std::istringstream lines(result.out);
  bool inside = false;
  for (std::string line; std::getline(lines, line); inside = !line.empty()) {
    if (!inside) shown.push_back({line, "\n"});
    if (inside) shown.back().text += line + "\n";
  }
  return shown;
}

TEST(PlanCommand, OfEachWorkloadOnEachNumberOfThreads) {
  const std::vector<Shown> shown = plans(
      {"--workload", "^bert|^softmax", "--threads", "1,48", "--isa", std::string(kBaselineIsa)});
  const std::vector<std::string> headings = {
      "bert-base-b8-s128 on 1 thread", "bert-base-b8-s128 on 48 threads",
      "bert-base-b1-s512 on 1 thread", "bert-base-b1-s512 on 48 threads"};
  ASSERT_EQ(shown.size(), headings.size());
  for (std::size_t i = 0; i < headings.size(); ++i) {
    EXPECT_EQ(shown[i].heading, headings[i]);
    EXPECT_TRUE(shown[i].text.starts_with("\nisa: " + std::string(kBaselineIsa) + "\n"))
        << shown[i].text;
    EXPECT_EQ(shown[i].number("workers: ", "workers: "), i % 2 == 0 ? 1 : 48);
  }
}

TEST(PlanCommand, OfKeysAndValuesOfAType) {
  const std::vector<Shown> shown =
      plans({"--workload", "^bert-base-b1", "--threads", "1", "--kv-type", "q8_0"});
  ASSERT_EQ(shown.size(), 1U);
  EXPECT_NE(shown[0].text.find("\ntypes: "), std::string::npos) << shown[0].text;
  EXPECT_NE(shown[0].text.find("q8_0"), std::string::npos) << shown[0].text;
  expect_fault(run_heed({"plan", "--kv-type", "int7"}), "--kv-type (\"int7\") must be one of f32,");
}

TEST(PlanCommand, OfShapesOfOnesOwn) {
  const std::vector<Shown> shown = plans({"--shape", "hq=4 q=1 kv=64,128 d=8", "--threads", "3"});
  ASSERT_EQ(shown.size(), 2U);
  EXPECT_EQ(shown[0].heading, "hq4-q1-kv64-d8 on 3 threads");
  EXPECT_EQ(shown[1].heading, "hq4-q1-kv128-d8 on 3 threads");
  expect_fault(run_heed({"plan", "--shape", "rows=2 length=2"}),
               "must match the name of at least one with attention");
}

// 12 heads of 8 sequences: 96 equal items.
TEST(PlanCommand, BalanceOfEqualItems) {
  const std::vector<Shown> shown =
      plans({"--workload", "^bert-base-b8-s128$", "--threads", "1,2,12,13"});
  ASSERT_EQ(shown.size(), 4U);
  for (const Shown& plan : {shown[0], shown[1], shown[2]}) {
    EXPECT_EQ(plan.items(), 96) << plan.text;
    EXPECT_EQ(plan.splits(), 0) << plan.text;
    EXPECT_EQ(plan.balance(), 100) << plan.text;
  }
  EXPECT_EQ(shown[0].longest(), 1) << shown[0].text;
  EXPECT_EQ(shown[1].longest(), 2.1) << shown[1].text;
  EXPECT_EQ(shown[2].longest(), 12.5) << shown[2].text;
  EXPECT_LT(shown[3].balance(), 100) << shown[3].text;
  EXPECT_GT(shown[3].balance(), 90) << shown[3].text;
}

/// Whether the ISA computes so fast that reading keys once for several rows is worth more than
/// whole vectors of rows: not with the four lanes that all processors have.
bool memory_is_slow() { return chosen_command_isa() != kBaselineIsa; }

TEST(PlanCommand, OfPages) {
  const std::vector<Shown> shown =
      plans({"--workload", "^llama3-8b-decode-b.*(paged|shared)", "--threads", "2"});
  const std::vector<std::pair<std::string, std::string>> expected = {
      {"llama3-8b-decode-b8-kv2k-paged16", "1024 pages of 16 tokens"},
      {"llama3-8b-decode-b8-kv2k-paged128", "128 pages of 128 tokens"},
      {"llama3-8b-decode-b16-kv2k-shared1792", "46 pages of 128 tokens"},
  };
  ASSERT_EQ(shown.size(), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(shown[i].heading, expected[i].first + " on 2 threads");
    EXPECT_NE(shown[i].text.find("\nstorage: " + expected[i].second), std::string::npos)
        << shown[i].text;
  }
  const std::string prefixes =
      "\nshared prefixes: groups: 1, keys read once: 1792, in place of 28672";
  EXPECT_EQ(shown[0].text.find(prefixes), std::string::npos) << shown[0].text;
  EXPECT_EQ(shown[2].text.find(prefixes) != std::string::npos, memory_is_slow()) << shown[2].text;
}

TEST(PlanCommand, NamesTheKernelsThatCostLess) {
  const std::vector<Shown> shown =
      plans({"--workload", "^llama3-8b-(spec8|decode-b1)-kv4k$", "--threads", "1"});
  ASSERT_EQ(shown.size(), 2U);
  const auto text = [&](std::size_t i) {
    return shown[i].text.substr(shown[i].text.find("items"));
  };
  EXPECT_EQ(shown[0].number("items: ", "decode for "), 0)
      << text(0);  // 32 rows for each of 8 heads
  EXPECT_EQ(shown[0].number("items: ", "prefill for "), 8) << text(0);
  // 4 rows, and of as many heads as cores read in turn, where they are read from memory
  const int heads = cpu_info().vendor == "GenuineIntel" ? 4 : 1;
  EXPECT_EQ(shown[1].number("items: ", "decode for "), memory_is_slow() ? 8 / heads : 0) << text(1);
  EXPECT_EQ(shown[1].number("items: ", "prefill for "), memory_is_slow() ? 0 : 8) << text(1);
}

/// The words of each row of --simulate, its head left out.
std::vector<std::vector<std::string>> simulated(const std::string& workload,
                                                const std::string& workers) {
  const CommandResult result = run_heed({"plan", "--workload", workload, "--simulate", workers});
  expect_fine(result);
  std::vector<std::vector<std::string>> rows;
  std::istringstream lines(result.out);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::vector<std::string> row;
    for (std::string word; words >> word;) row.push_back(word);
    rows.push_back(row);
  }
  EXPECT_FALSE(rows.empty());
  if (!rows.empty()) rows.erase(rows.begin());
  return rows;
}

// Equal items spread evenly: 96 heads of 128 rows on 1 and 2 workers. For 96 workers each head is
// divided, into items of whole vectors: with 4, 8 and 16 lanes the longest is as long as with 8.
TEST(PlanCommand, SimulatesWorkersThatAreNotThere) {
  using Row = std::vector<std::string>;
  const auto rows = simulated("^bert-base-b8-s128$", "1,2,96,256");
  ASSERT_EQ(rows.size(), 4U);
  EXPECT_EQ(rows[0], (Row{"bert-base-b8-s128", "1", "96", "0", "1.0", "100.0%", "1.0%"}));
  EXPECT_EQ(rows[1], (Row{"bert-base-b8-s128", "2", "96", "0", "2.0", "100.0%", "2.1%"}));
  ASSERT_EQ(rows[2].size(), 7U);
  const int items = std::stoi(rows[2][2]), pieces = items / 96;
  EXPECT_EQ(items, 96 * pieces);
  ASSERT_GT(pieces, 1);
  EXPECT_EQ(Row(rows[2].begin() + 3, rows[2].begin() + 6), (Row{"0", "96.0", "100.0%"}));
  const int longest = (128 / pieces + 7) / 8 * 8;
  EXPECT_NEAR(std::stod(rows[2][6]), 100.0 * longest / 128, 0.0501);  // one digit is printed
  EXPECT_EQ(rows[3][1], "256");
  EXPECT_LE(std::stod(rows[3][4]), 256);
  EXPECT_LE(std::stod(rows[3][5]), 100);
}

// Efficiency is what plans call balance.
TEST(PlanCommand, SimulatesWhatPlansSay) {
  const auto rows = simulated("^llama3-8b-(mixed-b16|decode-b1-kv32k)$", "3,256");
  const std::vector<Shown> shown =
      plans({"--workload", "^llama3-8b-(mixed-b16|decode-b1-kv32k)$", "--threads", "3,256"});
  ASSERT_EQ(rows.size(), 4U);
  ASSERT_EQ(shown.size(), 4U);
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_NEAR(std::stod(rows[i][5]), shown[i].balance(), 0.11) << shown[i].text;
    EXPECT_EQ(std::stod(rows[i][2]), shown[i].items()) << shown[i].text;
    EXPECT_EQ(std::stod(rows[i][3]), shown[i].splits()) << shown[i].text;
  }
  expect_fault(run_heed({"plan", "--simulate", "0"}), "--simulate (\"0\") must be integers");
}

TEST(PlanCommand, SplitsOfALongContext) {
  const std::vector<Shown> shown =
      plans({"--workload", "^llama3-8b-decode-b1-kv32k$", "--threads", "2,64"});
  ASSERT_EQ(shown.size(), 2U);
  EXPECT_EQ(shown[0].splits(), 0) << shown[0].text;
  EXPECT_EQ(shown[0].longest(), 25) << shown[0].text;
  EXPECT_EQ(shown[1].splits(), 8) << shown[1].text;
  EXPECT_GT(shown[1].items(), 64) << shown[1].text;
  EXPECT_LT(shown[1].longest(), 100) << shown[1].text;
  EXPECT_GE(shown[1].balance(), 90) << shown[1].text;
}

}  // namespace
}  // namespace heed::tests
