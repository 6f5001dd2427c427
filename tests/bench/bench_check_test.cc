// The check of results of `heed bench`.
#include <gtest/gtest.h>

#include <cmath>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "bench/accuracy.h"
#include "heed/softmax.h"
#include "tests/bench/bench_workload.h"
#include "tests/proof/numbers.h"

namespace heed::tests {
namespace {

using bench::AttentionCase;
using bench::AttentionWorkload;
using bench::Pool;

using proof::kNan;

/// Attention of a few rows, as the bench runs it.
struct AttentionRun {
  explicit AttentionRun(const std::string& line) : workload(attention(line)) {}

  Status attend() {
    Plan plan;
    Workspace workspace;
    Status status = plan_attention(c.config(), c.batch(), {}, plan);
    if (status.ok()) status = workspace.reserve(plan);
    return status.ok() ? run(plan, tensors.all, workspace) : status;
  }
  /// With the pages of the case, whatever those of the run.
  bench::Accuracy check() const { return bench::check_attention(c.geometry(), tensors.all); }

  AttentionWorkload workload;
  AttentionCase c{workload};
  Tensors tensors{c};
};

void expect_right(const bench::Accuracy& accuracy) {
  EXPECT_EQ(accuracy.fault, "");
  EXPECT_GT(accuracy.max_error, 0);
  EXPECT_LT(accuracy.max_error, 1e-5);
}

class BenchCheckAttention : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(run_.attend().ok()); }

  bench::Accuracy check() const { return run_.check(); }
  float& first_of(const proof::Row& row) const {
    return run_.tensors.all.out.as<float>()[run_.c.geometry().out(row)];
  }

  AttentionRun run_{"x b=2 hq=4 hkv=2 q=5 kv=7 d=8 causal"};
};

TEST_F(BenchCheckAttention, Passes) { expect_right(check()); }

TEST_F(BenchCheckAttention, FindsAWrongFirstRow) {
  first_of({0, 0, 0}) += 0.25F;
  const bench::Accuracy accuracy = check();
  EXPECT_TRUE(accuracy.fault.starts_with("sequence 0, token 0, head 0 lies 0.25 from float64"))
      << accuracy.fault;
  EXPECT_NEAR(accuracy.max_error, 0.25, 1e-5);
}

TEST_F(BenchCheckAttention, FindsARowThatIsBarelyWrong) {
  first_of({1, 4, 3}) += 1e-4F;
  EXPECT_TRUE(check().fault.starts_with("sequence 1, token 4, head 3 lies ")) << check().fault;
}

TEST_F(BenchCheckAttention, FindsNaN) {
  first_of({1, 4, 3}) = kNan;
  EXPECT_TRUE(check().fault.starts_with("sequence 1, token 4, head 3 lies nan"));
  EXPECT_TRUE(std::isnan(check().max_error));
}

// Block tables and CSR, pages by head and by token, cut short by the keys and not, shared and not.
TEST(BenchCheckPages, Passes) {
  for (const std::string line :
       {"x b=3 hq=4 hkv=2 q=5 kv=7 d=8 causal pages=2",
        "x b=3 hq=4 hkv=2 q=1 kv=8 d=8 bshd pages=4",
        "x b=3 hq=4 hkv=2 q=5+1+2 kv=7+30+9 d=8 causal pages=3",
        "x b=2 hq=4 hkv=2 q=6+9 d=8 causal bhsd pages=4",
        "x b=3 hq=4 hkv=2 q=1 kv=300+270+290 d=8 causal pages=16 shared=256"}) {
    SCOPED_TRACE(line);
    AttentionRun run(line);
    const Status status = run.attend();
    EXPECT_TRUE(status.ok()) << status.message();
    expect_right(run.check());
  }
}

/// What the check says of a run in which two places of the tables have been exchanged.
std::string fault_of_exchange(const std::string& line, std::size_t one, std::size_t other) {
  AttentionRun run(line);
  const PageTables tables = run.tensors.all.tables;
  std::vector<std::int32_t> numbers(tables.pages.begin(), tables.pages.end());
  std::swap(numbers[one], numbers[other]);
  run.tensors.all.tables.pages = numbers;
  EXPECT_TRUE(run.attend().ok());
  return run.check().fault;
}

// Within a sequence the mask tells them apart.
TEST(BenchCheckPages, FindsPagesInAnotherOrder) {
  for (const std::string line : {"x b=2 hq=4 hkv=2 q=5 kv=8 d=8 causal pages=2",
                                 "x b=2 hq=4 hkv=2 q=5 kv=8+7 d=8 causal bshd pages=2"}) {
    SCOPED_TRACE(line);
    EXPECT_EQ(fault_of_exchange(line, 1, 1), "");
    EXPECT_NE(fault_of_exchange(line, 3, 4), "");
    EXPECT_TRUE(fault_of_exchange(line, 2, 3).starts_with("sequence 0, token "));
    EXPECT_TRUE(fault_of_exchange(line, 6, 7).starts_with("sequence 1, token "));
  }
}

/// The softmax of a matrix, by heed.
class BenchCheckSoftmax : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(Pool::create(kRows * kLength, bench::Pages::usual, inputs_).ok());
    x_ = inputs_.inputs({});
    y_.resize(x_.size());
    ASSERT_TRUE(
        softmax({x_.data(), kRows, kLength, kLength}, {y_.data(), kRows, kLength, kLength}).ok());
  }

  bench::Accuracy check() const { return bench::check_softmax(x_, y_, kLength); }

  static constexpr std::int64_t kRows = 40, kLength = 33;
  Pool inputs_;
  std::span<const float> x_;
  std::vector<float> y_;
};

TEST_F(BenchCheckSoftmax, Passes) {
  const bench::Accuracy accuracy = check();
  EXPECT_EQ(accuracy.fault, "");
  EXPECT_GT(accuracy.max_error, 0);
  EXPECT_LT(accuracy.max_error, 1e-6);
}

TEST_F(BenchCheckSoftmax, FindsAWrongFirstRow) {
  y_.front() += 0.25F;
  EXPECT_TRUE(check().fault.starts_with("row 0 lies 0.25 from float64")) << check().fault;
}

TEST_F(BenchCheckSoftmax, FindsALastRowThatIsBarelyWrong) {
  y_.back() += 1e-5F;
  EXPECT_TRUE(check().fault.starts_with("row 39 lies 1e-05 from float64")) << check().fault;
}

TEST_F(BenchCheckSoftmax, FindsNaN) {
  y_.back() = kNan;
  EXPECT_TRUE(check().fault.starts_with("row 39 lies nan")) << check().fault;
  EXPECT_TRUE(std::isnan(check().max_error));
}

}  // namespace
}  // namespace heed::tests
