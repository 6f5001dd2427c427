// heed attend: modifiers of scores.
#include <array>
#include <cmath>
#include <string>
#include <vector>

#include "tests/tools/attend_case.h"

namespace heed::tests {
namespace {

/// Two queries of two heads against three keys of one head: the logits of row (query, head) are the
/// products of attend_case.h over sqrt(2).
class AttendModifiers : public Attend {
 protected:
  std::string path(const char* name) const { return folder_.path(name); }

  /// Files of modifiers are there, too.
  static void expect_modifier_fault(const Arguments& arguments, const std::string& part) {
    SCOPED_TRACE(part);
    expect_fault(run_heed(arguments), "heed attend: " + part);
  }

  /// The outputs that the formulas give, for the scores x of each row (query, head).
  template <class Score>
  void expect_rows(const Arguments& options, const Score& score, double sink = -kInfinity) {
    expect_fine(run_heed(all() + options));
    const std::vector<float> out = read_array(out_).data;
    const std::array<std::array<double, 3>, 4> products = {
        {{0, 0, 0}, {1, 2, 3}, {0, 0, 0}, {0, 0, 5}}};
    const std::array<double, 3> values = {1, 2, 6};
    for (int row = 0; row < 4; ++row) {
      double sum = std::exp(sink), mean = 0;
      for (int key = 0; key < 3; ++key) {
        const auto r = static_cast<std::size_t>(row), k = static_cast<std::size_t>(key);
        const double weight =
            std::exp(score(products[r][k] / std::sqrt(2.0), row / 2, row % 2, key));
        sum += weight;
        mean += weight * values[k];
      }
      EXPECT_NEAR(out[static_cast<std::size_t>(row)], mean / sum, 1e-5) << row;
    }
  }
};

TEST_F(AttendModifiers, FollowTheFormulas) {
  expect_rows({"--softcap", "2"}, [](double x, int, int, int) { return 2 * std::tanh(x / 2); });
  // Query i of 2 stands at key position i + 1.
  expect_rows({"--alibi", "auto"}, [](double x, int query, int head, int key) {
    return x + std::exp2(-4.0 * (head + 1)) * (key - query - 1);
  });
  write_npy(path("slopes.npy"), {{2}, {1, -0.5F}});
  expect_rows({"--alibi", path("slopes.npy")}, [](double x, int query, int head, int key) {
    return x + (head == 0 ? 1 : -0.5) * (key - query - 1);
  });
  write_npy(path("sinks.npy"), {{2}, {1, 1}});
  expect_rows(
      {"--sinks", path("sinks.npy")}, [](double x, int, int, int) { return x; }, 1.0);
}

TEST_F(AttendModifiers, BiasesAreBroadcast) {
  write_npy(path("bias.npy"), {{1, 1, 1, 3}, {0, -kInfinity, 1}});
  const auto by_key = [](double x, int, int, int key) {
    return key == 1 ? -kInfinity : x + (key == 2 ? 1 : 0);
  };
  expect_rows({"--bias", path("bias.npy")}, by_key);
  write_npy(path("bias.npy"), {{1, 2, 2, 1}, {0, 1, 2, 3}});
  expect_rows({"--bias", path("bias.npy")},
              [](double x, int query, int head, int) { return x + 2 * head + query; });
  write_npy(path("bias.npy"), {{1, 1, 2, 3}, {0, 1, 2, 3, 4, 5}});
  expect_rows(
      {"--bias", path("bias.npy"), "--softcap", "3"},
      [](double x, int query, int, int key) { return 3 * std::tanh(x / 3) + 3 * query + key; });
}

TEST_F(AttendModifiers, VisiblePrefixes) {
  const auto hidden_from = [](int last_of_first) {
    return [last_of_first](double x, int query, int, int key) {
      return query == 0 && key > last_of_first ? -kInfinity : x;
    };
  };
  expect_rows({"--causal", "end"}, hidden_from(1));
  expect_rows({"--causal", "end", "--prefix", "2"}, hidden_from(1));
  expect_rows({"--causal", "end", "--prefix", "3"}, hidden_from(2));
  expect_modifier_fault(all() + Arguments{"--prefix", "4"},
                        "visible_prefixes[0] (4) must be from 0 to 3");
  expect_modifier_fault(all() + Arguments{"--prefix", "x"}, "--prefix (\"x\") must be");
}

TEST_F(AttendModifiers, FaultsAreSentences) {
  for (const char* softcap : {"0", "-1", "inf", "x"}) {
    expect_modifier_fault(all() + Arguments{"--softcap", softcap},
                          "--softcap (\"" + std::string(softcap) + "\") must be a finite number");
  }
  write_npy(path("three.npy"), {{3}, {1, 2, 3}});
  for (const char* option : {"--alibi", "--sinks"}) {
    expect_modifier_fault(all() + Arguments{option, path("three.npy")},
                          std::string(option) + " " + path("three.npy") +
                              ": shape (3,) must be (2,), a number for each head");
  }
  write_npy(path("bias.npy"), {{1, 2, 3, 3}, std::vector<float>(18)});
  expect_modifier_fault(
      all() + Arguments{"--bias", path("bias.npy")},
      "--bias " + path("bias.npy") +
          ": shape (1, 2, 3, 3) must be [batch, heads, queries, keys], (1, 2, 2, 3)");
  expect_modifier_fault(all() + Arguments{"--bias", path("none.npy")},
                        "--bias " + path("none.npy"));
  write_npy(out_, {{1, 1, 2, 3}, std::vector<float>(6)});
  expect_modifier_fault(all() + Arguments{"--bias", out_},
                        "--out (\"" + out_ + "\") must be another file than --bias");
}

}  // namespace
}  // namespace heed::tests
