// The gradient of T: against double, and the formula against differences.
#include <algorithm>
#include <cmath>
#include <vector>

#include "tests/support/softmax_fixture.h"

namespace heed::tests {
namespace {

/// One of the two gradients, with the function it belongs to.
struct Kind {
  const char* name;
  SoftmaxMap forward;
  SoftmaxGradientMap gradient;
  Bounded (*reference)(std::span<const float>, std::span<const float>, double, int);
};

const Kind kKinds[] = {
    {"softmax", softmax, softmax_gradient, softmax_temperature_gradient_reference},
    {"log_softmax", log_softmax, log_softmax_gradient, log_softmax_temperature_gradient_reference},
};

class TemperatureGradient : public SoftmaxFixture {
 protected:
  template <class Check>
  void on_every_kind_and_isa(Check check) {
    for (const Kind& kind : kKinds) {
      SCOPED_TRACE(kind.name);
      on_every_isa([&](std::string_view isa) { check(kind, isa); });
    }
  }

  /// y = forward(x), then both gradients, within the bounds; dx has the bits that it has alone.
  static void expect_reference(const Kind& kind, Matrix& x, Matrix& dy,
                               const SoftmaxOptions& options) {
    Matrix y(x.rows(), x.length()), dx(x.rows(), x.length()), alone(x.rows(), x.length());
    std::vector<float> dt(static_cast<std::size_t>(x.rows()), kNan);
    ASSERT_TRUE(kind.forward(x.read(), y.write(), options).ok());
    ASSERT_TRUE(kind.gradient(y.read(), dy.read(), alone.write(), nullptr, options).ok());
    ASSERT_TRUE(kind.gradient(y.read(), dy.read(), dx.write(), dt.data(), options).ok());
    for (std::int64_t r = 0; r < x.rows(); ++r) {
      const Bounded exact =
          kind.reference(y.row(r), dy.row(r), options.temperature, lanes_of(options.isa));
      const float result = dt[static_cast<std::size_t>(r)];
      EXPECT_TRUE(within(result, exact))
          << "row " << r << " of length " << x.length() << ": " << result << " instead of "
          << exact.exact << " ± " << exact.bound;
      expect_same_bits(dx.row(r), alone.row(r));
    }
    for (Matrix* in_place : {&y, &dy}) {
      std::vector<float> again(dt.size(), kNan);
      Matrix other(x.rows(), x.length());
      other.copy_from(*in_place);
      Matrix& from_y = in_place == &y ? other : y;
      Matrix& from_dy = in_place == &dy ? other : dy;
      ASSERT_TRUE(
          kind.gradient(from_y.read(), from_dy.read(), other.write(), again.data(), options).ok());
      expect_same_bits(again, dt);
    }
  }
};

TEST_F(TemperatureGradient, EveryLength) {
  on_every_kind_and_isa([&](const Kind& kind, std::string_view isa) {
    for (const std::int64_t n :
         {0,  1,  2,  3,  4,  5,  7,  8,  9,   15,  16,   17,   31,   33,
          47, 63, 64, 65, 66, 79, 95, 96, 129, 255, 1025, 2047, 4099, 70001}) {
      Matrix x(3, n), dy(3, n);
      x.fill(normals());
      dy.fill(normals());
      expect_reference(kind, x, dy, on_isa(isa, 1.0F, 0.8F));
      if (HasFailure()) return;
    }
  });
}

// Flat and sharp rows, weights down to denormal ones and 0, masked entries.
TEST_F(TemperatureGradient, FlatAndSharpRows) {
  on_every_kind_and_isa([&](const Kind& kind, std::string_view isa) {
    for (const float temperature : {1e-3F, 0.05F, 1.0F, 30.0F, 1e8F}) {
      for (const float scale : {1.0F, -0.5F}) {
        for (const std::int64_t n : {2, 50, 1500}) {
          SCOPED_TRACE(testing::Message() << scale << " / " << temperature);
          Matrix x(5, n), dy(5, n);
          x.fill([&] {
            return random_.below(6) == 0 ? -kInfinity : static_cast<float>(3 * random_.normal());
          });
          dy.fill(normals());
          expect_reference(kind, x, dy, on_isa(isa, scale, temperature));
          if (HasFailure()) return;
        }
      }
    }
  });
}

// A constant in dy changes nothing in the gradient of a softmax: what it adds is Σ y·(log y − m) =
// 0. The bound knows this, and does not grow with the constant but for roundings.
TEST_F(TemperatureGradient, ConstantsLeaveNoTrace) {
  on_every_isa([&](std::string_view isa) {
    Matrix x(8, 400), dy(8, 400), moved(8, 400), y(8, 400), dx(8, 400);
    x.fill(normals());
    dy.fill([&] { return static_cast<float>(random_.below(64)) / 64.0F; });
    moved.copy_from(dy);
    for (std::int64_t r = 0; r < 8; ++r) {
      for (float& v : moved.row(r)) v += 4096.0F;  // exactly
    }
    std::vector<float> dt(8), dt_moved(8);
    ASSERT_TRUE(softmax(x.read(), y.write(), on_isa(isa)).ok());
    ASSERT_TRUE(softmax_gradient(y.read(), dy.read(), dx.write(), dt.data(), on_isa(isa)).ok());
    ASSERT_TRUE(
        softmax_gradient(y.read(), moved.read(), dx.write(), dt_moved.data(), on_isa(isa)).ok());
    // Rounding s to a float moves all g by up to 2⁻¹² · y; each g and each sum loses 2⁻²⁴ of that.
    for (std::size_t r = 0; r < 8; ++r) EXPECT_NEAR(dt[r], dt_moved[r], 1e-5) << r;
  });
}

TEST_F(TemperatureGradient, InfiniteTemperatureAndScaleZeroHaveNone) {
  on_every_kind_and_isa([&](const Kind& kind, std::string_view isa) {
    Matrix x(2, 70), y(2, 70), dy(2, 70), dx(2, 70);
    x.fill(normals());
    dy.fill(normals());
    for (const auto& [scale, temperature] :
         {std::pair{1.0F, kInfinity}, {0.0F, 0.5F}, {1e-38F, 1e30F}}) {
      const SoftmaxOptions options = on_isa(isa, scale, temperature);
      std::vector<float> dt(2, kNan);
      ASSERT_TRUE(kind.forward(x.read(), y.write(), options).ok());
      ASSERT_TRUE(kind.gradient(y.read(), dy.read(), dx.write(), dt.data(), options).ok());
      for (const float v : dt) EXPECT_TRUE(same_bits(v, 0.0F)) << v;
    }
  });
}

TEST_F(TemperatureGradient, RowsWithoutWeightOrEntriesHaveNone) {
  on_every_kind_and_isa([&](const Kind& kind, std::string_view isa) {
    Matrix x(2, 33), y(2, 33), dy(2, 33), dx(2, 33);
    x.fill([] { return -kInfinity; });
    dy.fill(normals());
    std::vector<float> dt(2, kNan);
    ASSERT_TRUE(kind.forward(x.read(), y.write(), on_isa(isa)).ok());
    ASSERT_TRUE(kind.gradient(y.read(), dy.read(), dx.write(), dt.data(), on_isa(isa)).ok());
    for (const float v : dt) EXPECT_TRUE(same_bits(v, 0.0F)) << v;
    const ConstRows none{nullptr, 2, 0, 0};
    dt = {kNan, kNan};
    ASSERT_TRUE(kind.gradient(none, none, {nullptr, 2, 0, 0}, dt.data(), on_isa(isa)).ok());
    for (const float v : dt) EXPECT_TRUE(same_bits(v, 0.0F)) << v;
  });
}

TEST_F(TemperatureGradient, NanSpreadsOverItsRowAndNoFurther) {
  on_every_kind_and_isa([&](const Kind& kind, std::string_view isa) {
    for (const std::int64_t n : {1, 16, 50, 1030}) {
      Matrix x(3, n), y(3, n), dy(3, n), dx(3, n);
      x.fill(normals());
      dy.fill(normals());
      std::vector<float> clean(3), dt(3);
      ASSERT_TRUE(kind.forward(x.read(), y.write(), on_isa(isa)).ok());
      ASSERT_TRUE(kind.gradient(y.read(), dy.read(), dx.write(), clean.data(), on_isa(isa)).ok());
      for (Matrix* m : {&y, &dy}) {
        const auto at = static_cast<std::size_t>(random_.below(n));
        const float before = std::exchange(m->row(1)[at], kNan);
        ASSERT_TRUE(kind.gradient(y.read(), dy.read(), dx.write(), dt.data(), on_isa(isa)).ok());
        m->row(1)[at] = before;
        EXPECT_TRUE(std::isnan(dt[1])) << dt[1];
        EXPECT_TRUE(same_bits(dt[0], clean[0]));
        EXPECT_TRUE(same_bits(dt[2], clean[2]));
      }
    }
  });
}

TEST_F(TemperatureGradient, WorkersLeaveTheSameBits) {
  on_every_kind_and_isa([&](const Kind& kind, std::string_view isa) {
    Matrix y(700, 333), dy(700, 333), dx(700, 333);
    y.fill(normals(1));
    dy.fill(normals());
    std::vector<float> expected(700, kNan), dt(700, kNan);
    SoftmaxOptions options = on_isa(isa);
    ASSERT_TRUE(kind.gradient(y.read(), dy.read(), dx.write(), expected.data(), options).ok());
    options.workers = 3;
    ASSERT_TRUE(kind.gradient(y.read(), dy.read(), dx.write(), dt.data(), options).ok());
    expect_same_bits(dt, expected);
  });
}

/// L = Σ dy · y in double, for softmax or its logarithm.
double loss(const std::vector<double>& x, const std::vector<float>& dy, double scale,
            double temperature, bool logarithm) {
  double sum = 0, result = 0;
  for (const double v : x) sum += std::exp(scale * v / temperature);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double z = scale * x[i] / temperature;
    result += dy[i] * (logarithm ? z - std::log(sum) : std::exp(z) / sum);
  }
  return result;
}

// The difference quotient over ±h is off by h² · |L'''| / 6, below 1e−6 of the size for h = 1e−4,
// and by roundings of 2⁻⁵⁰ · size / h; y is rounded to float before it meets the formula, as in the
// library: 2⁻²⁴ of itself, and of the log-softmax's values.
TEST_F(TemperatureGradient, TheFormulaIsTheDerivative) {
  constexpr double h = 1e-4, scale = -1.3, temperature = 0.9;
  for (const Kind& kind : kKinds) {
    SCOPED_TRACE(kind.name);
    const bool logarithm = &kind == &kKinds[1];
    for (int repeat = 0; repeat < 20; ++repeat) {
      std::vector<double> x(9);
      std::vector<float> y(9), dy(9);
      double sum = 0, size = 0;
      for (double& v : x) v = random_.normal();
      for (float& v : dy) v = static_cast<float>(random_.normal());
      for (const double v : x) sum += std::exp(scale * v / temperature);
      for (std::size_t i = 0; i < x.size(); ++i) {
        const double z = scale * x[i] / temperature, log_y = z - std::log(sum);
        y[i] = static_cast<float>(logarithm ? log_y : std::exp(log_y));
        size += std::abs(dy[i]) * (1 + std::abs(log_y)) * (1 + std::abs(log_y));
      }
      const double slope = (loss(x, dy, scale, temperature + h, logarithm) -
                            loss(x, dy, scale, temperature - h, logarithm)) /
                           (2 * h);
      EXPECT_NEAR(kind.reference(y, dy, temperature, 4).exact, slope, 2e-6 * size);
    }
  }
}

TEST_F(TemperatureGradient, WhatIsRefused) {
  std::vector<float> memory(300, -5.0F);
  float* const y = memory.data();
  float* const dy = y + 50;
  float* const dx = y + 100;
  const auto message = [&](float* dt, const SoftmaxOptions& options = {}) {
    return softmax_gradient({y, 4, 8, 8}, {dy, 4, 8, 8}, {dx, 4, 8, 8}, dt, options).message();
  };
  EXPECT_EQ(message(y + 31), "dt must not overlap y");
  EXPECT_EQ(message(dy - 3), "dt must not overlap dy");
  EXPECT_EQ(message(dx), "dt must not overlap dx");
  std::vector<float> temperatures(4, 1.0F);
  SoftmaxOptions options;
  options.temperatures = temperatures;
  EXPECT_EQ(message(temperatures.data(), options), "dt must not overlap temperatures");
  options.temperatures = {};
  options.mask = {reinterpret_cast<const std::uint8_t*>(y + 200), 8};
  EXPECT_EQ(message(y + 207, options), "dt must not overlap mask");
  auto* const odd = reinterpret_cast<char*>(y + 150) + 2;
  EXPECT_EQ(message(reinterpret_cast<float*>(odd)),
            "dt must begin at a multiple of 4 bytes, as its elements do");
  for (const float v : memory) ASSERT_EQ(v, -5.0F) << "a refused call wrote";
}

}  // namespace
}  // namespace heed::tests
