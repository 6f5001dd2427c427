// heed attend: modifiers of scores.
#include <array>
#include <cmath>
#include <fstream>
#include <string>
#include <vector>

#include "tests/tools/attend_case.h"
#include "tools/npy_header.h"

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
      EXPECT_NEAR(out[static_cast<std::size_t>(row)], sum > 0 ? mean / sum : 0, 1e-5) << row;
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

TEST_F(AttendModifiers, TemperaturesOfHeads) {
  write_npy(path("temperatures.npy"), {{2}, {0.5F, kInfinity}});
  expect_rows({"--temperature-per-head", path("temperatures.npy")},
              [](double x, int, int head, int) { return head == 0 ? x / 0.5 : 0; });
  write_npy(path("temperatures.npy"), {{2}, {1, -2}});
  expect_modifier_fault(all() + Arguments{"--temperature-per-head", path("temperatures.npy")},
                        "--temperature-per-head " + path("temperatures.npy") +
                            ": the temperature of head 1 (-2) must be 0 or more, or inf");
  expect_fault(run_heed(all() + Arguments{"--temperature", "1", "--temperature-per-head",
                                          path("temperatures.npy")}),
               "heed attend: ");
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

// 0 hides and 1 shows in a file of bool; −∞ hides and 0 shows in one of floats.
TEST_F(AttendModifiers, Masks) {
  const auto hides = [](double x, int query, int head, int key) {
    return (query + head + key) % 2 == 0 ? x : -kInfinity;
  };
  std::vector<float> floats;
  std::string bytes;
  for (int head = 0; head < 2; ++head) {
    for (int query = 0; query < 2; ++query) {
      for (int key = 0; key < 3; ++key) {
        const bool visible = (query + head + key) % 2 == 0;
        floats.push_back(visible ? 0.0F : -kInfinity);
        bytes.push_back(visible ? '\1' : '\0');
      }
    }
  }
  write_npy(path("mask.npy"), {{1, 2, 2, 3}, floats});
  expect_rows({"--mask", path("mask.npy")}, hides);
  std::string header = tools::npy_prologue(std::vector<std::int64_t>{1, 2, 2, 3});
  header.replace(header.find("<f4"), 3, "|b1");
  std::ofstream(path("bool.npy"), std::ios::binary) << header << bytes;
  expect_rows({"--mask", path("bool.npy")}, hides);
  write_npy(path("query.npy"), {{1, 1, 2, 1}, {0, -kInfinity}});
  expect_rows({"--mask", path("query.npy")},
              [](double x, int query, int, int) { return query == 0 ? x : -kInfinity; });
  floats[7] = 2;
  write_npy(path("mask.npy"), {{1, 2, 2, 3}, floats});
  expect_modifier_fault(all() + Arguments{"--mask", path("mask.npy")},
                        "mask: element 7, of key 1 of sequence 0, must be 0 (visible) or −∞");
  expect_modifier_fault(
      all() + Arguments{"--bias", path("bool.npy")},
      "--bias " + path("bool.npy") + ": dtype (bool or uint8) must be a floating-point one");
}

TEST_F(AttendModifiers, WindowsKeepTheFirstKeys) {
  expect_rows({"--window", "0,0", "--keep-first", "1"}, [](double x, int query, int, int key) {
    return key == 0 || key == query + 1 ? x : -kInfinity;
  });
  expect_modifier_fault(all() + Arguments{"--keep-first", "1"},
                        "--keep-first (\"1\") must be left out where no --window hides keys");
}

TEST_F(AttendModifiers, FaultsAreSentences) {
  for (const char* softcap : {"0", "-1", "inf", "x"}) {
    expect_modifier_fault(all() + Arguments{"--softcap", softcap},
                          "--softcap (\"" + std::string(softcap) + "\") must be a finite number");
  }
  write_npy(path("three.npy"), {{3}, {1, 2, 3}});
  for (const char* option : {"--alibi", "--sinks", "--temperature-per-head"}) {
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
