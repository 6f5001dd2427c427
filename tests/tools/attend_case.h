// Files that heed attend reads and writes in its tests.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "tests/proof/numbers.h"
#include "tests/support/run_command.h"
#include "tools/npy.h"
#include "tools/npy_header.h"

namespace heed::tests {

using tools::Array;
using Arguments = std::vector<std::string>;
using Shape = std::vector<std::int64_t>;

using proof::kInfinity;

inline Arguments operator+(Arguments a, const Arguments& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

inline void write_npy(const std::string& path, const Array& array) {
  write_bytes(path, tools::npy_prologue(array.shape) + bytes_of(array.data));
}

inline Array read_array(const std::string& path) {
  Array array;
  const Status status = tools::read_npy(path, array);
  EXPECT_TRUE(status.ok()) << status.message();
  return array;
}

/// Two queries of two heads against three keys of one head.
class Attend : public testing::Test {
 protected:
  Attend() {
    write_npy(q_, {{1, 2, 2, 2}, {0, 0, 1, 0, 0, 0, 0, 1}});
    write_npy(k_, {{1, 3, 1, 2}, {1, 0, 2, 0, 3, 5}});
    write_npy(v_, {{1, 3, 1, 1}, {1, 2, 6}});
  }

  Arguments inputs() const { return {"attend", "--q", q_, "--k", k_, "--v", v_}; }
  Arguments all() const { return inputs() + Arguments{"--out", out_, "--lse", lse_}; }

  /// No output file, no temporary one.
  void expect_inputs_only() const {
    EXPECT_EQ(folder_.names(), (std::vector<std::string>{"k.npy", "q.npy", "v.npy"}));
  }

  void expect_attend_fault(const Arguments& arguments, const std::string& part,
                           const Environment& environment = {}) const {
    SCOPED_TRACE(part);
    expect_fault(run_heed(arguments, environment), "heed attend: " + part);
    expect_inputs_only();
  }

  /// Runs with more options and compares the outputs, of shape [1, 2, 2, 1].
  void expect_out(const Arguments& options, const std::vector<float>& out,
                  const std::vector<float>& lse) const {
    expect_fine(run_heed(all() + options));
    const Array actual = read_array(out_), actual_lse = read_array(lse_);
    EXPECT_EQ(actual.shape, (Shape{1, 2, 2, 1}));
    EXPECT_EQ(actual_lse.shape, (Shape{1, 2, 2}));
    expect_near(actual.data, out);
    expect_near(actual_lse.data, lse);
  }

  static void expect_near(const std::vector<float>& actual, const std::vector<float>& expected) {
    ASSERT_EQ(actual.size(), expected.size());
    for (std::size_t i = 0; i < actual.size(); ++i) {
      if (actual[i] == expected[i] || (std::isnan(actual[i]) && std::isnan(expected[i]))) continue;
      // Three keys, logits up to 5: under 50 roundings of numbers up to 6.
      EXPECT_NEAR(actual[i], expected[i], 50 * 6 * 0x1p-24) << "element " << i;
    }
  }

  Folder folder_;
  const std::string q_ = folder_.path("q.npy"), k_ = folder_.path("k.npy"),
                    v_ = folder_.path("v.npy"), out_ = folder_.path("o.npy"),
                    lse_ = folder_.path("l.npy");
};

}  // namespace heed::tests
