// What the softmax functions refuse, and that they say why and change nothing.
#include <array>
#include <cstdint>
#include <limits>
#include <string>

#include "tests/proof/numbers.h"
#include "tests/support/attention_run.h"
#include "tests/support/softmax_matrix.h"

namespace heed::tests {
namespace {

using proof::kInfinity;
using proof::kNan;
constexpr std::int64_t kHuge = std::numeric_limits<std::int64_t>::max();

class SoftmaxErrors : public testing::Test {
 protected:
  SoftmaxErrors() {
    x_.fill(1.0F);
    y_.fill(-5.0F);
  }
  ConstRows x() const { return {x_.data(), 4, 8, 10}; }
  Rows y() { return {y_.data(), 4, 8, 8}; }

  void expect_refused(const Status& status, const std::string& message) {
    EXPECT_EQ(status.code(), StatusCode::invalid_argument);
    EXPECT_EQ(status.message(), message);
    for (const float v : y_) ASSERT_EQ(v, -5.0F) << "a refused call wrote";
  }
  void expect_refused(const ConstRows& x, const Rows& y, const std::string& message) {
    SCOPED_TRACE(message);
    expect_refused(softmax(x, y), message);
    expect_refused(log_softmax(x, y), message);
  }
  void expect_refused(const SoftmaxOptions& options, const std::string& message) {
    SCOPED_TRACE(message);
    expect_refused(softmax(x(), y(), options), message);
    expect_refused(log_softmax(x(), y(), options), message);
    expect_refused(log_sum_exp(x(), y_.data(), options), message);
    expect_refused(softmax_gradient(x(), x(), y(), options), message);
    expect_refused(log_softmax_gradient(x(), x(), y(), options), message);
  }

  std::array<float, 64> x_{}, y_{};
};

TEST_F(SoftmaxErrors, Shapes) {
  expect_refused({x_.data(), -1, 8, 8}, y(), "x.rows (-1) must be 0 or more");
  expect_refused({x_.data(), 4, -8, 8}, y(), "x.length (-8) must be 0 or more");
  expect_refused({nullptr, 4, 8, 8}, y(), "x.data must not be null for 4 rows of 8 elements");
  expect_refused(x(), {nullptr, 4, 8, 8}, "y.data must not be null for 4 rows of 8 elements");
  expect_refused(x(), {y_.data(), 3, 8, 8}, "y.rows (3) must equal x.rows (4)");
  expect_refused(x(), {y_.data(), 4, 7, 8}, "y.length (7) must equal x.length (8)");
  for (const std::int64_t stride : {7, 0, -7}) {
    expect_refused({x_.data(), 4, 8, stride}, y(),
                   "x.stride (" + std::to_string(stride) +
                       ") must be at least x.length (8), forwards or backwards");
  }
  expect_refused(x(), {y_.data(), 4, 8, 5},
                 "y.stride (5) must be at least y.length (8), forwards or backwards");
}

TEST_F(SoftmaxErrors, SizesBeyondTheAddressSpace) {
  const std::string sizes[][2] = {
      {"3", "9223372036854775807"}, {"3", "-9223372036854775808"}, {"4611686018427387904", "8"}};
  for (const auto& [rows, stride] : sizes) {
    std::string sentence = "x: ";
    sentence.append(rows).append(" rows of 8 elements with a stride of ").append(stride);
    expect_refused({x_.data(), std::stoll(rows), 8, std::stoll(stride)}, y(),
                   sentence + " do not fit the address space");
  }
  const std::string huge = "9223372036854775807";
  for (const std::int64_t rows : {1, 2}) {
    std::string sentence = "x: ";
    sentence.append(std::to_string(rows)).append(" rows of ").append(huge);
    sentence.append(" elements with a stride of ").append(huge);
    expect_refused({x_.data(), rows, kHuge, kHuge}, {y_.data(), rows, kHuge, kHuge},
                   sentence + " do not fit the address space");
  }
}

TEST_F(SoftmaxErrors, Overlap) {
  const std::string message =
      "y must not overlap x unless it is in place, with the same data, length and stride";
  float* const data = y_.data();
  for (const std::int64_t offset : {1, 7, 9, 17, 25, 31}) {
    expect_refused({data, 4, 8, 8}, {data + offset, 4, 8, 8}, message);
  }
  expect_refused({data + 7, 4, 8, 8}, {data, 4, 8, 8}, message);
  expect_refused({data, 4, 8, 8}, {data, 4, 8, 10}, message);
  expect_refused({data, 4, 8, 8}, {data + 24, 4, 8, -8}, message);
  expect_refused({data, 2, 8, 20}, {data + 13, 2, 8, 20}, message);
  expect_refused({data, 1, 8, 0}, {data + 4, 1, 8, 0}, message);
  expect_refused(
      log_sum_exp({data, 4, 8, 8}, data + 31),
      "lse must not overlap x unless it is in place, with the same data, length and stride");
  expect_refused(log_sum_exp({data, 4, 8, 8}, nullptr),
                 "lse.data must not be null for 4 rows of 1 elements");
}

TEST_F(SoftmaxErrors, PointersIntoTheMiddleOfAFloat) {
  const auto misaligned = [](float* data) {
    return reinterpret_cast<float*>(reinterpret_cast<char*>(data) + 1);
  };
  const std::string rule = " must begin at a multiple of 4 bytes, as its elements do";
  expect_refused({misaligned(x_.data()), 4, 8, 8}, y(), "x.data" + rule);
  expect_refused(x(), {misaligned(y_.data()), 4, 8, 8}, "y.data" + rule);
  expect_refused(log_sum_exp(x(), misaligned(y_.data())), "lse.data" + rule);
}

// Two column ranges of one matrix have interleaved rows, and no element in common.
TEST_F(SoftmaxErrors, InterleavedRowsAreFine) {
  float* const data = y_.data();
  EXPECT_TRUE(softmax({data, 3, 8, 20}, {data + 8, 3, 8, 20}).ok());
  EXPECT_TRUE(softmax({data + 8, 3, 8, 20}, {data + 40, 3, 8, -20}).ok());
  EXPECT_TRUE(softmax({data, 1, 8, 0}, {data, 1, 8, 3}).ok());
  for (const int row : {0, 1, 2}) {
    EXPECT_EQ(data[20 * row], 0.125F);
    EXPECT_EQ(data[20 * row + 15], 0.125F);
    for (int i = 16; i < 20; ++i) EXPECT_EQ(data[20 * row + i], -5.0F);
  }
}

TEST_F(SoftmaxErrors, Options) {
  expect_refused({.scale = kInfinity}, "scale (inf) must be finite");
  expect_refused({.scale = kNan}, "scale (nan) must be finite");
  expect_refused({.temperature = -1.0F}, "temperature (-1) must be 0 or more, or infinity");
  expect_refused({.temperature = kNan}, "temperature (nan) must be 0 or more, or infinity");
  expect_refused({.scale = 1e10F, .temperature = 1e-30F},
                 "scale / temperature (1e+10 / 1e-30) must be finite as a float");
  expect_refused({.workers = -1}, "workers (-1) must be from 0 to 4096");
  expect_refused({.workers = 5000}, "workers (5000) must be from 0 to 4096");
}

TEST_F(SoftmaxErrors, UnknownIsa) {
  const Status status = softmax(x(), y(), {.isa = "sse9"});
  EXPECT_EQ(status.code(), StatusCode::invalid_argument);
  EXPECT_NE(status.message().find("isa (\"sse9\") must be one of"), std::string::npos)
      << status.message();
}

TEST_F(SoftmaxErrors, Gradients) {
  const std::string argmax = "temperature (0) must be above 0: the argmax has no gradient";
  const SoftmaxOptions options{.temperature = 0.0F};
  expect_refused(softmax_gradient(x(), x(), y(), options), argmax);
  expect_refused(log_softmax_gradient(x(), x(), y(), options), argmax);
  const ConstRows fewer{x_.data(), 3, 8, 8}, shorter{x_.data(), 4, 6, 8};
  expect_refused(softmax_gradient(x(), fewer, y()), "dy.rows (3) must equal y.rows (4)");
  expect_refused(softmax_gradient(x(), shorter, y()), "dy.length (6) must equal y.length (8)");
  expect_refused(softmax_gradient(x(), x(), {y_.data(), 2, 8, 8}),
                 "dx.rows (2) must equal y.rows (4)");
  expect_refused(softmax_gradient(x(), x(), {nullptr, 4, 8, 8}),
                 "dx.data must not be null for 4 rows of 8 elements");
  const std::string place = " unless it is in place, with the same data, length and stride";
  const ConstRows shifted{y_.data() + 3, 4, 8, 8};
  expect_refused(softmax_gradient(shifted, x(), y()), "dx must not overlap y" + place);
  expect_refused(log_softmax_gradient(x(), shifted, y()), "dx must not overlap dy" + place);
}

}  // namespace
}  // namespace heed::tests
