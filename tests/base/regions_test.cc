// Whether tensors share elements, against sets of all their elements.
#include "runtime/base/regions.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <set>
#include <vector>

namespace heed::tests {
namespace {

using detail::Axis;
using detail::Region;
using detail::StridedShape;

/// Where the elements of random shapes may lie.
constexpr std::int64_t kPlaces = 4096;

std::set<std::int64_t> elements(const StridedShape& s, std::int64_t first) {
  std::set<std::int64_t> all;
  for (std::int64_t i = 0; i < s.axes[0].count; ++i) {
    for (std::int64_t j = 0; j < s.axes[1].count; ++j) {
      for (std::int64_t k = 0; k < s.axes[2].count; ++k) {
        for (std::int64_t x = 0; x < s.dims; ++x) {
          all.insert(first + i * s.axes[0].stride + j * s.axes[1].stride + k * s.axes[2].stride +
                     x);
        }
      }
    }
  }
  return all;
}

class Regions : public testing::Test {
 protected:
  std::int64_t below(std::int64_t n) {
    return static_cast<std::int64_t>(random_() % static_cast<std::uint64_t>(n));
  }
  /// Strides that nest, forwards or backwards, in any order; counts of 0 and 1 with any stride.
  StridedShape nested() {
    StridedShape shape{{}, 1 + below(5)};
    std::int64_t reach = shape.dims;
    for (Axis& axis : shape.axes) {
      axis = {"", reach + below(3) * below(6), below(20) == 0 ? 0 : 1 + below(4)};
      if (axis.count > 1) reach += axis.stride * (axis.count - 1);
      if (axis.count == 1) axis.stride = below(100) - 50;
      if (below(3) == 0) axis.stride = -axis.stride;
    }
    std::shuffle(shape.axes.begin(), shape.axes.end(), random_);
    return shape;
  }
  /// The same strides as those of `other`, so that they may interleave.
  StridedShape like(const StridedShape& other) {
    StridedShape shape = other;
    for (Axis& axis : shape.axes) {
      if (axis.count != 0 && below(3) == 0) axis.count = 1;
    }
    shape.dims = 1 + below(other.dims);
    return shape;
  }
  StridedShape anything() {
    StridedShape shape{{}, below(6)};
    for (Axis& axis : shape.axes) axis = {"", below(41) - 20, below(5)};
    return shape;
  }

  std::mt19937_64 random_{3};
  std::vector<float> memory_ = std::vector<float>(kPlaces);
};

TEST_F(Regions, ShareElementsExactlyWhereSetsOfThemDo) {
  int shared = 0, interleaved = 0, near = 0;
  for (int round = 0; round < 100'000; ++round) {
    const StridedShape b = nested();
    const StridedShape a = round % 3 == 0 ? anything() : round % 3 == 1 ? nested() : like(b);
    const std::int64_t first_a = kPlaces / 2, first_b = kPlaces / 2 + below(81) - 40;
    const Region any({"a"}, memory_.data() + first_a, a);
    const Region apart({"b"}, memory_.data() + first_b, b);
    const std::set<std::int64_t> of_a = elements(a, first_a), of_b = elements(b, first_b);
    bool meet = false;
    for (const std::int64_t place : of_b) meet |= of_a.contains(place);
    ASSERT_EQ(share_elements(any, apart), meet) << "round " << round;
    shared += meet;
    if (of_a.empty() || of_b.empty()) continue;
    if (*of_a.rbegin() < *of_b.begin() || *of_b.rbegin() < *of_a.begin()) continue;
    near += !meet;
    const std::int64_t distance = *of_b.begin() - *of_a.begin();
    const bool certain = interleave(a, b, distance);
    ASSERT_FALSE(certain && meet) << "round " << round;
    interleaved += certain;
  }
  EXPECT_GT(shared, 10'000);
  EXPECT_GT(interleaved, 1000);
  EXPECT_GT(near, interleaved);
}

// The ways in which tensors share a buffer in practice are found in a few comparisons.
TEST_F(Regions, UsualWaysToInterleaveAreCertain) {
  const std::int64_t tokens = 1 << 20, heads = 8, dims = 64, row = heads * dims;
  const auto shape = [&](std::int64_t token, std::int64_t head) {
    return StridedShape{{{{"", tokens * token, 4}, {"", token, tokens}, {"", head, heads}}}, dims};
  };
  EXPECT_TRUE(interleave(shape(2 * row, dims), shape(2 * row, dims), row));  // by token
  EXPECT_TRUE(interleave(shape(2 * row, dims), shape(2 * row, dims), -row));
  EXPECT_TRUE(interleave(shape(2 * row, 2 * dims), shape(2 * row, 2 * dims), dims));  // by head
  EXPECT_FALSE(interleave(shape(2 * row, dims), shape(2 * row, dims), row - 1));
  EXPECT_FALSE(interleave(shape(2 * row, 2 * dims), shape(2 * row, 2 * dims), dims - 1));
  EXPECT_FALSE(interleave(shape(row, dims), shape(row, dims), 0));
}

TEST_F(Regions, MeetWithinHugeOnesToo) {
  const std::int64_t huge = std::int64_t{1} << 50;
  const StridedShape pool{{{{"", huge, 4}, {"", 64, 1 << 20}, {"", 8, 8}}}, 8};
  const Region apart({"pool"}, memory_.data(), pool);
  const Region inside({"x"}, memory_.data() + 1000, std::int64_t{10});
  EXPECT_TRUE(share_elements(inside, apart));
  const Region behind({"x"}, memory_.data() + huge - 10, std::int64_t{10});
  EXPECT_FALSE(share_elements(behind, apart));
}

TEST_F(Regions, NullAndEmptyOnesShareNothing) {
  const Region all({"x"}, memory_.data(), kPlaces);
  EXPECT_FALSE(share_elements({{"y"}, nullptr, kPlaces}, all));
  EXPECT_FALSE(share_elements({{"y"}, memory_.data() + 5, std::int64_t{0}}, all));
  EXPECT_TRUE(share_elements({{"y"}, memory_.data() + 5, std::int64_t{1}}, all));
}

}  // namespace
}  // namespace heed::tests
