// The exponentials: thinned sweeps, the ends of their ranges, and the loops of the kernels that
// apply them.
#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "tests/kernels/exp_sweep.h"
#include "tests/proof/numbers.h"
#include "tests/support/kernel_tables.h"

namespace heed::tests {
namespace {

using proof::kInfinity;
using proof::kNan;

// A prime, so that no pattern of the low bits is favoured.
constexpr std::uint32_t kStep = 509;

float exp_of(const kernels::KernelTable& table, float x) {
  float y = 0;
  table.exp(&x, &y, 1);
  return y;
}

float exp2_of(const kernels::KernelTable& table, float x) {
  float y = 0;
  table.exp2(&x, &y, 1);
  return y;
}

TEST(Exp, NaturalIsWithinTwoUlp) {
  expect_within({Exponential::natural, -0x1p-26F, -104.0F, kStep}, 2.0);
}

// 0x1.62e42ep+6 is the last float whose exponential is below the overflow threshold.
TEST(Exp, NaturalIsWithinTwoUlpAboveZero) {
  expect_within({Exponential::natural, 0x1p-26F, 0x1.62e42ep+6F, kStep}, 2.0);
}

TEST(Exp, BinaryIsWithinTwoUlpOnFractions) {
  expect_within({Exponential::binary, 0x1p-26F, 1.0F, kStep}, 2.0);
}

TEST(Exp, BinaryIsWithinTwoUlpDownToTheCut) {
  expect_within({Exponential::binary, -0x1p-26F, -110.0F, kStep}, 2.0);
}

TEST(Exp, NaturalAtTheEndsOfItsRange) {
  on_every_table([](const kernels::KernelTable& table) {
    EXPECT_EQ(exp_of(table, 0.0F), 1.0F);
    EXPECT_EQ(exp_of(table, -0.0F), 1.0F);
    EXPECT_EQ(exp_of(table, 0x1p-30F), 1.0F);
    EXPECT_EQ(exp_of(table, -0x1p-30F), 1.0F);
    EXPECT_EQ(exp_of(table, -103.0F), 0x1p-149F);  // e^−103 = 1.4 · 2⁻¹⁴⁹
    for (const float x : {-104.0F, -106.0F, -110.0F, -111.0F, -1e4F, -1e9F, -1e30F,
                          -std::numeric_limits<float>::max(), -kInfinity}) {
      EXPECT_TRUE(same_bits(exp_of(table, x), 0.0F)) << x;
    }
    EXPECT_TRUE(std::isfinite(exp_of(table, 88.72F)));
    for (const float x : {88.73F, 89.0F, 100.0F, 1e9F, 1e30F, kInfinity}) {
      EXPECT_EQ(exp_of(table, x), kInfinity) << x;
    }
    EXPECT_TRUE(std::isnan(exp_of(table, kNan)));
    EXPECT_TRUE(std::isnan(exp_of(table, -kNan)));
  });
}

TEST(Exp, BinaryAtTheEndsOfItsRange) {
  on_every_table([](const kernels::KernelTable& table) {
    for (int n = -110; n <= 0; ++n) {
      EXPECT_EQ(exp2_of(table, static_cast<float>(n)), std::ldexp(1.0F, n)) << n;
    }
    // The fraction rounds to 1, and the polynomial is as accurate there as beside it.
    EXPECT_NEAR(exp2_of(table, -0x1p-30F), 1.0F, 2 * 0x1p-24);
    for (const float x : {-110.001F, -111.0F, -126.0F, -150.0F, -1e4F, -kInfinity}) {
      EXPECT_TRUE(same_bits(exp2_of(table, x), 0.0F)) << x;
    }
    // The last one has a payload in the low bits, where an exponent is made.
    for (const float x : {kNan, -kNan, std::bit_cast<float>(0x7FC00155U)}) {
      EXPECT_TRUE(std::isnan(exp2_of(table, x)));
    }
    // A NaN that is no more than that stays one when its lower half is cut off, as that of bf16 is.
    for (const float x : {kNan, -kNan}) {
      EXPECT_EQ(std::bit_cast<std::uint32_t>(exp2_of(table, x)) & 0xFFFFU, 0U);
    }
  });
}

// Weights of attention are made by adding to the exponent of 2^f, which is right for numbers in [1,
// 2]: 2^f may reach 2 but not pass it, and may not fall below 1.
TEST(Exp, FractionsStayBetweenOneAndTwo) {
  on_every_table([](const kernels::KernelTable& table) {
    float below = 1.0F, above = 0.0F;
    for (int i = 0; i < 100000; ++i) {
      below = std::nextafter(below, 0.0F);
      above = std::nextafter(above, 1.0F);
      EXPECT_LE(exp2_of(table, below), 2.0F);
      EXPECT_GE(exp2_of(table, 0x1p-20F * static_cast<float>(i)), 1.0F);
      if (HasFailure()) return;
    }
    EXPECT_EQ(exp2_of(table, above), 1.0F);
  });
}

// Arguments above zero switch a vector to the general exponential; it has to give the same bits.
TEST(Exp, BothWaysToScaleAgree) {
  on_every_table([](const kernels::KernelTable& table) {
    const auto lanes = static_cast<std::size_t>(table.lanes);
    std::vector<float> x(lanes), alone(lanes), general(lanes);
    for (int step = 0; step < 8192; ++step) {
      const float z = -0.0137F * static_cast<float>(step);
      std::fill(x.begin(), x.end(), z);
      table.exp(x.data(), alone.data(), table.lanes);
      x[0] = 1.0F;
      table.exp(x.data(), general.data(), table.lanes);
      for (std::size_t i = 1; i < lanes; ++i) ASSERT_TRUE(same_bits(alone[i], general[i])) << z;
    }
  });
}

// The last vector may be incomplete; nothing is written past its end.
TEST(Exp, AnyNumberOfElements) {
  on_every_table([](const kernels::KernelTable& table) {
    std::array<float, 70> x{};
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = -0.7F * static_cast<float>(i);
    for (std::size_t n = 0; n < x.size(); ++n) {
      std::array<float, 70> y{};
      y.fill(-1.0F);
      table.exp(x.data(), y.data(), static_cast<std::int64_t>(n));
      for (std::size_t i = 0; i < x.size(); ++i) {
        ASSERT_TRUE(same_bits(y[i], i < n ? exp_of(table, x[i]) : -1.0F)) << i << " of " << n;
      }
    }
  });
}

}  // namespace
}  // namespace heed::tests
