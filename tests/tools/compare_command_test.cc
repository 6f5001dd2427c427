// `heed compare`: ratios, intervals and verdicts of files whose samples are known, and what is no
// such file.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/run_command.h"

namespace heed::tests {
namespace {

using Json = nlohmann::json;
using Times = std::vector<double>;

/// A result whose runs take these times, `per_slice` of them in each slice.
Json result(const std::string& name, const Times& times, std::size_t per_slice = 1) {
  Json slices = Json::array();
  for (std::size_t i = 0; i < times.size(); i += per_slice) slices.push_back({{"runs", per_slice}});
  return {{"name", name},
          {"shape", "hq=1 q=1 d=8"},
          {"threads", 1},
          {"slices", slices},
          {"samples_ms", times}};
}

Json file(const std::vector<Json>& results) {
  return {{"schema", "heed-bench"},
          {"schema_version", 1},
          {"heed", {{"version", "0.1.0"}, {"commit", "0123456789abcdef"}}},
          {"date", "2026-01-31T12:00:00Z"},
          {"host", {{"model", "a machine"}}},
          {"setting", {{"warm", false}}},
          {"results", results}};
}

/// A folder with the files A and B.
class CompareCommand : public testing::Test {
 protected:
  CommandResult compare(const std::vector<std::string>& options = {}) const {
    std::vector<std::string> arguments = {"compare", a_, b_};
    arguments.insert(arguments.end(), options.begin(), options.end());
    return run_heed(arguments);
  }
  void write(const Json& a, const Json& b) const {
    write_bytes(a_, a.dump());
    write_bytes(b_, b.dump(1));
  }
  Json compared(const Times& a, const Times& b, std::size_t per_slice, int exit,
                const std::vector<std::string>& options = {}) const {
    write(file({result("x", a, per_slice)}), file({result("x", b, per_slice)}));
    std::vector<std::string> all = {"--format", "json"};
    all.insert(all.end(), options.begin(), options.end());
    const CommandResult result = compare(all);
    EXPECT_EQ(result.exit, exit) << result.err;
    return Json::parse(result.out)["comparisons"][0];
  }

  const Folder folder_;
  const std::string a_ = folder_.path("A"), b_ = folder_.path("B");
};

TEST_F(CompareCommand, VerdictsOfTimesThatDoNotVary) {
  const Times ten(8, 10.0), nine(8, 9.0), almost(8, 9.9);
  const Json faster = compared(ten, nine, 1, 0);
  EXPECT_EQ(faster["verdict"], "faster");
  EXPECT_NEAR(faster["ratio"].get<double>(), 10 / 9.0, 1e-12);
  EXPECT_EQ(faster["low"], faster["ratio"]);
  EXPECT_EQ(faster["high"], faster["ratio"]);
  EXPECT_EQ(faster["a_ms"], 10);
  EXPECT_EQ(faster["b_ms"], 9);
  const Json slower = compared(nine, ten, 1, 1);
  EXPECT_EQ(slower["verdict"], "slower");
  EXPECT_NEAR(slower["ratio"].get<double>(), 0.9, 1e-12);
  EXPECT_EQ(compared(ten, almost, 1, 0)["verdict"], "undecided");
  EXPECT_EQ(compared(almost, ten, 1, 0)["verdict"], "undecided");
  EXPECT_EQ(compared(almost, ten, 1, 1, {"--margin", "0"})["verdict"], "slower");
  EXPECT_EQ(compared(ten, nine, 1, 0, {"--margin", "0.2"})["verdict"], "undecided");
}

// Of four runs a median lies anywhere between the least and the most: the middle ones of 10 %
// differ.
TEST_F(CompareCommand, VerdictsOfTimesThatVary) {
  const Times a = {10, 12, 9, 11, 10, 13, 9, 12}, b = {9, 11, 8, 10, 9, 12, 8, 11};
  const Json undecided = compared(a, b, 1, 0);
  EXPECT_EQ(undecided["verdict"], "undecided");
  EXPECT_LT(undecided["low"], 1);
  EXPECT_GT(undecided["high"], undecided["ratio"]);
  EXPECT_GE(undecided["low"], 9 / 12.0);
  EXPECT_LE(undecided["high"], 13 / 8.0);
  EXPECT_EQ(undecided, compared(a, b, 1, 0)) << "draws are the same every time";
}

// Runs of one slice saw the same moment: four slices say less than the hundred runs in them.
TEST_F(CompareCommand, RunsOfOneSliceAreNotIndependent) {
  Times a, b;
  for (const double level : {10.0, 11.5, 13.0, 14.5}) {
    for (int i = 0; i < 25; ++i) {
      a.push_back(level + 0.2 * i);
      b.push_back(a.back() - 1.5);
    }
  }
  EXPECT_EQ(compared(a, b, 25, 0)["verdict"], "undecided");
  // As 100 slices of one run each.
  EXPECT_EQ(compared(a, b, 1, 0)["verdict"], "faster");
  // Three slices are too few to draw from: single runs are drawn.
  const Times three(a.begin(), a.begin() + 75);
  EXPECT_GT(compared(three, three, 25, 0)["high"], 1);
}

TEST_F(CompareCommand, Tables) {
  const Json a = file({result("long-name", Times(5, 10.0)), result("y", Times(5, 3.0))});
  const Json b = file({result("y", Times(5, 6.0)), result("long-name", Times(5, 5.0))});
  write(a, b);
  const CommandResult table = compare(), markdown = compare({"--format", "md"});
  EXPECT_EQ(table.exit, 1);
  EXPECT_EQ(table.err, "");
  EXPECT_EQ(table.out,
            "A: heed 0.1.0 012345678, a machine, 2026-01-31T12:00:00Z\n"
            "B: heed 0.1.0 012345678, a machine, 2026-01-31T12:00:00Z\n"
            "ratio: the time of A by that of B, with the interval of 95%\n"
            "workload   threads       A ms       B ms   ratio            95%  B is\n"
            "long-name        1    10.0000     5.0000   2.000   2.000..2.000  faster\n"
            "y                1     3.0000     6.0000   0.500   0.500..0.500  slower\n"
            "\nfaster: 1, slower: 1, undecided: 0\n");
  EXPECT_NE(markdown.out.find("\n| workload | threads | A ms | B ms | ratio | 95% | B is |\n"
                              "| --- | ---: | ---: | ---: | ---: | ---: | --- |\n"
                              "| long-name | 1 | 10.0000 | 5.0000 | 2.000 | 2.000..2.000 | faster "
                              "|\n"),
            std::string::npos)
      << markdown.out;
  EXPECT_EQ(markdown.exit, 1);
}

TEST_F(CompareCommand, Faults) {
  const Json x = result("x", Times(5, 1.0)), y = result("y", Times(5, 1.0));
  Json version = file({x}), warm = file({x}), shape = file({x}), short_ = file({x}),
       negative = file({x}), missing = file({x});
  version["schema_version"] = 2;
  warm["setting"]["warm"] = true;
  shape["results"][0]["shape"] = "hq=2 q=1 d=8";
  short_["results"][0]["samples_ms"] = Times(4, 1.0);
  negative["results"][0]["samples_ms"][2] = -1;
  missing["results"][0].erase("threads");
  const std::vector<std::pair<Json, std::string>> faults = {
      {Json::array(), "B: must be a JSON file of heed bench"},
      {{{"schema", "other"}}, "B: must be a JSON file of heed bench"},
      {version, "B: is of version 2 of the schema; this heed reads version 1"},
      {warm, "B: was measured with --warm, and "},
      {shape, "B: x is hq=2 q=1 d=8, and in "},
      {short_, "B: is damaged: the samples of x on 1 thread are no times of its slices"},
      {negative, "B: is damaged: the samples of x on 1 thread"},
      {missing, "B: is damaged: "},
      {file({}), "B: lacks x on 1 thread"},
      {file({x, y}), "A: lacks y on 1 thread"},
      {file({x, x}), "B: is damaged: it has x on 1 thread twice"},
  };
  for (const auto& [b, part] : faults) {
    write(file({x}), b);
    expect_fault(compare(), part);
  }
  write(file({x}), file({x}));
  expect_fault(compare({"--margin", "1"}), "--margin (\"1\") must be a number of 0 or more");
  expect_fault(compare({"--format", "csv"}), "--format (\"csv\") must be table, md or json");
  write_bytes(b_, "{ no");
  expect_fault(compare(), "B: must be a JSON file of heed bench");
  expect_fault(run_heed({"compare", a_, folder_.path("none")}), "none: cannot be read");
}

// What heed bench writes can be compared, with itself: nothing is faster.
TEST_F(CompareCommand, FilesOfHeedBench) {
  expect_fine(run_heed({"bench", "--shape", "hq=2 q=3,9 d=8", "--warm", "--seconds", "0.001",
                        "--threads", "1", "--json", a_}));
  const CommandResult same = run_heed({"compare", a_, a_});
  expect_fine(same);
  EXPECT_TRUE(same.out.ends_with("\nfaster: 0, slower: 0, undecided: 2\n")) << same.out;
}

}  // namespace
}  // namespace heed::tests
