// One temperature for each row: each has the bits that it has alone, whatever the others have.
#include <cmath>
#include <vector>

#include "tests/support/softmax_fixture.h"

namespace heed::tests {
namespace {

class SoftmaxTemperatures : public SoftmaxFixture {
 protected:
  /// Runs of the same, and of the same kind, as well as any mixture.
  std::vector<float> mixture(std::int64_t rows, bool argmax = true) {
    const float all[] = {argmax ? 0.0F : 2.0F, kInfinity, 1.0F, 0.3F, 1e-3F, 7.0F, 1e30F, 0x1p-20F};
    std::vector<float> list;
    while (static_cast<std::int64_t>(list.size()) < rows) {
      const float t = random_.pick<float>(all);
      for (std::int64_t n = random_.below(4); n >= 0; --n) list.push_back(t);
    }
    list.resize(static_cast<std::size_t>(rows));
    return list;
  }

  /// The row by itself, with its T for all rows.
  static SoftmaxOptions alone(SoftmaxOptions options, std::size_t row) {
    options.temperature = options.temperatures[row];
    options.temperatures = {};
    return options;
  }

  static ConstRows one_row(Matrix& m, std::int64_t r) {
    return {m.row(r).data(), 1, m.length(), m.length()};
  }

  static void expect_rows_as_alone(Matrix& x, const SoftmaxOptions& options) {
    const std::int64_t n = x.length();
    Matrix y(x.rows(), n), log_y(x.rows(), n), expected(1, n), in_place(x.rows(), n, -n - 3);
    std::vector<float> lse(static_cast<std::size_t>(x.rows()), kNan);
    in_place.copy_from(x);
    ASSERT_TRUE(softmax(x.read(), y.write(), options).ok());
    ASSERT_TRUE(softmax(in_place.read(), in_place.write(), options).ok());
    ASSERT_TRUE(log_softmax(x.read(), log_y.write(), options).ok());
    ASSERT_TRUE(log_sum_exp(x.read(), lse.data(), options).ok());
    for (std::int64_t r = 0; r < x.rows(); ++r) {
      const auto index = static_cast<std::size_t>(r);
      SCOPED_TRACE(testing::Message()
                   << "row " << r << " of length " << n << ", T " << options.temperatures[index]);
      const SoftmaxOptions own = alone(options, index);
      const SoftmaxReference reference =
          softmax_reference(x.row(r), own.scale, own.temperature, lanes_of(own.isa));
      ASSERT_TRUE(softmax(one_row(x, r), expected.write(), own).ok());
      expect_same_bits(y.row(r), expected.row(0));
      expect_same_bits(in_place.row(r), expected.row(0));
      expect_row_within(y.row(r), reference.softmax);
      ASSERT_TRUE(log_softmax(one_row(x, r), expected.write(), own).ok());
      expect_same_bits(log_y.row(r), expected.row(0));
      expect_row_within(log_y.row(r), reference.log_softmax);
      float own_lse = 0;
      ASSERT_TRUE(log_sum_exp(one_row(x, r), &own_lse, own).ok());
      EXPECT_TRUE(same_bits(lse[index], own_lse)) << lse[index] << " and " << own_lse;
      if (HasFailure()) return;
    }
  }
};

TEST_F(SoftmaxTemperatures, EachRowIsAsItIsAlone) {
  on_every_isa([&](std::string_view isa) {
    for (const float scale : {1.0F, -1.0F, 0.4F, 0.0F}) {
      for (const std::int64_t n : {0, 1, 3, 16, 33, 61, 64, 65, 200, 1030}) {
        Matrix x(23, n);
        x.fill(normals());
        const std::vector<float> temperatures = mixture(x.rows());
        SoftmaxOptions options = on_isa(isa, scale, kNan);  // which nobody looks at
        options.temperatures = temperatures;
        expect_rows_as_alone(x, options);
        if (HasFailure()) return;
      }
    }
  });
}

TEST_F(SoftmaxTemperatures, ArgmaxAndUniformAreExactBetweenOtherRows) {
  on_every_isa([&](std::string_view isa) {
    const std::vector<float> temperatures = {0, 1, kInfinity, 0.5F, 0, kInfinity};
    for (const std::int64_t n : {4, 40, 400}) {
      Matrix x(6, n), y(6, n);
      std::int64_t next = 0;
      x.fill([&] { return static_cast<float>(next++ % 4); });
      x.row(2)[0] = x.row(5)[0] = -kInfinity;
      SoftmaxOptions options = on_isa(isa);
      options.temperatures = temperatures;
      ASSERT_TRUE(softmax(x.read(), y.write(), options).ok());
      for (std::size_t i = 0; i < y.row(0).size(); ++i) {
        const float best = i % 4 == 3 ? 4.0F / static_cast<float>(n) : 0.0F;
        const float even = i == 0 ? 0.0F : 1.0F / static_cast<float>(n - 1);
        ASSERT_EQ(y.row(0)[i], best);
        ASSERT_EQ(y.row(4)[i], best);
        ASSERT_EQ(y.row(2)[i], even);
        ASSERT_EQ(y.row(5)[i], even);
      }
    }
  });
}

// Rows that are spread over workers, and written past the caches, keep their own temperatures.
TEST_F(SoftmaxTemperatures, WorkersAndLargeResultsLeaveTheSameBits) {
  for (const std::int64_t n : {700, 4099, 16384}) {
    const std::int64_t rows = (std::int64_t{1} << 23) / n + 1;
    Matrix x(rows, n), y(rows, n), expected(1, n);
    float v = 1.3F;
    x.fill([&] { return v = std::fmod(5.3F - 3 * v, 20.0F); });
    const std::vector<float> temperatures = mixture(rows);
    on_every_isa([&](std::string_view isa) {
      SoftmaxOptions options = on_isa(isa, -0.8F);
      options.temperatures = temperatures;
      options.workers = 3;
      for (const SoftmaxMap map : {softmax, log_softmax}) {
        ASSERT_TRUE(map(x.read(), y.write(), options).ok());
        for (std::int64_t i = 0; i < 60; ++i) {
          const std::int64_t r = i < 20 ? i : i < 40 ? rows - 1 - (i - 20) : random_.below(rows);
          SCOPED_TRACE(testing::Message() << "row " << r << " of " << rows);
          ASSERT_TRUE(
              map(one_row(x, r), expected.write(), alone(options, static_cast<std::size_t>(r)))
                  .ok());
          expect_same_bits(y.row(r), expected.row(0));
        }
      }
    });
  }
}

TEST_F(SoftmaxTemperatures, Gradients) {
  const SoftmaxGradientMap gradients[] = {softmax_gradient, log_softmax_gradient};
  on_every_isa([&](std::string_view isa) {
    for (const SoftmaxGradientMap gradient : gradients) {
      for (const std::int64_t n : {1, 7, 64, 100, 1100}) {
        Matrix y(30, n), dy(30, n), dx(30, n), expected(1, n);
        y.fill(normals());
        dy.fill(normals());
        const std::vector<float> temperatures = mixture(30, false);
        SoftmaxOptions options = on_isa(isa, 0.6F);
        options.temperatures = temperatures;
        std::vector<float> dt(30, kNan);
        ASSERT_TRUE(gradient(y.read(), dy.read(), dx.write(), dt.data(), options).ok());
        for (std::int64_t r = 0; r < 30; ++r) {
          const auto index = static_cast<std::size_t>(r);
          float own_dt = kNan;
          ASSERT_TRUE(gradient(one_row(y, r), one_row(dy, r), expected.write(), &own_dt,
                               alone(options, index))
                          .ok());
          expect_same_bits(dx.row(r), expected.row(0));
          ASSERT_TRUE(same_bits(dt[index], own_dt)) << dt[index] << " and " << own_dt;
        }
      }
    }
  });
}

class SoftmaxTemperatureErrors : public SoftmaxFixture {
 protected:
  SoftmaxTemperatureErrors() {
    x_.fill([] { return 1.0F; });
    y_.fill([] { return -5.0F; });
  }
  void expect_refused(const Status& status, const std::string& message) {
    EXPECT_EQ(status.code(), StatusCode::invalid_argument);
    EXPECT_EQ(status.message(), message);
    for (std::int64_t r = 0; r < 4; ++r) {
      for (const float v : y_.row(r)) ASSERT_EQ(v, -5.0F) << "a refused call wrote";
    }
  }
  void expect_gradients_refused(std::span<const float> temperatures, const std::string& message,
                                float scale = 1.0F) {
    SoftmaxOptions options = on_isa({}, scale);
    options.temperatures = temperatures;
    expect_refused(softmax_gradient(x_.read(), x_.read(), y_.write(), options), message);
    expect_refused(log_softmax_gradient(x_.read(), x_.read(), y_.write(), options), message);
  }
  void expect_all_refused(std::span<const float> temperatures, const std::string& message,
                          float scale = 1.0F) {
    SCOPED_TRACE(message);
    SoftmaxOptions options = on_isa({}, scale);
    options.temperatures = temperatures;
    expect_refused(softmax(x_.read(), y_.write(), options), message);
    expect_refused(log_softmax(x_.read(), y_.write(), options), message);
    expect_refused(log_sum_exp(x_.read(), y_.row(0).data(), options), message);
    expect_gradients_refused(temperatures, message, scale);
  }

  Matrix x_{4, 8}, y_{4, 8};
};

TEST_F(SoftmaxTemperatureErrors, Numbers) {
  const float negative[] = {1, 2, 3, -1}, nan[] = {1, kNan, -1, 1}, tiny[] = {1, 1, 1e-30F, -1};
  const float cold[] = {1, kInfinity, 0, 0};
  expect_all_refused(negative, "temperatures[3] (-1) must be 0 or more, or infinity");
  expect_all_refused(nan, "temperatures[1] (nan) must be 0 or more, or infinity");
  expect_all_refused(tiny, "scale / temperatures[2] (1e+10 / 1e-30) must be finite as a float",
                     1e10F);
  expect_gradients_refused(cold, "temperatures[2] (0) must be above 0: the argmax has no gradient");
}

TEST_F(SoftmaxTemperatureErrors, Lists) {
  const std::vector<float> ones(5, 1.0F);
  expect_all_refused(std::span(ones).first(3),
                     "temperatures (3 numbers) must have one for each of the 4 rows");
  expect_all_refused(ones, "temperatures (5 numbers) must have one for each of the 4 rows");
  const auto* const bytes = reinterpret_cast<const std::byte*>(ones.data());
  expect_all_refused({reinterpret_cast<const float*>(bytes + 1), 4},
                     "temperatures must begin at a multiple of 4 bytes, as its elements do");
}

TEST_F(SoftmaxTemperatureErrors, Overlap) {
  for (float& t : y_.row(1).first(4)) t = 1.0F;
  SoftmaxOptions options;
  options.temperatures = y_.row(1).first(4);
  const std::string message = "y must not overlap temperatures";
  EXPECT_EQ(softmax(x_.read(), y_.write(), options).message(), message);
  EXPECT_EQ(log_sum_exp(x_.read(), y_.row(1).data() + 2, options).message(),
            "lse must not overlap temperatures");
  EXPECT_EQ(softmax_gradient(x_.read(), x_.read(), y_.write(), options).message(),
            "dx must not overlap temperatures");
}

TEST_F(SoftmaxTemperatureErrors, NoRowsNeedNone) {
  EXPECT_TRUE(softmax({}, {}, {}).ok());
  const float one[] = {1.0F};
  SoftmaxOptions options;
  options.temperatures = one;
  EXPECT_EQ(softmax({}, {}, options).message(),
            "temperatures (1 numbers) must have one for each of the 0 rows");
}

}  // namespace
}  // namespace heed::tests
