// heed attend: weights, figures of heads and pictures.
#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/tools/attend_case.h"

namespace heed::tests {
namespace {

/// The rows of attend_case.h: (query 0, head 0) and (query 1, head 0) have equal logits, (query 0,
/// head 1) has 1, 2, 3 and (query 1, head 1) has 0, 0, 5 over sqrt(2).
class AttendDiagnosis : public Attend {
 protected:
  std::string path(const char* name) const { return folder_.path(name); }
};

TEST_F(AttendDiagnosis, WritesWeights) {
  expect_fine(run_heed(all() + Arguments{"--weights", path("w.npy")}));
  const Array weights = read_array(path("w.npy"));
  EXPECT_EQ(weights.shape, (Shape{1, 2, 2, 3}));
  for (std::size_t i = 0; i < 6; ++i) EXPECT_NEAR(weights.data[i], 1.0F / 3, 1e-6F) << i;
  const double of_last = 1 / (1 + 2 * std::exp(-5 / std::sqrt(2.0)));
  EXPECT_NEAR(weights.data[11], of_last, 1e-6);
  EXPECT_NEAR(weights.data[9], of_last * std::exp(-5 / std::sqrt(2.0)), 1e-6);
  expect_fine(run_heed(all() + Arguments{"--weights", path("h.npy"), "--weights-type", "f16"}));
  EXPECT_EQ(read_array(path("h.npy")).type, DType::f16);
}

TEST_F(AttendDiagnosis, PrintsFiguresOfHeads) {
  const CommandResult result = run_heed(all() + Arguments{"--diagnose", "--json", path("d.json")});
  EXPECT_EQ(result.exit, 0) << result.err;
  EXPECT_NE(result.out.find("diffuse"), std::string::npos) << result.out;
  const auto json = nlohmann::json::parse(read_bytes(path("d.json")));
  const auto& heads = json.at("heads");
  ASSERT_EQ(heads.size(), 2U);
  EXPECT_EQ(heads[0].at("rows"), 2);
  EXPECT_EQ(heads[0].at("verdict"), "diffuse");
  EXPECT_NEAR(heads[0].at("entropy").get<double>(), std::log(3.0), 1e-6);
  EXPECT_NEAR(heads[0].at("entropy_of_maximum").get<double>(), 1, 1e-6);
  EXPECT_NEAR(heads[0].at("largest_weight").get<double>(), 1.0 / 3, 1e-6);
  EXPECT_EQ(heads[1].at("top_key"), 2);
  EXPECT_NEAR(heads[1].at("one_hot_rows").get<double>(), 0.5, 1e-6);
}

// Rows of a causal mask see 2 and 3 keys: the maximum is their own.
TEST_F(AttendDiagnosis, EntropyIsComparedWithThatOfVisibleKeys) {
  const CommandResult result =
      run_heed(all() + Arguments{"--causal", "end", "--diagnose", "--json", path("d.json")});
  EXPECT_EQ(result.exit, 0) << result.err;
  const auto head = nlohmann::json::parse(read_bytes(path("d.json"))).at("heads")[0];
  EXPECT_NEAR(head.at("entropy").get<double>(), (std::log(2.0) + std::log(3.0)) / 2, 1e-6);
  EXPECT_NEAR(head.at("entropy_of_maximum").get<double>(), 1, 1e-6);
}

TEST_F(AttendDiagnosis, DrawsPictures) {
  if (std::system("command -v gnuplot >/dev/null 2>&1") != 0) GTEST_SKIP() << "no gnuplot here";
  expect_fine(run_heed(all() + Arguments{"--heatmap", path("h.png"), "--head", "1"}));
  EXPECT_TRUE(read_bytes(path("h.png")).starts_with("\x89PNG"));
}

TEST_F(AttendDiagnosis, WithoutGnuplotNothingIsWritten) {
  const CommandResult result =
      run_heed(all() + Arguments{"--heatmap", path("h.png")}, {{"PATH", "/nowhere"}});
  EXPECT_NE(result.exit, 0);
  EXPECT_NE(result.err.find("--heatmap needs the program gnuplot: apt-get install gnuplot-nox"),
            std::string::npos)
      << result.err;
  expect_inputs_only();
}

TEST_F(AttendDiagnosis, FaultsAreSentences) {
  expect_attend_fault(all() + Arguments{"--json", path("d.json")},
                      "--json (\"" + path("d.json") + "\") must be left out without --diagnose");
  expect_attend_fault(all() + Arguments{"--head", "1"},
                      "--head (\"1\") must be left out without --heatmap");
  expect_attend_fault(all() + Arguments{"--weights-type", "f16"},
                      "--weights-type (\"f16\") must be left out without --weights");
  expect_attend_fault(all() + Arguments{"--weights", path("w.npy"), "--weights-type", "q8_0"},
                      "--weights-type (\"q8_0\") must be f32, f16 or bf16");
  expect_attend_fault(all() + Arguments{"--weights", out_},
                      "--weights (\"" + out_ + "\") must be another file than --out");
}

}  // namespace
}  // namespace heed::tests
