// Softmax, log-softmax and log-sum-exp against double, and what their results may not depend on.

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <vector>

#include "heed/executor.h"
#include "tests/proof/inputs.h"
#include "tests/proof/numbers.h"
#include "tests/support/attention_run.h"
#include "tests/support/float_control.h"
#include "tests/support/softmax_fixture.h"
#include "tests/support/softmax_matrix.h"

namespace heed::tests {
namespace {

using Touching = Matrix::Touching;

constexpr float kLargest = std::numeric_limits<float>::max();

/// 0 … 70 cover every count of vectors in registers and each ragged end of every ISA; then the
/// edges of the chunks that sums are taken in.
std::vector<std::int64_t> lengths() {
  std::vector<std::int64_t> list;
  for (std::int64_t n = 0; n <= 70; ++n) list.push_back(n);
  for (const std::int64_t n : {127, 128, 129, 255, 256, 257, 1023, 1024, 1025, 2049, 4097}) {
    list.push_back(n);
  }
  return list;
}

/// Runs all three functions on x and compares every row with the reference.
void expect_reference(Matrix& x, const SoftmaxOptions& options) {
  Matrix y(x.rows(), x.length()), log_y(x.rows(), x.length());
  std::vector<float> lse(static_cast<std::size_t>(x.rows()), kNan);
  ASSERT_TRUE(softmax(x.read(), y.write(), options).ok());
  ASSERT_TRUE(log_softmax(x.read(), log_y.write(), options).ok());
  ASSERT_TRUE(log_sum_exp(x.read(), lse.data(), options).ok());
  for (std::int64_t r = 0; r < x.rows(); ++r) {
    SCOPED_TRACE(testing::Message() << "row " << r << " of length " << x.length());
    const SoftmaxReference reference =
        softmax_reference(x.row(r), options.scale, options.temperature, lanes_of(options.isa));
    expect_row_within(y.row(r), reference.softmax);
    expect_row_within(log_y.row(r), reference.log_softmax);
    const float result = lse[static_cast<std::size_t>(r)];
    if (options.temperature == 0 && options.scale != 0 && reference.lse.exact != -kInfinity) {
      EXPECT_TRUE(std::isnan(result)) << result;
    } else {
      EXPECT_TRUE(within(result, reference.lse))
          << "LSE " << result << " instead of " << reference.lse.exact << " ± "
          << reference.lse.bound;
    }
  }
}

class SoftmaxTest : public SoftmaxFixture {
 protected:
  float normal(double deviation = 3) { return static_cast<float>(deviation * random_.normal()); }
  /// Masked with probability ½.
  std::function<float()> half_masked() {
    return [this] { return random_.below(2) == 0 ? -kInfinity : normal(); };
  }
};

TEST_F(SoftmaxTest, EveryLength) {
  on_every_isa([&](std::string_view isa) {
    for (const std::int64_t n : lengths()) {
      Matrix x(3, n);
      x.fill(normals());
      expect_reference(x, on_isa(isa));
    }
  });
}

// 65536 elements are the longest row that keeps its weights in y.
TEST_F(SoftmaxTest, RowsLongerThanTheCache) {
  on_every_isa([&](std::string_view isa) {
    for (const std::int64_t n : {65536, 65537, 70003}) {
      Matrix x(1, n);
      x.fill(normals());
      expect_reference(x, on_isa(isa));
      Matrix in_place(1, n), apart(1, n);
      in_place.copy_from(x);
      ASSERT_TRUE(softmax(x.read(), apart.write(), on_isa(isa)).ok());
      ASSERT_TRUE(softmax(in_place.read(), in_place.write(), on_isa(isa)).ok());
      expect_same_bits(apart.row(0), in_place.row(0));
    }
  });
}

// The layout is no part of the arithmetic: the same bits, nothing outside the rows touched.
TEST_F(SoftmaxTest, StridesAndPlacesLeaveTheSameBits) {
  on_every_isa([&](std::string_view isa) {
    for (const std::int64_t n : lengths()) {
      SCOPED_TRACE(testing::Message() << "length " << n);
      Matrix plain(3, n), expected(3, n), expected_log(3, n);
      plain.fill(normals());
      const SoftmaxOptions options = on_isa(isa);
      ASSERT_TRUE(softmax(plain.read(), expected.write(), options).ok());
      ASSERT_TRUE(log_softmax(plain.read(), expected_log.write(), options).ok());
      for (const std::int64_t stride : {n, n + 5, -n - 1}) {
        for (const Touching touching : {Touching::end, Touching::start}) {
          Matrix x(3, n, stride, touching), y(3, n, -stride, touching), z(3, n, stride, touching);
          x.copy_from(plain);
          z.copy_from(plain);
          ASSERT_TRUE(softmax(x.read(), y.write(), options).ok());
          ASSERT_TRUE(softmax(x.read(), x.write(), options).ok());
          ASSERT_TRUE(log_softmax(z.read(), z.write(), options).ok());
          for (std::int64_t r = 0; r < 3; ++r) {
            expect_same_bits(y.row(r), expected.row(r));
            expect_same_bits(x.row(r), expected.row(r));
            expect_same_bits(z.row(r), expected_log.row(r));
          }
          for (Matrix* m : {&x, &y, &z}) m->expect_gaps_untouched();
          if (HasFailure()) return;
        }
      }
    }
  });
}

TEST_F(SoftmaxTest, ScalesAndTemperatures) {
  on_every_isa([&](std::string_view isa) {
    for (const float scale : {1.0F, -1.0F, 0.3F, -2.5F, 100.0F, 0.0F, 1e-38F}) {
      for (const float temperature : {0.0F, 1e-3F, 0.7F, 1.0F, 9.0F, 1e30F, kInfinity}) {
        SCOPED_TRACE(testing::Message() << scale << " / " << temperature);
        for (const std::int64_t n : {1, 3, 16, 61, 64, 65, 200, 1030}) {
          Matrix x(4, n);
          x.fill(normals());
          expect_reference(x, on_isa(isa, scale, temperature));
          if (HasFailure()) return;
        }
      }
    }
  });
}

TEST_F(SoftmaxTest, MaskedEntriesWeighNothing) {
  on_every_isa([&](std::string_view isa) {
    for (const float scale : {1.0F, -1.0F, 0.0F}) {
      for (const float temperature : {0.0F, 0.5F, kInfinity}) {
        SCOPED_TRACE(testing::Message() << scale << " / " << temperature);
        for (const std::int64_t n : {1, 2, 5, 17, 64, 65, 130, 1025}) {
          Matrix x(6, n);
          x.fill(half_masked());
          for (float& v : x.row(2)) v = -kInfinity;
          expect_reference(x, on_isa(isa, scale, temperature));
          if (HasFailure()) return;
        }
      }
    }
  });
}

// The kernels have shorter code for a factor of 1, not for −1.
TEST_F(SoftmaxTest, OneHasTheBitsOfMinusOneForTheOppositeInput) {
  on_every_isa([&](std::string_view isa) {
    for (const std::int64_t n : {60, 64, 200, 1027}) {
      Matrix x(20, n), opposite(20, n), y(20, n), expected(20, n);
      x.fill(normals(20));
      for (std::int64_t r = 0; r < 20; ++r) {
        std::ranges::transform(x.row(r), opposite.row(r).begin(), std::negate());
      }
      std::vector<float> lse(20), expected_lse(20);
      ASSERT_TRUE(log_sum_exp(x.read(), lse.data(), on_isa(isa)).ok());
      ASSERT_TRUE(log_sum_exp(opposite.read(), expected_lse.data(), on_isa(isa, -1.0F)).ok());
      expect_same_bits(lse, expected_lse);
      for (const auto function : {softmax, log_softmax}) {
        ASSERT_TRUE(function(x.read(), y.write(), on_isa(isa)).ok());
        ASSERT_TRUE(function(opposite.read(), expected.write(), on_isa(isa, -1.0F)).ok());
        for (std::int64_t r = 0; r < 20; ++r) expect_same_bits(y.row(r), expected.row(r));
      }
    }
  });
}

TEST_F(SoftmaxTest, ArgmaxSharesTies) {
  on_every_isa([&](std::string_view isa) {
    for (const float scale : {2.0F, -2.0F}) {
      for (const std::int64_t n : {5, 33, 64, 300}) {
        Matrix x(8, n), y(8, n);
        x.fill([&] { return static_cast<float>(random_.below(3)); });
        expect_reference(x, on_isa(isa, scale, 0.0F));
        ASSERT_TRUE(softmax(x.read(), y.write(), on_isa(isa, scale, 0.0F)).ok());
        for (std::int64_t r = 0; r < 8; ++r) {
          const auto [low, high] = std::ranges::minmax(x.row(r));
          const float best = scale > 0 ? high : low;
          const auto ties = static_cast<float>(std::ranges::count(x.row(r), best));
          for (std::size_t i = 0; i < y.row(r).size(); ++i) {
            ASSERT_EQ(y.row(r)[i], x.row(r)[i] == best ? 1.0F / ties : 0.0F);
          }
        }
      }
    }
  });
}

// The sum of the weights is n exactly, so that only the logarithm can be wrong. It is taken in
// double with an error below 2⁻⁴⁵: a result that is not the rounded logarithm would need one that
// lies so close to the middle between two floats, and among these there is none.
TEST_F(SoftmaxTest, LogarithmsAreRounded) {
  on_every_isa([&](std::string_view isa) {
    const std::vector<float> x(4096, 1.0F);
    for (std::int64_t n = 1; n <= 4096; ++n) {
      float lse = kNan;
      ASSERT_TRUE(log_sum_exp({x.data(), 1, n, n}, &lse, on_isa(isa, 1.0F, kInfinity)).ok());
      ASSERT_EQ(lse, static_cast<float>(std::log(static_cast<double>(n)))) << n;
    }
  });
}

// z itself, or the difference of two elements, may be beyond the range of float where z' is not.
TEST_F(SoftmaxTest, NoFiniteInputOverflows) {
  const std::vector<std::vector<float>> rows = {
      {kLargest, -kLargest, kLargest, 0.0F},
      {-kLargest, -kLargest, -kLargest},
      {kLargest, kLargest},
      {-kLargest, 0.0F, 1.0F},
      {1e38F, -3e38F, 2e38F, 1e38F, 2.9e38F},
      {0x1p-149F, -0x1p-149F, 0.0F},
      {1e-38F, -1e-38F, 2e-38F},
      {1e6F, 1e6F + 0.5F, 1e6F - 3},
      {-1e30F, 1e30F, 1e30F},
      {-200.0F, -300.0F, -87.5F - 200, -303.5F},
  };
  const float factors[] = {1.0F, -1.0F, 1e-38F, -1e-38F, 2e-38F,
                           0.3F, 1e10F, -1e10F, 3e38F,   0x1p-149F};
  on_every_isa([&](std::string_view isa) {
    for (const std::vector<float>& row : rows) {
      for (const float factor : factors) {
        for (const std::int64_t copies : {1, 40}) {
          Matrix x(1, copies * static_cast<std::int64_t>(row.size()));
          std::size_t next = 0;
          x.fill([&] { return row[next++ % row.size()]; });
          SCOPED_TRACE(testing::Message() << "from " << row[0] << ", factor " << factor);
          expect_reference(x, on_isa(isa, factor));
          if (HasFailure()) return;
        }
      }
    }
  });
}

// Shares from 2⁻²⁶ down to the smallest subnormal float and below.
TEST_F(SoftmaxTest, SharesFadeGradually) {
  on_every_isa([&](std::string_view isa) {
    Matrix x(1, 2000);
    float z = 0.0F;
    x.fill([&] { return z -= 0.06F; });
    expect_reference(x, on_isa(isa));
    for (std::size_t i = 0; i < 64; ++i) x.row(0)[i] = -static_cast<float>(i) * 2.0F;
    Matrix short_row(1, 64);
    std::copy_n(x.row(0).begin(), 64, short_row.row(0).begin());
    expect_reference(short_row, on_isa(isa));
  });
}

TEST_F(SoftmaxTest, NanSpreadsOverItsRowAndNoFurther) {
  on_every_isa([&](std::string_view isa) {
    for (const float temperature : {0.0F, 1.0F, kInfinity}) {
      for (const float scale : {1.0F, -1.0F}) {
        for (const std::int64_t n : {1, 7, 16, 64, 65, 1030}) {
          SCOPED_TRACE(testing::Message() << "length " << n << ", T = " << temperature);
          const SoftmaxOptions options = on_isa(isa, scale, temperature);
          Matrix x(5, n), clean(5, n), y(5, n), log_y(5, n);
          x.fill(half_masked());
          ASSERT_TRUE(softmax(x.read(), clean.write(), options).ok());
          x.row(1)[static_cast<std::size_t>(random_.below(n))] = kNan;
          x.row(3)[static_cast<std::size_t>(n - 1)] = kNan;
          std::vector<float> lse(5);
          ASSERT_TRUE(softmax(x.read(), y.write(), options).ok());
          ASSERT_TRUE(log_softmax(x.read(), log_y.write(), options).ok());
          ASSERT_TRUE(log_sum_exp(x.read(), lse.data(), options).ok());
          for (const std::int64_t r : {1, 3}) {
            expect_all_nan(y.row(r));
            expect_all_nan(log_y.row(r));
            EXPECT_TRUE(std::isnan(lse[static_cast<std::size_t>(r)]));
          }
          for (const std::int64_t r : {0, 2, 4}) expect_same_bits(y.row(r), clean.row(r));
          if (HasFailure()) return;
        }
      }
    }
  });
}

// ∞ − ∞ for a positive scale; e^−∞ for a negative one. The argmax finds it like any other number.
TEST_F(SoftmaxTest, PositiveInfinityFollowsTheFormula) {
  on_every_isa([&](std::string_view isa) {
    for (const std::int64_t n : {3, 64, 100}) {
      Matrix x(1, n), y(1, n), without(1, n), expected(1, n);
      x.fill(normals());
      x.row(0)[1] = kInfinity;
      ASSERT_TRUE(softmax(x.read(), y.write(), on_isa(isa)).ok());
      expect_all_nan(y.row(0));
      ASSERT_TRUE(softmax(x.read(), y.write(), on_isa(isa, 1.0F, kInfinity)).ok());
      expect_all_nan(y.row(0));
      ASSERT_TRUE(softmax(x.read(), y.write(), on_isa(isa, 1.0F, 0.0F)).ok());
      for (std::int64_t i = 0; i < n; ++i) {
        ASSERT_EQ(y.row(0)[static_cast<std::size_t>(i)], i == 1 ? 1.0F : 0.0F);
      }
      without.copy_from(x);
      without.row(0)[1] = -kInfinity;
      ASSERT_TRUE(softmax(x.read(), y.write(), on_isa(isa, -1.0F)).ok());
      ASSERT_TRUE(softmax(without.read(), expected.write(), on_isa(isa, -1.0F)).ok());
      expect_same_bits(y.row(0), expected.row(0));
    }
  });
}

// Neither the number of workers, nor where they run, nor the rows beside it.
TEST_F(SoftmaxTest, ARowDependsOnNothingElse) {
  Executor executor;
  ASSERT_TRUE(Executor::create(3, executor).ok());
  on_every_isa([&](std::string_view isa) {
    for (const std::int64_t n : {17, 300, 4100}) {
      const std::int64_t rows = 400000 / n;
      Matrix x(rows, n), expected(rows, n);
      x.fill(normals());
      SoftmaxOptions options = on_isa(isa, 0.7F);
      ASSERT_TRUE(softmax(x.read(), expected.write(), options).ok());
      for (const int workers : {0, 2, 3, 16}) {
        for (Executor* where : {static_cast<Executor*>(nullptr), &executor}) {
          Matrix y(rows, n);
          options.workers = workers;
          options.executor = where;
          ASSERT_TRUE(softmax(x.read(), y.write(), options).ok());
          for (std::int64_t r = 0; r < rows; ++r) expect_same_bits(y.row(r), expected.row(r));
        }
      }
      Matrix alone(1, n), y(1, n);
      std::ranges::copy(x.row(rows / 2), alone.row(0).begin());
      ASSERT_TRUE(softmax(alone.read(), y.write(), options).ok());
      expect_same_bits(y.row(0), expected.row(rows / 2));
    }
  });
}

// Results of 32 MiB and more take another way to memory; the rows of a part of them do not.
TEST_F(SoftmaxTest, LargeResultsHaveTheBitsOfSmallOnes) {
  for (const std::int64_t n : {4096, 4099, 16384, 70016}) {
    const std::int64_t rows = (std::int64_t{1} << 23) / n + 1;
    Matrix x(rows, n), y(rows, n), expected(1, n);
    float v = normal();
    x.fill([&] { return v = std::fmod(5.3F - 3 * v, 20.0F); });
    on_every_isa([&](std::string_view isa) {
      const SoftmaxOptions options = on_isa(isa);
      for (const auto function : {softmax, log_softmax}) {
        ASSERT_TRUE(function(x.read(), y.write(), options).ok());
        for (const std::int64_t r : {std::int64_t{0}, rows / 2, rows - 1}) {
          ASSERT_TRUE(function({x.row(r).data(), 1, n, n}, expected.write(), options).ok());
          expect_same_bits(y.row(r), expected.row(0));
        }
      }
    });
  }
}

TEST_F(SoftmaxTest, IgnoresTheHostsFloatingPointEnvironment) {
  on_every_isa([&](std::string_view isa) {
    Matrix x(50, 1000), expected(50, 1000), y(50, 1000);
    x.fill([&] { return random_.below(2) == 0 ? normal(40) : 0x1p-140F; });
    SoftmaxOptions options = on_isa(isa, 0.3F, 0.7F);
    options.workers = 2;
    ASSERT_TRUE(softmax(x.read(), expected.write(), options).ok());
    const FloatControl before = float_control();
    const FloatControl hostile = kPlain | kFlush | kRoundUp;
    set_float_control(hostile);
    const bool ok = softmax(x.read(), y.write(), options).ok();
    const FloatControl after = float_control();
    set_float_control(before);
    ASSERT_TRUE(ok);
    EXPECT_EQ(settings(after), settings(hostile)) << "the host's setting was not restored";
    for (std::int64_t r = 0; r < 50; ++r) expect_same_bits(y.row(r), expected.row(r));
  });
}

TEST_F(SoftmaxTest, NothingToDo) {
  for (const std::string_view isa : f32_isas()) {
    const SoftmaxOptions options = on_isa(isa);
    EXPECT_TRUE(softmax({}, {}, options).ok());
    EXPECT_TRUE(log_softmax({nullptr, 0, 5, 5}, {nullptr, 0, 5, 5}, options).ok());
    EXPECT_TRUE(softmax({nullptr, 3, 0, 0}, {nullptr, 3, 0, 0}, options).ok());
    EXPECT_TRUE(log_sum_exp({}, nullptr, options).ok());
    float lse[2] = {};
    EXPECT_TRUE(log_sum_exp({nullptr, 2, 0, 0}, lse, options).ok());
    EXPECT_EQ(lse[0], -kInfinity);
    EXPECT_EQ(lse[1], -kInfinity);
  }
}

}  // namespace
}  // namespace heed::tests
