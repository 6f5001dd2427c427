// Matrices of f32, f16 and bf16 in any combination: results have the bits of the widened matrix in
// f32, rounded to the type of the output.
#include <cmath>
#include <cstring>
#include <vector>

#include "tests/support/softmax_fixture.h"
#include "tests/support/typed_matrix.h"

namespace heed::tests {
namespace {

class SoftmaxTypes : public SoftmaxFixture {
 protected:
  /// x and its widened elements.
  struct Input {
    TypedMatrix typed;
    Matrix floats;

    Input(DType type, std::int64_t rows, std::int64_t length, std::int64_t stride,
          Touching touching, const std::function<float()>& value)
        : typed(type, rows, length, stride, touching), floats(rows, length) {
      floats.fill(value);
      typed.round_from(floats);
      typed.widen_to(floats);
    }
  };

  void expect_bits_of_floats(Input& x, DType y_type, std::int64_t stride, Touching touching,
                             const SoftmaxOptions& options) {
    Matrix expected(x.floats.rows(), x.floats.length());
    for (const SoftmaxMap map : {softmax, log_softmax}) {
      TypedMatrix y(y_type, x.floats.rows(), x.floats.length(), stride, touching);
      ASSERT_TRUE(map(x.floats.read(), expected.write(), options).ok());
      ASSERT_TRUE(map(x.typed.read(), y.write(), options).ok());
      expect_rounded(y, expected);
      y.expect_gaps_untouched();
      if (x.typed.read().data.type() == y_type && map == static_cast<SoftmaxMap>(softmax)) {
        TypedMatrix in_place(y_type, x.floats.rows(), x.floats.length());
        in_place.round_from(x.floats);
        ASSERT_TRUE(map(in_place.read(), in_place.write(), options).ok());
        expect_rounded(in_place, expected);
      }
      if (HasFailure()) return;
    }
    std::vector<float> lse(static_cast<std::size_t>(x.floats.rows()), kNan), expected_lse = lse;
    ASSERT_TRUE(log_sum_exp(x.floats.read(), expected_lse.data(), options).ok());
    ASSERT_TRUE(log_sum_exp(x.typed.read(), lse.data(), options).ok());
    expect_same_bits(lse, expected_lse);
  }

  /// Every pair of types.
  template <class Check>
  void on_every_pair(Check check) {
    on_every_isa([&](std::string_view isa) {
      for (const DType x_type : kSoftmaxTypes) {
        for (const DType y_type : kSoftmaxTypes) {
          SCOPED_TRACE(testing::Message()
                       << dtype_info(x_type).name << " to " << dtype_info(y_type).name);
          check(isa, x_type, y_type);
          if (HasFailure()) return;
        }
      }
    });
  }

  std::function<float()> sometimes_masked() {
    return [this] {
      return random_.below(5) == 0 ? -kInfinity : static_cast<float>(4 * random_.normal());
    };
  }
};

TEST_F(SoftmaxTypes, EveryLength) {
  on_every_pair([&](std::string_view isa, DType x_type, DType y_type) {
    for (std::int64_t n = 0; n <= 70; ++n) {
      for (const Touching touching : {Touching::start, Touching::end}) {
        SCOPED_TRACE(testing::Message() << "length " << n);
        Input x(x_type, 3, n, n + n % 3, touching, sometimes_masked());
        expect_bits_of_floats(x, y_type, n % 2 == 0 ? n : -n - 3, touching, on_isa(isa, 0.9F));
        if (HasFailure()) return;
      }
    }
  });
}

// Many short rows are staged together; rows over 8192 in chunks of 1024.
TEST_F(SoftmaxTypes, ManyAndLongRows) {
  on_every_pair([&](std::string_view isa, DType x_type, DType y_type) {
    const std::int64_t shapes[][2] = {{300, 7},  {70, 64},  {20, 129}, {5, 1025}, {3, 2047},
                                      {2, 2048}, {3, 8192}, {3, 8193}, {2, 66000}};
    for (const auto& [rows, n] : shapes) {
      SCOPED_TRACE(testing::Message() << rows << " rows of " << n);
      Input x(x_type, rows, n, n, Touching::end, sometimes_masked());
      expect_bits_of_floats(x, y_type, n + 1, Touching::end, on_isa(isa));
      if (HasFailure()) return;
    }
  });
}

TEST_F(SoftmaxTypes, MixturesOfTemperaturesAndMasks) {
  on_every_pair([&](std::string_view isa, DType x_type, DType y_type) {
    for (const std::int64_t n : {5, 100, 9000}) {
      Input x(x_type, 9, n, n, Touching::end, sometimes_masked());
      const std::vector<float> temperatures = {1, 0, kInfinity, 0.2F, 0.2F, 3, 0, 0, 1};
      MaskMatrix mask(9, n, n + 1);
      mask.fill(mask_bytes());
      SoftmaxOptions options = on_isa(isa, -0.9F);
      options.temperatures = temperatures;
      options.mask = mask.mask();
      options.workers = 2;
      expect_bits_of_floats(x, y_type, n, Touching::end, options);
      if (HasFailure()) return;
    }
  });
}

// Every code of 16 bits in rows of any length, NaN, infinities and denormals among them.
TEST_F(SoftmaxTypes, EveryCode) {
  on_every_isa([&](std::string_view isa) {
    for (const DType type : {DType::f16, DType::bf16}) {
      TypedMatrix x(type, 1024, 64), y(type, 1024, 64);
      for (std::uint32_t code = 0; code < 65536; ++code) {
        const auto bits = static_cast<std::uint16_t>(code);
        std::memcpy(static_cast<std::byte*>(x.write().data.data()) + 2 * code, &bits, 2);
      }
      Matrix floats(1024, 64), expected(1024, 64);
      x.widen_to(floats);
      ASSERT_TRUE(softmax(floats.read(), expected.write(), on_isa(isa, 1.0F, 9.0F)).ok());
      ASSERT_TRUE(softmax(x.read(), y.write(), on_isa(isa, 1.0F, 9.0F)).ok());
      expect_rounded(y, expected);
    }
  });
}

TEST_F(SoftmaxTypes, Gradients) {
  const SoftmaxGradientMap gradients[] = {softmax_gradient, log_softmax_gradient};
  on_every_pair([&](std::string_view isa, DType y_type, DType dy_type) {
    for (const DType dx_type : kSoftmaxTypes) {
      for (const SoftmaxGradientMap gradient : gradients) {
        for (const std::int64_t n : {0, 1, 6, 33, 64, 1024, 1025, 2500}) {
          SCOPED_TRACE(testing::Message() << "length " << n << " to " << dtype_info(dx_type).name);
          Input y(y_type, 3, n, -n - 1, Touching::start, normals(1));
          Input dy(dy_type, 3, n, n, Touching::end, normals());
          TypedMatrix dx(dx_type, 3, n, n + 3);
          Matrix expected(3, n);
          const SoftmaxOptions options = on_isa(isa, 1.0F, 0.7F);
          std::vector<float> dt(3, kNan), expected_dt(3, kNan);
          ASSERT_TRUE(gradient(y.floats.read(), dy.floats.read(), expected.write(),
                               expected_dt.data(), options)
                          .ok());
          ASSERT_TRUE(
              gradient(y.typed.read(), dy.typed.read(), dx.write(), dt.data(), options).ok());
          expect_rounded(dx, expected);
          expect_same_bits(dt, expected_dt);
          dx.expect_gaps_untouched();
          if (dx_type == dy_type) {
            TypedMatrix in_place(dy_type, 3, n);
            in_place.round_from(dy.floats);
            ASSERT_TRUE(
                gradient(y.typed.read(), in_place.read(), in_place.write(), nullptr, options).ok());
            expect_rounded(in_place, expected);
          }
          if (HasFailure()) return;
        }
      }
    }
  });
}

TEST_F(SoftmaxTypes, WhatIsRefused) {
  std::vector<float> memory(300, -5.0F);
  auto* const halves = reinterpret_cast<Float16*>(memory.data());
  auto* const bfloats = reinterpret_cast<BFloat16*>(memory.data());
  float* const y = memory.data() + 200;
  EXPECT_EQ(softmax({reinterpret_cast<std::int8_t*>(halves), 4, 8, 8}, {y, 4, 8, 8}).message(),
            "the type of x (int8) must be one of f32, f16, bf16");
  EXPECT_EQ(softmax({y, 4, 8, 8}, {reinterpret_cast<Float8E4M3*>(halves), 4, 8, 8}).message(),
            "the type of y (fp8_e4m3) must be one of f32, f16, bf16");
  EXPECT_EQ(softmax({{halves, static_cast<DType>(77)}, 4, 8, 8}, {y, 4, 8, 8}).message(),
            "the type of x (77) must be one of f32, f16, bf16");
  const std::string place = " unless it is in place, with the same data, length and stride";
  EXPECT_EQ(softmax({halves, 4, 8, 8}, {memory.data(), 4, 8, 8}).message(),
            "y must not overlap x" + place);
  EXPECT_EQ(softmax({halves, 4, 8, 8}, {bfloats, 4, 8, 8}).message(),
            "y must not overlap x" + place);
  EXPECT_EQ(softmax({halves, 4, 8, 8}, {halves + 31, 4, 8, 8}).message(),
            "y must not overlap x" + place);
  const auto* const odd = reinterpret_cast<const char*>(halves) + 1;
  EXPECT_EQ(softmax({reinterpret_cast<const Float16*>(odd), 4, 8, 8}, {y, 4, 8, 8}).message(),
            "x.data must begin at a multiple of 2 bytes, as its elements do");
  for (const float v : memory) ASSERT_EQ(v, -5.0F) << "a refused call wrote";
  EXPECT_TRUE(softmax({halves, 4, 8, 8}, {halves + 32, 4, 8, 8}).ok());  // its neighbour
}

}  // namespace
}  // namespace heed::tests
