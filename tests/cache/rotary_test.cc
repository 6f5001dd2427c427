// Rotary embedding: against long double, to the bit on ISAs with FMA, and what is refused.
#include "heed/rotary.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "tests/proof/inputs.h"
#include "tests/proof/numbers.h"
#include "tests/proof/rotary_reference.h"
#include "tests/support/attention_run.h"
#include "tests/support/float_control.h"
#include "tests/support/softmax_matrix.h"
#include "tests/support/this_build.h"

namespace heed::tests {
namespace {

using proof::Random;
using Touching = Matrix::Touching;

using proof::kInfinity;
using proof::kNan;
constexpr std::int64_t kPositions = 5000;
constexpr RotaryPairs kPairs[] = {RotaryPairs::adjacent, RotaryPairs::halves};

bool has_fma(std::string_view isa) { return proof::arithmetic_of(isa) == proof::Arithmetic::fused; }

class RotaryTest : public testing::Test {
 protected:
  RotaryTest()
      : seed_(std::random_device()()),
        random_(seed_),
        trace_(__FILE__, __LINE__, testing::Message() << "seed " << seed_) {}

  Rotary make(RotaryConfig config) {
    config.positions = kPositions;
    Rotary rotary;
    const Status status = Rotary::create(config, rotary);
    EXPECT_TRUE(status.ok()) << status.message();
    return rotary;
  }

  std::vector<std::int64_t> positions(std::int64_t tokens) {
    std::vector<std::int64_t> list(static_cast<std::size_t>(tokens));
    for (std::int64_t& p : list) p = random_.below(kPositions);
    if (tokens > 1) list[0] = 0, list[1] = kPositions - 1;
    return list;
  }

  std::function<float()> normals() {
    return [this] { return static_cast<float>(random_.normal()); };
  }

  /// Rows are heads, in the order of their tokens.
  static RotaryTensors tensors(Matrix& x, Matrix& y, std::int64_t heads,
                               std::span<const std::int64_t> positions) {
    const auto layout = [&](Matrix& m) {
      return Layout{0, heads * m.read().stride, m.read().stride};
    };
    return {x.write().data, y.write().data, heads, x.length(), layout(x), layout(y), positions};
  }

  std::uint64_t seed_;
  Random random_;
  testing::ScopedTrace trace_;
};

/// Dimensions that turn, of d: the least, the most, and one between.
std::vector<std::int64_t> rotary_dims(std::int64_t d) {
  std::vector<std::int64_t> dims = {2, d / 4 * 2, d / 2 * 2};
  dims.erase(std::unique(dims.begin(), dims.end()), dims.end());
  std::erase(dims, 0);
  return dims;
}

TEST_F(RotaryTest, EveryDimension) {
  constexpr std::int64_t tokens = 3, heads = 2;
  std::vector<std::int64_t> dims = {64, 80, 96, 127, 128, 130, 256, 511, 512};
  for (std::int64_t d = 2; d < 50; ++d) dims.push_back(d);
  for (const std::int64_t d : dims) {
    for (const std::int64_t rotary_dim : rotary_dims(d)) {
      for (const RotaryPairs pairs : kPairs) {
        const Rotary rotary = make({.rotary_dim = rotary_dim, .pairs = pairs});
        for (const Touching touching : {Touching::end, Touching::start}) {
          Matrix x(tokens * heads, d, d + 1, touching), y(tokens * heads, d, d + 3, touching);
          x.fill(normals());
          const std::vector<std::int64_t> at = positions(tokens);
          for (const std::string_view isa : f32_isas()) {
            SCOPED_TRACE(testing::Message()
                         << "head_dim " << d << ", rotary_dim " << rotary_dim << ", pairs "
                         << static_cast<int>(pairs) << " on " << isa);
            ASSERT_TRUE(rotate(rotary, tensors(x, y, heads, at), {.isa = isa}).ok());
            for (std::int64_t r = 0; r < y.rows(); ++r) {
              const std::int64_t position = at[static_cast<std::size_t>(r / heads)];
              expect_row_within(y.row(r), rotary_reference(x.row(r), position, rotary.config()));
              if (!has_fma(isa)) continue;
              expect_same_bits(y.row(r), rotary_oracle(x.row(r), position, rotary.config()));
            }
            y.expect_gaps_untouched();
            if (HasFailure()) return;
          }
        }
      }
    }
  }
}

TEST_F(RotaryTest, BasesAndScales) {
  for (const RotaryConfig& config : {RotaryConfig{.base = 500000.0},
                                     {.base = 1e6, .position_scale = 0.25},
                                     {.base = 1.0, .position_scale = 3.0},
                                     {.base = 0.5, .position_scale = -1.5},
                                     {.base = 1e9, .position_scale = 100.0},
                                     {.position_scale = 0.0}}) {
    for (const RotaryPairs pairs : kPairs) {
      RotaryConfig full = config;
      full.rotary_dim = 40;
      full.pairs = pairs;
      const Rotary rotary = make(full);
      Matrix x(50, 40), y(50, 40);
      x.fill(normals());
      const std::vector<std::int64_t> at = positions(50);
      for (const std::string_view isa : f32_isas()) {
        SCOPED_TRACE(testing::Message() << "base " << config.base << " on " << isa);
        ASSERT_TRUE(rotate(rotary, tensors(x, y, 1, at), {.isa = isa}).ok());
        for (std::int64_t r = 0; r < 50; ++r) {
          expect_row_within(y.row(r), rotary_reference(x.row(r), at[static_cast<std::size_t>(r)],
                                                       rotary.config()));
        }
      }
    }
  }
}

TEST_F(RotaryTest, InPlaceLeavesTheSameBits) {
  for (const RotaryPairs pairs : kPairs) {
    for (const std::int64_t d : {2, 7, 19, 64, 100}) {
      const Rotary rotary = make({.rotary_dim = d / 2 * 2, .pairs = pairs});
      const std::vector<std::int64_t> at = positions(4);
      for (const std::string_view isa : f32_isas()) {
        Matrix x(12, d), y(12, d);
        x.fill(normals());
        ASSERT_TRUE(rotate(rotary, tensors(x, y, 3, at), {.isa = isa}).ok());
        ASSERT_TRUE(rotate(rotary, tensors(x, x, 3, at), {.isa = isa}).ok());
        for (std::int64_t r = 0; r < 12; ++r) expect_same_bits(x.row(r), y.row(r));
      }
    }
  }
}

TEST_F(RotaryTest, BatchesAndWorkersLeaveTheSameBits) {
  constexpr std::int64_t tokens = 900, heads = 4, d = 70;
  const Rotary rotary = make({.rotary_dim = 50});
  Matrix x(tokens * heads, d), all(tokens * heads, d), one(heads, d), alone(heads, d);
  x.fill(normals());
  const std::vector<std::int64_t> at = positions(tokens);
  for (const std::string_view isa : f32_isas()) {
    ASSERT_TRUE(rotate(rotary, tensors(x, all, heads, at), {.isa = isa, .workers = 3}).ok());
    for (std::int64_t t = 0; t < tokens; ++t) {
      for (std::int64_t h = 0; h < heads; ++h) {
        std::ranges::copy(x.row(t * heads + h), one.row(h).begin());
      }
      const std::span position = std::span(at).subspan(static_cast<std::size_t>(t), 1);
      ASSERT_TRUE(rotate(rotary, tensors(one, alone, heads, position), {.isa = isa}).ok());
      for (std::int64_t h = 0; h < heads; ++h) {
        expect_same_bits(alone.row(h), all.row(t * heads + h));
      }
    }
  }
}

// NaN and infinity reach their pair, as the formula says, and nothing else.
TEST_F(RotaryTest, NonfiniteElements) {
  constexpr std::int64_t d = 37;
  for (const RotaryPairs pairs : kPairs) {
    const Rotary rotary = make({.rotary_dim = 34, .pairs = pairs});
    for (const float bad : {kNan, kInfinity, -kInfinity}) {
      Matrix x(d, d), y(d, d);
      x.fill(normals());
      for (std::int64_t r = 0; r < d; ++r) x.row(r)[static_cast<std::size_t>(r)] = bad;
      const std::vector<std::int64_t> at = positions(d);
      for (const std::string_view isa : f32_isas()) {
        ASSERT_TRUE(rotate(rotary, tensors(x, y, 1, at), {.isa = isa}).ok());
        for (std::int64_t r = 0; r < d; ++r) {
          const std::vector<float> expected =
              rotary_oracle(x.row(r), at[static_cast<std::size_t>(r)], rotary.config());
          for (std::size_t i = 0; i < expected.size(); ++i) {
            ASSERT_EQ(std::isfinite(y.row(r)[i]), std::isfinite(expected[i])) << r << ", " << i;
            if (std::isfinite(expected[i])) continue;
            ASSERT_TRUE(same_bits(y.row(r)[i], expected[i])) << r << ", " << i;
          }
        }
      }
    }
  }
}

// Hosts flush subnormal numbers to zero, or round otherwise: results do not.
TEST_F(RotaryTest, TheHostsFloatEnvironmentDoesNotMatter) {
  Matrix x(40, 20), plain(40, 20), y(40, 20);
  x.fill([this] { return static_cast<float>(random_.normal() * 0x1p-130); });
  const Rotary rotary = make({.rotary_dim = 20});
  const std::vector<std::int64_t> at = positions(40);
  ASSERT_TRUE(rotate(rotary, tensors(x, plain, 1, at)).ok());
  const FloatControl host = float_control();
  set_float_control(host | kFlush | kRoundDown);
  const Rotary made_there = make({.rotary_dim = 20});
  const Status status = rotate(made_there, tensors(x, y, 1, at));
  const FloatControl after = float_control();
  set_float_control(host);
  EXPECT_TRUE(status.ok());
  EXPECT_EQ(settings(after), settings(host | kFlush | kRoundDown));
  for (std::int64_t r = 0; r < 40; ++r) expect_same_bits(y.row(r), plain.row(r));
}

TEST_F(RotaryTest, NoTokens) {
  const Rotary rotary = make({.rotary_dim = 4});
  EXPECT_TRUE(rotate(rotary, {.heads = 2, .head_dim = 8}).ok());
}

class RotaryErrors : public testing::Test {
 protected:
  static void expect_refused(const RotaryConfig& config, const std::string& message) {
    Rotary rotary;
    const Status status = Rotary::create(config, rotary);
    EXPECT_EQ(status.code(), StatusCode::invalid_argument);
    EXPECT_EQ(status.message(), message);
    EXPECT_EQ(rotary.config().rotary_dim, 0);
  }
  void expect_refused(const RotaryTensors& tensors, const std::string& message,
                      const RunOptions& options = {}) {
    Rotary rotary;
    ASSERT_TRUE(Rotary::create({.rotary_dim = 4, .positions = 10}, rotary).ok());
    const Status status = rotate(rotary, tensors, options);
    EXPECT_EQ(status.code(), StatusCode::invalid_argument);
    EXPECT_EQ(status.message(), message);
    for (const float v : y_) ASSERT_EQ(v, -5.0F) << "a refused call wrote";
  }
  RotaryTensors tensors() {
    return {.x = x_.data(), .y = y_.data(), .heads = 2, .head_dim = 5, .positions = positions_};
  }

  std::array<float, 30> x_ = {}, y_ = [] {
    std::array<float, 30> y;
    y.fill(-5.0F);
    return y;
  }();
  std::array<std::int64_t, 3> positions_ = {0, 1, 9};
};

TEST_F(RotaryErrors, Configurations) {
  expect_refused({.rotary_dim = 0, .positions = 1}, "rotary_dim (0) must be from 2 to 1024");
  expect_refused({.rotary_dim = 1026, .positions = 1}, "rotary_dim (1026) must be from 2 to 1024");
  expect_refused({.rotary_dim = 7, .positions = 1}, "rotary_dim (7) must be even");
  expect_refused({.rotary_dim = 4, .pairs = static_cast<RotaryPairs>(7), .positions = 1},
                 "pairs (7) must be adjacent or halves");
  for (const auto& [base, text] : {std::pair{0.0, "0"}, {-1.0, "-1"}, {HUGE_VAL, "inf"}}) {
    expect_refused({.rotary_dim = 4, .base = base, .positions = 1},
                   std::string("base (") + text + ") must be above 0 and finite");
  }
  expect_refused({.rotary_dim = 4, .position_scale = HUGE_VAL, .positions = 1},
                 "position_scale (inf) must be finite");
  expect_refused({.rotary_dim = 4, .positions = 0}, "positions (0) must be from 1 to 2147483647");
  expect_refused({.rotary_dim = 4, .position_scale = 1e308, .positions = 100},
                 "position_scale (1e+308) and the frequency of pair 0 (1) give angles beyond the "
                 "range of double");
  expect_refused({.rotary_dim = 512, .base = 1e-300, .position_scale = 1e20, .positions = 2},
                 "position_scale (1e+20) and the frequency of pair 246 (1.91095e+288) give angles "
                 "beyond the range of double");
}

TEST_F(RotaryErrors, Tensors) {
  RotaryTensors t = tensors();
  t.heads = 0;
  expect_refused(t, "heads (0) must be from 1 to 2147483647");
  t = tensors();
  t.head_dim = 1025;
  expect_refused(t, "head_dim (1025) must be from 1 to 1024");
  t.head_dim = 3;
  expect_refused(t, "head_dim (3) must be at least rotary_dim (4)");
  t = tensors();
  t.x = nullptr;
  expect_refused(t, "x must not be null");
  t = tensors();
  t.y = nullptr;
  expect_refused(t, "y must not be null");
  t = tensors();
  t.y_layout = Layout{0, 9, 5};
  expect_refused(t,
                 "the layout of y (sequence_stride 0, token_stride 9, head_stride 5) lets elements "
                 "overlap: a stride of 9 must be at least 10");
  t = tensors();
  t.x_layout = Layout{0, std::numeric_limits<std::int64_t>::max() / 2, 5};
  expect_refused(t,
                 "the layout of x (sequence_stride 0, token_stride 4611686018427387903, "
                 "head_stride 5) reaches beyond the address space");
}

// y may be x, exactly, and lie between x's vectors; nothing else of it may be read.
TEST_F(RotaryErrors, Overlap) {
  RotaryTensors t = tensors();
  t.x = y_.data() + 5;
  t.positions = std::span(positions_).first(2);
  expect_refused(t, "y must not overlap x");
  t.x = y_.data();
  t.x_layout = Layout{0, 5, 5};
  expect_refused(t, "y must not overlap x");
  t = tensors();
  t.positions = {reinterpret_cast<const std::int64_t*>(y_.data() + (y_.size() - 30)), 3};
  expect_refused(t, "y must not overlap positions");
  t = tensors();
  t.y = static_cast<float*>(static_cast<void*>(reinterpret_cast<char*>(y_.data()) + 2));
  expect_refused(t, "y must begin at a multiple of 4 bytes, as its elements do");
  t = tensors();
  t.heads = 1;
  t.x = y_.data();
  t.y = y_.data() + 5;
  t.x_layout = t.y_layout = Layout{0, 10, 5};
  Rotary rotary;
  ASSERT_TRUE(Rotary::create({.rotary_dim = 4, .positions = 10}, rotary).ok());
  EXPECT_TRUE(rotate(rotary, t).ok());
}

// A host that traps floating-point exceptions gets sentences, not signals.
TEST_F(RotaryErrors, HostsThatTrap) {
  const FloatControl before = float_control();
  set_float_control(trapping(before));
  Rotary rotary;
  const bool overflow =
      Rotary::create({.rotary_dim = 512, .base = 1e-300, .position_scale = 1e20, .positions = 2},
                     rotary)
          .ok();
  const bool odd = Rotary::create({.rotary_dim = 0, .positions = 2}, rotary).ok();
  const bool good = Rotary::create({.rotary_dim = 64, .base = 1e-300, .positions = 2}, rotary).ok();
  set_float_control(before);
  EXPECT_FALSE(overflow);
  EXPECT_FALSE(odd);
  EXPECT_TRUE(good);
}

TEST_F(RotaryErrors, PositionsAndOptions) {
  for (const std::int64_t wrong : {-1, 10, 1000}) {
    positions_[2] = wrong;
    expect_refused(tensors(), "positions[2] (" + std::to_string(wrong) +
                                  ") must be from 0 to 9, the last position of rotary");
  }
  positions_[2] = 9;
  expect_refused(tensors(), "workers (-1) must be from 0 to 4096", {.workers = -1});
  expect_refused(tensors(), "isa (\"sse9\") must be one of " + std::string(kTestIsaNames),
                 {.isa = "sse9"});
  const Status status = rotate(Rotary(), tensors());
  EXPECT_EQ(status.message(), "rotary must be made by Rotary::create first");
}

}  // namespace
}  // namespace heed::tests
