// `heed report` and `heed bench --format html`: pages with the figures as they were, whatever is in
// their words, and what is refused. report_page_test opens pages in a browser.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/support/run_command.h"

namespace heed::tests {
namespace {

using Json = nlohmann::json;

#if HEED_HAS_PAGE

Json bench(const std::string& name) {
  const Json result = {
      {"name", name},
      {"shape", "hq=1 q=1 d=8"},
      {"threads", 1},
      {"min_ms", 1.5},
      {"gflops", 0.1},
      {"disturbed", nullptr},
      {"isa", "avx2"},
      {"slices", {{{"runs", 2}}}},
      {"samples_ms", {1.5, 2.5}},
  };
  return {{"schema", "heed-bench"},
          {"schema_version", 1},
          {"heed", {{"version", "0.1.0"}, {"commit", nullptr}}},
          {"date", "2026-01-31T12:00:00Z"},
          {"host", {{"model", "a machine"}}},
          {"setting", {{"warm", false}}},
          {"results", {result}}};
}

Json peers() {
  const Json best = {{"heed", {{"min_ms", 1.0}}}, {"ggml", {{"min_ms", 2.0}}}};
  return {{"schema", "heed-peers"},
          {"schema_version", 1},
          {"peers", {{"ggml", "ggml"}}},
          {"results", {{{"name", "x"}, {"threads", 1}, {"best", best}}}}};
}

/// The text of the page's data.
std::string data_text(const std::string& page) {
  const std::string open = R"(<script type="application/json" id="data">)";
  const std::size_t begin = page.find(open);
  if (begin == std::string::npos) return {};
  const std::size_t start = begin + open.size();
  return page.substr(start, page.find("</script>", start) - start);
}

/// The files bench.json and peers.json.
class ReportCommand : public testing::Test {
 protected:
  ReportCommand() {
    write_bytes(bench_, bench("x").dump(1));
    write_bytes(peers_, peers().dump(1));
  }

  void expect_refused(const Json& changed_bench, const std::string& sentence) const {
    write_bytes(bench_, changed_bench.dump());
    expect_fault(run_heed({"report", bench_}), bench_ + ": " + sentence);
  }
  void expect_peers_refused(const Json& changed_peers, const std::string& sentence) const {
    write_bytes(peers_, changed_peers.dump());
    expect_fault(run_heed({"report", bench_, "--peers", peers_}), peers_ + ": " + sentence);
  }

  const Folder folder_;
  const std::string bench_ = folder_.path("bench.json"), peers_ = folder_.path("peers.json");
};

TEST_F(ReportCommand, AllFilesAreOnThePageAsTheyAre) {
  const std::string other = folder_.path("other.json");
  write_bytes(other, bench("y").dump());
  const CommandResult result = run_heed({"report", bench_, other, "--peers", peers_});
  expect_fine(result);
  const Json wanted = {{"benches",
                        {{{"name", "bench.json"}, {"bench", bench("x")}},
                         {{"name", "other.json"}, {"bench", bench("y")}}}},
                       {"peers", peers()}};
  EXPECT_EQ(Json::parse(data_text(result.out), nullptr, false), wanted);
  const CommandResult alone = run_heed({"report", bench_});
  EXPECT_TRUE(Json::parse(data_text(alone.out))["peers"].is_null());
}

TEST_F(ReportCommand, WordsCannotEndTheData) {
  const std::string name = "</script><!-- <script> \" \\ \n \xE2\x80\xA8 é 猫";
  const std::string odd = folder_.path("<\xFF>");
  for (const std::string& path : {bench_, odd}) {
    write_bytes(path, bench(name).dump(2));
    const CommandResult result = run_heed({"report", path});
    expect_fine(result);
    const std::string data = data_text(result.out);
    EXPECT_EQ(data.find('<'), std::string::npos);
    EXPECT_EQ(data.find('\n'), std::string::npos);
    const Json read = Json::parse(data, nullptr, false);
    ASSERT_TRUE(read.is_object()) << data;
    EXPECT_EQ(read["benches"][0]["bench"], bench(name));
  }
}

TEST_F(ReportCommand, ThePageNeedsNothingElse) {
  const std::string page = run_heed({"report", bench_}).out;
  EXPECT_NE(page.find("default-src 'none'"), std::string::npos);
  for (const char* const loads :
       {"src=", "<link rel=\"stylesheet", "@import", "sourceMappingURL"}) {
    EXPECT_EQ(page.find(loads), std::string::npos) << loads;
  }
  EXPECT_NE(page.find("Permission is hereby granted"), std::string::npos);
  EXPECT_NE(page.find("Chart.js Contributors"), std::string::npos);
}

TEST_F(ReportCommand, WritesAFileOrNothing) {
  const std::string out = folder_.path("page.html");
  const CommandResult result = run_heed({"report", bench_, "--out", out});
  expect_fine(result);
  EXPECT_TRUE(result.out.empty());
  EXPECT_EQ(read_bytes(out), run_heed({"report", bench_}).out);
  write_bytes(bench_, "{}");
  expect_fault(run_heed({"report", bench_, "--out", out}), "must be a JSON file of heed bench");
  EXPECT_FALSE(read_bytes(out).empty());
  expect_fault(run_heed({"report", bench_, "--out", folder_.path("no/page")}), "--out");
}

TEST_F(ReportCommand, WhatIsNoFileOfTheBenchIsRefused) {
  expect_fault(run_heed({"report"}), "FILES");
  expect_fault(run_heed({"report", folder_.path("none")}), "none: cannot be read");
  expect_refused(peers(), "must be a JSON file of heed bench");
  Json changed = bench("x");
  changed["schema_version"] = 2;
  expect_refused(changed, "is of version 2 of the schema; this heed reads version 1");
  changed = bench("x");
  changed.erase("host");
  expect_refused(changed, "is damaged: ");
  changed = bench("x");
  changed["results"][0]["gflops"] = "many";
  expect_refused(changed, "is damaged: gflops of x must be a number");
  changed = bench("x");
  changed["results"][0]["disturbed"] = 1;
  expect_refused(changed, "is damaged: disturbed of x must be a text");
}

TEST_F(ReportCommand, WhatIsNoFileOfPeersIsRefused) {
  expect_peers_refused(bench("x"), "must be a JSON file of bench/peers/run");
  expect_peers_refused(Json::array(), "must be a JSON file of bench/peers/run");
  Json changed = peers();
  changed["schema_version"] = 2;
  expect_peers_refused(changed, "is of version 2 of the schema; this heed reads version 1");
  changed = peers();
  changed["results"][0]["best"]["ggml"]["min_ms"] = 0;
  expect_peers_refused(changed, "is damaged: times must be above 0");
  changed = peers();
  changed["peers"]["ggml"] = 1;
  expect_peers_refused(changed, "is damaged: ");
  changed = peers();
  changed["results"][0]["best"]["ggml"] = 1;
  expect_peers_refused(changed, "is damaged: ");
  changed = peers();
  changed["results"][0]["threads"] = 1.5;
  expect_peers_refused(changed, "is damaged: times must be above 0, and threads integers");
}

TEST_F(ReportCommand, TheBenchMakesThePageOfItsResults) {
  const CommandResult result =
      run_heed({"bench", "--shape", "hq=2 q=16 d=8", "--threads", "1,2", "--seconds", "0.001",
                "--warm", "--format", "html", "--json", bench_});
  expect_fine(result);
  const Json data = Json::parse(data_text(result.out), nullptr, false);
  ASSERT_TRUE(data.is_object());
  EXPECT_EQ(data["benches"][0]["bench"], Json::parse(read_bytes(bench_)));
  EXPECT_TRUE(result.out.starts_with("<!doctype html>\n"));
  EXPECT_TRUE(result.out.ends_with("</html>\n"));
}

#else

TEST(ReportCommand, AHeedWithoutItsPageSaysWhy) {
  const std::string sentence = "this heed cannot make pages: it was built with";
  expect_fault(run_heed({"report", "any"}), sentence);
  expect_fault(run_heed({"bench", "--format", "html"}), sentence);
}

#endif

}  // namespace
}  // namespace heed::tests
