// The norm of heads: against long double, to the bit, and what is refused.
#include "heed/head_norm.h"

#include <array>
#include <cmath>
#include <limits>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tests/proof/elements.h"
#include "tests/proof/head_norm_reference.h"
#include "tests/proof/inputs.h"
#include "tests/proof/typed_tensors.h"
#include "tests/support/attention_run.h"
#include "tests/support/float_control.h"
#include "tests/support/softmax_matrix.h"

namespace heed::tests {
namespace {

using proof::Random;
using proof::TypedBuffer;
using Touching = Matrix::Touching;

constexpr std::array<DType, 3> kComputing = {DType::f32, DType::f16, DType::bf16};

/// Rows are heads, in the order of their tokens.
HeadTensors tensors(Matrix& x, Matrix& y, std::int64_t heads) {
  const auto layout = [&](Matrix& m) {
    return Layout{0, heads * m.read().stride, m.read().stride};
  };
  return {.x = x.row(0).data(),
          .y = y.row(0).data(),
          .tokens = x.rows() / heads,
          .heads = heads,
          .head_dim = x.length(),
          .x_layout = layout(x),
          .y_layout = layout(y)};
}

std::vector<Bounded> exactly(std::span<const float> x) {
  std::vector<Bounded> all;
  for (const float value : x) all.push_back({value, 0});
  return all;
}

TEST(HeadNorm, EveryDimension) {
  Random random(std::random_device{}());
  std::vector<std::int64_t> dims = {64, 96, 127, 128, 256, 511, 1024};
  for (std::int64_t d = 1; d < 40; ++d) dims.push_back(d);
  for (const std::int64_t d : dims) {
    std::vector<float> weight(static_cast<std::size_t>(d));
    for (float& w : weight) w = static_cast<float>(random.normal());
    for (const RmsNorm& norm :
         {RmsNorm{.weight = weight.data()}, RmsNorm{.weight = weight.data(), .weight_offset = 1.0F},
          RmsNorm{.epsilon = 0.5}}) {
      for (const Touching touching : {Touching::end, Touching::start}) {
        Matrix x(6, d, d + 1, touching), y(6, d, d + 3, touching);
        double size = 1e-30;  // from where epsilon is all to where it is nothing
        for (std::int64_t r = 0; r < 6; ++r, size *= 1e11) {
          for (float& e : x.row(r)) e = static_cast<float>(random.normal() * size);
        }
        ASSERT_TRUE(normalise_heads(norm, tensors(x, y, 3)).ok());
        for (std::int64_t r = 0; r < 6; ++r) {
          SCOPED_TRACE(testing::Message() << "head_dim " << d << ", row " << r);
          expect_same_bits(y.row(r), head_norm_oracle(norm, x.row(r)));
          expect_row_within(y.row(r), head_norm_reference(norm, exactly(x.row(r))));
        }
        y.expect_gaps_untouched();
        if (testing::Test::HasFailure()) return;
      }
    }
  }
}

/// Six heads of all sizes, some of them beyond f16 or below it, and one that is infinite.
std::vector<float> heads_of_all_sizes(std::int64_t dims, Random& random) {
  std::vector<float> x;
  double size = 1e-9;
  for (int head = 0; head < 6; ++head, size *= 1e3) {
    for (std::int64_t i = 0; i < dims; ++i) x.push_back(static_cast<float>(random.normal() * size));
  }
  x[static_cast<std::size_t>(dims)] = std::numeric_limits<float>::infinity();
  return x;
}

/// Whether the head at each `stride` elements of y is what the oracle makes of that of x, rounded
/// to y's type; and nothing was written between them.
void expect_normalised(const RmsNorm& norm, std::span<const float> x, const TypedBuffer& y,
                       std::int64_t stride) {
  const DType type = y.data().type();
  const std::int64_t dims = std::ssize(x) / 6;
  std::vector<float> actual, expected;
  for (std::int64_t head = 0; head < 6; ++head) {
    TypedBuffer wanted(type, stride);  // NaN behind the head, as y
    proof::narrow(head_norm_oracle(norm, x.subspan(static_cast<std::size_t>(head * dims),
                                                   static_cast<std::size_t>(dims))),
                  wanted.data());
    expect_same_bits(proof::floats_of(y.data() + head * stride, stride, actual),
                     proof::floats_of(wanted.data(), stride, expected));
  }
}

// Elements are widened, normalised as floats, and rounded once from there.
TEST(HeadNorm, EveryPairOfElementTypes) {
  Random random(7);
  for (const std::string_view isa : supported_isas()) {
    for (const DType x_type : kComputing) {
      for (const std::int64_t d : {1, 7, 16, 100, 1024}) {
        std::vector<float> weight(static_cast<std::size_t>(d)), buffer;
        for (float& w : weight) w = static_cast<float>(random.normal() * 1e4);
        const RmsNorm norm{.weight = weight.data()};
        TypedBuffer x(x_type, 6 * d);
        proof::narrow(heads_of_all_sizes(d, random), x.data());
        const std::span<const float> read = proof::floats_of(x.data(), 6 * d, buffer);
        const std::vector<float> floats(read.begin(), read.end());
        for (const DType y_type : kComputing) {
          SCOPED_TRACE(testing::Message() << isa << ", " << dtype_info(x_type).name << " to "
                                          << dtype_info(y_type).name << ", head_dim " << d);
          TypedBuffer y(y_type, 6 * (d + 3));
          const HeadTensors apart = {.x = x.data(),
                                     .y = y.data(),
                                     .tokens = 3,
                                     .heads = 2,
                                     .head_dim = d,
                                     .y_layout = Layout{0, 2 * (d + 3), d + 3}};
          ASSERT_TRUE(normalise_heads(norm, apart, {.isa = isa}).ok());
          expect_normalised(norm, floats, y, d + 3);
        }
        const HeadTensors in_place = {
            .x = x.data(), .y = x.data(), .tokens = 3, .heads = 2, .head_dim = d};
        ASSERT_TRUE(normalise_heads(norm, in_place, {.isa = isa}).ok());
        expect_normalised(norm, floats, x, d);
      }
    }
  }
}

TEST(HeadNorm, WorkersAndPlacesLeaveTheSameBits) {
  constexpr std::int64_t tokens = 1500, heads = 3, d = 70;
  Random random(5);
  Matrix x(tokens * heads, d), one(tokens * heads, d), many(tokens * heads, d);
  x.fill([&] { return static_cast<float>(random.normal()); });
  ASSERT_TRUE(normalise_heads({}, tensors(x, one, heads), {.workers = 1}).ok());
  ASSERT_TRUE(normalise_heads({}, tensors(x, many, heads), {.workers = 4}).ok());
  ASSERT_TRUE(normalise_heads({}, tensors(x, x, heads), {.workers = 3}).ok());
  for (std::int64_t r = 0; r < tokens * heads; ++r) {
    expect_same_bits(many.row(r), one.row(r));
    expect_same_bits(x.row(r), one.row(r));
  }
}

// The largest element is 16, others are 16 · 2⁻²⁷: their squares vanish beside 16² where they are
// added to its sum one by one, and are seen where they come together first. By 1 / √(256 / 1024) =
// 2 and a weight of 1 + 3 · 2⁻²⁴, between two floats of which the upper one is even, the largest
// element shows which of both has happened.
TEST(HeadNorm, SquaresAreAddedInTheirOrder) {
  constexpr std::int64_t d = 1024;
  const std::vector<float> weight(d, 1 + 0x1p-23F);
  const RmsNorm norm = {.weight = weight.data(), .weight_offset = 0x1p-24F, .epsilon = 1e-40};
  const auto first = [&](std::int64_t second) {
    std::vector<float> x(d), y(d);
    x[0] = 16;
    for (std::int64_t i = second; i < d; i += 8) x[static_cast<std::size_t>(i)] = 0x1p-23F;
    EXPECT_TRUE(
        normalise_heads(norm, {.x = x.data(), .y = y.data(), .tokens = 1, .head_dim = d}).ok());
    return y[0];
  };
  EXPECT_EQ(first(8), 32 * (1 + 0x1p-22F)) << "in the largest one's own sum";
  EXPECT_EQ(first(4), 32 * (1 + 0x1p-23F)) << "in another sum";
}

// Hosts flush subnormal numbers to zero, or round otherwise: results do not.
TEST(HeadNorm, TheHostsFloatEnvironmentDoesNotMatter) {
  Random random(6);
  Matrix x(40, 20), plain(40, 20), y(40, 20);
  x.fill([&] { return static_cast<float>(random.normal() * 0x1p-130); });
  const RmsNorm norm = {.epsilon = 1e-70};
  ASSERT_TRUE(normalise_heads(norm, tensors(x, plain, 1)).ok());
  const FloatControl host = float_control();
  set_float_control(host | kFlush | kRoundDown);
  const Status status = normalise_heads(norm, tensors(x, y, 1));
  set_float_control(host);
  EXPECT_TRUE(status.ok());
  for (std::int64_t r = 0; r < 40; ++r) expect_same_bits(y.row(r), plain.row(r));
}

TEST(HeadNorm, NonfiniteElements) {
  Matrix x(3, 4), y(3, 4);
  x.fill([] { return 1.0F; });
  x.row(1)[2] = std::numeric_limits<float>::infinity();
  x.row(2)[0] = std::numeric_limits<float>::quiet_NaN();
  ASSERT_TRUE(normalise_heads({}, tensors(x, y, 1)).ok());
  for (const float e : y.row(0)) EXPECT_NEAR(e, 1, 1e-6);
  for (const int i : {0, 1, 3}) EXPECT_EQ(y.row(1)[static_cast<std::size_t>(i)], 0);
  EXPECT_TRUE(std::isnan(y.row(1)[2]));
  expect_all_nan(y.row(2));
}

TEST(HeadNorm, Refuses) {
  std::array<float, 24> x = {}, y = {};
  const HeadTensors good = {.x = x.data(), .y = y.data(), .tokens = 3, .heads = 2, .head_dim = 4};
  const auto refused = [&](const RmsNorm& norm, const HeadTensors& t, const std::string& message,
                           const RunOptions& options = {}) {
    y.fill(-5);
    const Status status = normalise_heads(norm, t, options);
    EXPECT_EQ(status.code(), StatusCode::invalid_argument);
    EXPECT_EQ(status.message(), message);
    for (const float e : y) ASSERT_EQ(e, -5) << message;
  };
  const auto with = [&](const auto& change) {
    HeadTensors t = good;
    change(t);
    return t;
  };
  refused({.epsilon = 0.0}, good, "epsilon (0) must be above 0 and finite");
  refused({.epsilon = NAN}, good, "epsilon (nan) must be above 0 and finite");
  refused({.weight_offset = HUGE_VALF}, good, "weight_offset (inf) must be finite");
  refused({}, with([](auto& t) { t.tokens = -1; }), "tokens (-1) must be from 0 to 2147483647");
  refused({}, with([](auto& t) { t.heads = 0; }), "heads (0) must be from 1 to 2147483647");
  refused({}, with([](auto& t) { t.head_dim = 1025; }), "head_dim (1025) must be from 1 to 1024");
  refused({}, with([](auto& t) { t.x = nullptr; }), "x must not be null");
  refused({}, with([](auto& t) { t.y = nullptr; }), "y must not be null");
  refused({}, with([&](auto& t) { t.x = y.data() + 1, t.tokens = 2; }), "y must not overlap x");
  refused({}, with([&](auto& t) { t.x = {y.data(), DType::f16}; }), "y must not overlap x");
  refused({}, with([&](auto& t) {
            t.x = {y.data(), DType::f16};
            t.y = {y.data(), DType::bf16};
          }),
          "y must not overlap x");
  refused({}, with([&](auto& t) {
            t.x = {x.data(), DType::int8};
          }),
          "the type of x (int8) must be one of f32, f16, bf16");
  refused({}, with([&](auto& t) {
            t.y = {y.data(), DType::q8_0};
          }),
          "the type of y (q8_0) must be one of f32, f16, bf16");
  refused({}, with([&](auto& t) {
            t.y = {reinterpret_cast<std::byte*>(y.data()) + 1, DType::bf16};
          }),
          "y must begin at a multiple of 2 bytes, as its elements do");
  refused({.weight = y.data() + 20}, good, "y must not overlap weight");
  refused({.weight = y.data() + 20}, with([&](auto& t) { t.x = y.data(); }),
          "y must not overlap weight");
  refused({}, with([](auto& t) {
            t.y_layout = Layout{0, 7, 4};
          }),
          "the layout of y (sequence_stride 0, token_stride 7, head_stride 4) lets elements "
          "overlap: a stride of 7 must be at least 8");
  refused({}, good, "workers (-1) must be from 0 to 4096", {.workers = -1});
  EXPECT_FALSE(normalise_heads({}, good, {.isa = "sse9"}).ok());
  EXPECT_TRUE(normalise_heads({}, {.head_dim = 4}).ok()) << "no tokens";
}

}  // namespace
}  // namespace heed::tests
