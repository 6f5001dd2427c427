// The gradients of softmax and log-softmax: against double, and the formulas against differences.
#include <cmath>
#include <vector>

#include "tests/proof/numbers.h"
#include "tests/support/attention_run.h"
#include "tests/support/softmax_fixture.h"
#include "tests/support/softmax_matrix.h"

namespace heed::tests {
namespace {

using Touching = Matrix::Touching;

/// One of the two gradients, with the function it belongs to.
struct Kind {
  const char* name;
  Status (*forward)(const ConstRows&, const Rows&, const SoftmaxOptions&) noexcept;
  Status (*gradient)(const ConstRows&, const ConstRows&, const Rows&,
                     const SoftmaxOptions&) noexcept;
  std::vector<Bounded> (*reference)(std::span<const float>, std::span<const float>, double, int);
};

const Kind kKinds[] = {
    {"softmax", softmax, softmax_gradient, softmax_gradient_reference},
    {"log_softmax", log_softmax, log_softmax_gradient, log_softmax_gradient_reference},
};

class SoftmaxGradientTest : public SoftmaxFixture {
 protected:
  std::function<float()> normals() { return SoftmaxFixture::normals(2); }

  template <class Check>
  void on_every_kind_and_isa(Check check) {
    for (const Kind& kind : kKinds) {
      for (const std::string_view isa : f32_isas()) {
        SCOPED_TRACE(testing::Message() << kind.name << " on " << isa);
        check(kind, isa);
        if (HasFailure()) return;
      }
    }
  }
};

TEST_F(SoftmaxGradientTest, EveryLengthAndFactor) {
  on_every_kind_and_isa([&](const Kind& kind, std::string_view isa) {
    for (const std::int64_t n : {0,  1,  2,  3,  4,  5,  7,  8,  9,  15,  16,  17,   31,   33,
                                 47, 63, 64, 65, 66, 67, 79, 95, 96, 129, 255, 1025, 2047, 4099}) {
      for (const auto& [scale, temperature] : {std::pair{1.0F, 1.0F}, {-0.7F, 0.3F}}) {
        SCOPED_TRACE(testing::Message() << "length " << n);
        const SoftmaxOptions options = on_isa(isa, scale, temperature);
        Matrix x(3, n), y(3, n), dy(3, n), dx(3, n);
        x.fill(normals());
        dy.fill(normals());
        ASSERT_TRUE(kind.forward(x.read(), y.write(), options).ok());
        ASSERT_TRUE(kind.gradient(y.read(), dy.read(), dx.write(), options).ok());
        for (std::int64_t r = 0; r < 3; ++r) {
          expect_row_within(
              dx.row(r), kind.reference(y.row(r), dy.row(r),
                                        static_cast<double>(scale) / temperature, lanes_of(isa)));
        }
      }
    }
  });
}

TEST_F(SoftmaxGradientTest, StridesAndPlacesLeaveTheSameBits) {
  on_every_kind_and_isa([&](const Kind& kind, std::string_view isa) {
    const SoftmaxOptions options = on_isa(isa, 1.5F);
    for (const std::int64_t n : {1, 6, 16, 37, 64, 100, 1100}) {
      Matrix plain_y(3, n), plain_dy(3, n), expected(3, n);
      plain_y.fill(normals());
      plain_dy.fill(normals());
      ASSERT_TRUE(kind.gradient(plain_y.read(), plain_dy.read(), expected.write(), options).ok());
      for (const Touching touching : {Touching::end, Touching::start}) {
        Matrix y(3, n, n + 3, touching), dy(3, n, -n - 2, touching), dx(3, n, n + 1, touching);
        y.copy_from(plain_y);
        dy.copy_from(plain_dy);
        ASSERT_TRUE(kind.gradient(y.read(), dy.read(), dx.write(), options).ok());
        Matrix in_y(3, n, n + 3), in_dy(3, n, -n - 2);
        in_y.copy_from(plain_y);
        in_dy.copy_from(plain_dy);
        ASSERT_TRUE(kind.gradient(in_y.read(), dy.read(), in_y.write(), options).ok());
        ASSERT_TRUE(kind.gradient(y.read(), in_dy.read(), in_dy.write(), options).ok());
        for (std::int64_t r = 0; r < 3; ++r) {
          for (Matrix* m : {&dx, &in_y, &in_dy}) expect_same_bits(m->row(r), expected.row(r));
        }
        for (Matrix* m : {&dx, &in_y, &in_dy}) m->expect_gaps_untouched();
        if (HasFailure()) return;
      }
    }
  });
}

TEST_F(SoftmaxGradientTest, WorkersLeaveTheSameBits) {
  on_every_kind_and_isa([&](const Kind& kind, std::string_view isa) {
    Matrix y(700, 333), dy(700, 333), expected(700, 333), dx(700, 333);
    y.fill(normals());
    dy.fill(normals());
    SoftmaxOptions options = on_isa(isa);
    ASSERT_TRUE(kind.gradient(y.read(), dy.read(), expected.write(), options).ok());
    options.workers = 3;
    ASSERT_TRUE(kind.gradient(y.read(), dy.read(), dx.write(), options).ok());
    for (std::int64_t r = 0; r < 700; ++r) expect_same_bits(dx.row(r), expected.row(r));
  });
}

TEST_F(SoftmaxGradientTest, NanSpreadsOverItsRowAndNoFurther) {
  on_every_kind_and_isa([&](const Kind& kind, std::string_view isa) {
    for (const std::int64_t n : {1, 16, 50, 1030}) {
      Matrix y(3, n), dy(3, n), clean(3, n), dx(3, n);
      y.fill(normals());
      dy.fill(normals());
      ASSERT_TRUE(kind.gradient(y.read(), dy.read(), clean.write(), on_isa(isa)).ok());
      dy.row(1)[static_cast<std::size_t>(random_.below(n))] = kNan;
      ASSERT_TRUE(kind.gradient(y.read(), dy.read(), dx.write(), on_isa(isa)).ok());
      expect_all_nan(dx.row(1));
      for (const std::int64_t r : {0, 2}) expect_same_bits(dx.row(r), clean.row(r));
    }
  });
}

TEST_F(SoftmaxGradientTest, InfiniteTemperatureHasNone) {
  on_every_kind_and_isa([&](const Kind& kind, std::string_view isa) {
    Matrix y(2, 70), dy(2, 70), dx(2, 70);
    y.fill(normals());
    dy.fill(normals());
    const SoftmaxOptions options = on_isa(isa, 1.0F, kInfinity);
    ASSERT_TRUE(kind.gradient(y.read(), dy.read(), dx.write(), options).ok());
    for (const float v : dx.row(1)) ASSERT_EQ(v, 0.0F);
  });
}

// A masked entry has y = 0 or −∞: no share of the sum reaches it, and dx is dy · factor for the
// latter.
TEST_F(SoftmaxGradientTest, MaskedEntries) {
  on_every_kind_and_isa([&](const Kind& kind, std::string_view isa) {
    Matrix x(2, 40), y(2, 40), dy(2, 40), dx(2, 40);
    x.fill([&] { return random_.below(2) == 0 ? -kInfinity : 1.0F; });
    for (float& v : x.row(1)) v = -kInfinity;
    dy.fill(normals());
    ASSERT_TRUE(kind.forward(x.read(), y.write(), on_isa(isa)).ok());
    ASSERT_TRUE(kind.gradient(y.read(), dy.read(), dx.write(), on_isa(isa)).ok());
    for (std::int64_t r = 0; r < 2; ++r) {
      expect_row_within(dx.row(r), kind.reference(y.row(r), dy.row(r), 1.0, lanes_of(isa)));
    }
  });
}

/// Softmax or its logarithm in double, as a function of x.
std::vector<double> in_double(const std::vector<double>& x, double factor, bool logarithm) {
  double sum = 0;
  std::vector<double> y;
  y.reserve(x.size());
  for (const double v : x) sum += std::exp(factor * v);
  for (const double v : x) {
    y.push_back(logarithm ? factor * v - std::log(sum) : std::exp(factor * v) / sum);
  }
  return y;
}

// L = Σ dy · y(x): the gradient is (L(x + h) − L(x − h)) / 2h, but for h² |L'''| / 6 < h² · Σ|dy| ·
// |factor|³ and roundings of 2⁻⁵⁰ · Σ|dy·y| / h; h = 1e−4 makes both less than 1e−7 of Σ|dy|·max(1,
// |y|). y is rounded to float before it meets the formula, as in the library: 2⁻²³ · Σ|dy|·max(1,
// |y|) more.
TEST_F(SoftmaxGradientTest, FormulasAreTheDerivatives) {
  constexpr double h = 1e-4, factor = -1.3;
  for (const Kind& kind : kKinds) {
    SCOPED_TRACE(kind.name);
    const bool logarithm = kind.forward == static_cast<decltype(kind.forward)>(log_softmax);
    std::vector<double> x(9);
    std::vector<float> y(9), dy(9);
    for (double& v : x) v = random_.normal();
    for (float& v : dy) v = static_cast<float>(random_.normal());
    const std::vector<double> exact_y = in_double(x, factor, logarithm);
    double size = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      y[i] = static_cast<float>(exact_y[i]);
      size += std::abs(dy[i]) * std::max(1.0, std::abs(exact_y[i]));
    }
    const std::vector<Bounded> formula = kind.reference(y, dy, factor, 4);
    for (std::size_t i = 0; i < x.size(); ++i) {
      std::vector<double> left = x, right = x;
      left[i] -= h;
      right[i] += h;
      const std::vector<double> a = in_double(left, factor, logarithm);
      const std::vector<double> b = in_double(right, factor, logarithm);
      double slope = 0;
      for (std::size_t j = 0; j < x.size(); ++j) slope += dy[j] * (b[j] - a[j]) / (2 * h);
      EXPECT_NEAR(formula[i].exact, slope, (2e-7 + 4 * 0x1p-23) * size) << i;
    }
  }
}

}  // namespace
}  // namespace heed::tests
