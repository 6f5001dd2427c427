// Masks of entries: what they hide weighs nothing and is not looked at. Elsewhere the bits are
// those of the matrix with −∞ in the place of what is hidden.
#include <cmath>
#include <vector>

#include "tests/support/softmax_fixture.h"
#include "tests/support/typed_matrix.h"

namespace heed::tests {
namespace {

class SoftmaxMask : public SoftmaxFixture {
 protected:
  static SoftmaxOptions with(SoftmaxOptions options, MaskMatrix& mask) {
    options.mask = mask.mask();
    return options;
  }

  /// Runs everything on x, of which the mask hides some, and on x with −∞ there.
  static void expect_bits_of_masked(Matrix& x, MaskMatrix& mask, const SoftmaxOptions& options) {
    const std::int64_t n = x.length(), rows = x.rows();
    Matrix masked(rows, n), y(rows, n), in_place(rows, n, n + 2), expected(rows, n);
    masked.copy_from(x);
    mask.put_into(masked, -kInfinity);
    for (const SoftmaxMap map : {softmax, log_softmax}) {
      in_place.copy_from(x);
      ASSERT_TRUE(map(masked.read(), expected.write(), options).ok());
      ASSERT_TRUE(map(x.read(), y.write(), with(options, mask)).ok());
      ASSERT_TRUE(map(in_place.read(), in_place.write(), with(options, mask)).ok());
      for (std::int64_t r = 0; r < rows; ++r) {
        SCOPED_TRACE(testing::Message() << "row " << r << " of length " << n);
        expect_same_bits(y.row(r), expected.row(r));
        expect_same_bits(in_place.row(r), expected.row(r));
      }
      in_place.expect_gaps_untouched();
    }
    std::vector<float> lse(static_cast<std::size_t>(rows)), expected_lse = lse;
    ASSERT_TRUE(log_sum_exp(masked.read(), expected_lse.data(), options).ok());
    ASSERT_TRUE(log_sum_exp(x.read(), lse.data(), with(options, mask)).ok());
    expect_same_bits(lse, expected_lse);
  }
};

TEST_F(SoftmaxMask, HiddenEntriesAreMasked) {
  on_every_isa([&](std::string_view isa) {
    for (std::int64_t n = 0; n <= 70; ++n) {
      for (const Touching touching : {Touching::start, Touching::end}) {
        Matrix x(5, n, n, touching);
        MaskMatrix mask(5, n, n, touching);
        x.fill(normals());
        mask.fill(mask_bytes());
        for (std::int64_t i = 0; i < n; ++i) mask.entry(3, i) = 0;
        expect_bits_of_masked(x, mask, on_isa(isa, n % 2 == 0 ? 0.7F : -1.0F));
        if (HasFailure()) return;
      }
    }
  });
}

// 8192 floats fit the scratch; longer rows are staged in chunks of 1024, 65536 is where rows of
// floats stop keeping their weights.
TEST_F(SoftmaxMask, LongRows) {
  on_every_isa([&](std::string_view isa) {
    for (const std::int64_t n : {200, 1025, 2048, 8191, 8192, 8193, 9216, 65536, 70001}) {
      for (const float temperature : {0.0F, 0.5F, kInfinity}) {
        Matrix x(2, n);
        MaskMatrix mask(2, n, n);
        x.fill(normals());
        mask.fill(mask_bytes());
        expect_bits_of_masked(x, mask, on_isa(isa, 1.0F, temperature));
        if (HasFailure()) return;
      }
    }
  });
}

// One mask for all rows, rows backwards, and rows of a mask that overlap, each one entry later than
// the one before: a causal mask from one list of ones and zeros.
TEST_F(SoftmaxMask, Strides) {
  on_every_isa([&](std::string_view isa) {
    for (const std::int64_t n : {5, 64, 90, 300}) {
      for (const std::int64_t stride : {std::int64_t{0}, n + 7, -n - 1, std::int64_t{-1}}) {
        Matrix x(9, n);
        MaskMatrix mask(9, n, stride);
        x.fill(normals());
        mask.fill(mask_bytes());
        expect_bits_of_masked(x, mask, on_isa(isa));
        if (HasFailure()) return;
      }
    }
  });
}

TEST_F(SoftmaxMask, WhatIsHiddenIsNotLookedAt) {
  on_every_isa([&](std::string_view isa) {
    for (const std::int64_t n : {1, 16, 61, 300, 9000}) {
      for (const float temperature : {0.0F, 1.0F, kInfinity}) {
        Matrix x(4, n);
        MaskMatrix mask(4, n, n);
        x.fill(normals());
        mask.fill(mask_bytes());
        for (const float junk : {kNan, kInfinity, -kInfinity, 3e38F}) {
          mask.put_into(x, junk);
          expect_bits_of_masked(x, mask, on_isa(isa, 1.0F, temperature));
          if (HasFailure()) return;
        }
      }
    }
  });
}

TEST_F(SoftmaxMask, NanThatIsVisibleSpreadsOverItsRowAndNoFurther) {
  on_every_isa([&](std::string_view isa) {
    Matrix x(3, 70), y(3, 70), log_y(3, 70);
    MaskMatrix mask(3, 70, 0);
    x.fill(normals());
    mask.fill([] { return std::uint8_t{1}; });
    mask.entry(0, 5) = 0;
    x.row(1)[6] = kNan;
    std::vector<float> lse(3);
    ASSERT_TRUE(softmax(x.read(), y.write(), with(on_isa(isa), mask)).ok());
    ASSERT_TRUE(log_softmax(x.read(), log_y.write(), with(on_isa(isa), mask)).ok());
    ASSERT_TRUE(log_sum_exp(x.read(), lse.data(), with(on_isa(isa), mask)).ok());
    EXPECT_TRUE(std::isnan(lse[1]));
    for (std::size_t i = 0; i < 70; ++i) {
      EXPECT_TRUE(std::isnan(y.row(1)[i])) << i;
      EXPECT_TRUE(std::isnan(log_y.row(1)[i])) << i;
      EXPECT_EQ(y.row(0)[i] == 0, i == 5) << i;
    }
  });
}

// Hidden entries have no gradient, and their y and dy do not count: the others have the bits of a
// row in which y is 0, or −∞, and dy 0 there.
TEST_F(SoftmaxMask, Gradients) {
  struct Kind {
    SoftmaxGradientMap gradient;
    float hidden;
  };
  const Kind kinds[] = {{softmax_gradient, 0.0F}, {log_softmax_gradient, -kInfinity}};
  on_every_isa([&](std::string_view isa) {
    for (const Kind& kind : kinds) {
      for (const std::int64_t n : {1, 9, 64, 100, 1024, 1025, 3000}) {
        Matrix y(4, n), dy(4, n), dx(4, n), bare_y(4, n), bare_dy(4, n), expected(4, n);
        MaskMatrix mask(4, n, n);
        mask.fill(mask_bytes());
        for (std::int64_t i = 0; i < n; ++i) mask.entry(2, i) = 0;
        for (Matrix* m : {&y, &dy}) m->fill(normals());
        bare_y.copy_from(y);
        bare_dy.copy_from(dy);
        mask.put_into(bare_y, kind.hidden);
        mask.put_into(bare_dy, 0.0F);
        mask.put_into(y, kNan);
        mask.put_into(dy, kInfinity);
        const SoftmaxOptions options = on_isa(isa, 1.3F, 0.4F);
        std::vector<float> dt(4, kNan), expected_dt(4, kNan);
        ASSERT_TRUE(kind.gradient(bare_y.read(), bare_dy.read(), expected.write(),
                                  expected_dt.data(), options)
                        .ok());
        mask.put_into(expected, 0.0F);
        ASSERT_TRUE(
            kind.gradient(y.read(), dy.read(), dx.write(), dt.data(), with(options, mask)).ok());
        ASSERT_TRUE(
            kind.gradient(y.read(), dy.read(), dy.write(), nullptr, with(options, mask)).ok());
        for (std::int64_t r = 0; r < 4; ++r) {
          expect_same_bits(dx.row(r), expected.row(r));
          expect_same_bits(dy.row(r), expected.row(r));
        }
        expect_same_bits(dt, expected_dt);
        EXPECT_EQ(dt[2], 0.0F);
        if (HasFailure()) return;
      }
    }
  });
}

// A visible NaN in dy makes its row NaN, but for what is hidden.
TEST_F(SoftmaxMask, HiddenEntriesOfANanRowHaveNoGradient) {
  on_every_isa([&](std::string_view isa) {
    for (const SoftmaxGradientMap gradient :
         {static_cast<SoftmaxGradientMap>(softmax_gradient),
          static_cast<SoftmaxGradientMap>(log_softmax_gradient)}) {
      Matrix y(1, 20), dy(1, 20), dx(1, 20);
      MaskMatrix mask(1, 20, 20);
      for (Matrix* m : {&y, &dy}) m->fill(normals());
      mask.fill([] { return std::uint8_t{1}; });
      mask.entry(0, 4) = mask.entry(0, 19) = 0;
      dy.row(0)[7] = kNan;
      ASSERT_TRUE(gradient(y.read(), dy.read(), dx.write(), nullptr, with(on_isa(isa), mask)).ok());
      for (std::size_t i = 0; i < 20; ++i) {
        if (i == 4 || i == 19) {
          EXPECT_TRUE(same_bits(dx.row(0)[i], 0.0F)) << dx.row(0)[i];
        } else {
          EXPECT_TRUE(std::isnan(dx.row(0)[i])) << i;
        }
      }
    }
  });
}

TEST_F(SoftmaxMask, WorkersLeaveTheSameBits) {
  on_every_isa([&](std::string_view isa) {
    Matrix x(600, 333), y(600, 333), expected(600, 333);
    MaskMatrix mask(600, 333, 340);
    x.fill(normals());
    mask.fill(mask_bytes());
    SoftmaxOptions options = with(on_isa(isa), mask);
    ASSERT_TRUE(softmax(x.read(), expected.write(), options).ok());
    options.workers = 3;
    ASSERT_TRUE(softmax(x.read(), y.write(), options).ok());
    for (std::int64_t r = 0; r < 600; ++r) expect_same_bits(y.row(r), expected.row(r));
  });
}

TEST_F(SoftmaxMask, WhatIsRefused) {
  std::vector<float> memory(200, -5.0F);
  float* const x = memory.data();
  float* const y = x + 100;
  SoftmaxOptions options;
  options.mask = {reinterpret_cast<const std::uint8_t*>(y + 31) + 1, 8};
  EXPECT_EQ(softmax({x, 4, 8, 8}, {y, 4, 8, 8}, options).message(), "y must not overlap mask");
  EXPECT_EQ(softmax_gradient({x, 4, 8, 8}, {x, 4, 8, 8}, {y, 4, 8, 8}, options).message(),
            "dx must not overlap mask");
  EXPECT_EQ(log_sum_exp({x, 4, 8, 8}, y + 32, options).message(), "lse must not overlap mask");
  options.mask.stride = std::numeric_limits<std::int64_t>::max();
  const Status far = softmax({x, 4, 8, 8}, {y, 4, 8, 8}, options);
  EXPECT_EQ(far.code(), StatusCode::invalid_argument);
  EXPECT_NE(far.message().find("mask"), std::string::npos) << far.message();
  for (const float v : memory) ASSERT_EQ(v, -5.0F) << "a refused call wrote";
}

}  // namespace
}  // namespace heed::tests
