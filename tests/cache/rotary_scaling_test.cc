// Scaled frequencies: against the published formulas in long double, against numbers of models that
// others computed, and what is refused.
#include <array>
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include "heed/rotary.h"
#include "tests/proof/inputs.h"
#include "tests/proof/numbers.h"
#include "tests/proof/rotary_reference.h"
#include "tests/support/attention_run.h"
#include "tests/support/softmax_matrix.h"

namespace heed::tests {
namespace {

using Kind = RotaryScalingKind;

using proof::kInfinity;
using proof::kNan;

/// 1 + step · i for each of so many pairs.
std::vector<double> ramp(std::int64_t pairs, double step) {
  std::vector<double> list(static_cast<std::size_t>(pairs), 1);
  for (std::size_t i = 0; i < list.size(); ++i) list[i] += step * static_cast<double>(i);
  return list;
}

const std::vector<double> kShort = ramp(24, 0.125), kLong = ramp(24, 1.5), kOwn = ramp(24, -0.04);

RotaryScaling long_rope(double factor) {
  return {.kind = Kind::long_rope,
          .factor = factor,
          .original_positions = 4096,
          .short_factors = kShort,
          .long_factors = kLong};
}

/// All kinds as models have them, of 48 dimensions, 6,000 positions where nothing else is said.
std::vector<RotaryConfig> scaled_configs() {
  std::vector<RotaryConfig> configs = {
      {.base = 1e4, .scaling = {.kind = Kind::linear, .factor = 4.0}},
      {.base = 1e4,
       .scaling = {.kind = Kind::dynamic_ntk, .factor = 2.0, .original_positions = 2048}},
      {.base = 1e4,
       .scaling = {.kind = Kind::dynamic_ntk, .factor = 2.0, .original_positions = 8192}},
      {.base = 5e5, .scaling = {.kind = Kind::llama3, .factor = 8.0, .original_positions = 8192}},
      {.base = 5e5,
       .scaling = {.kind = Kind::llama3,
                   .factor = 32.0,
                   .original_positions = 1024,
                   .low_freq_factor = 0.5,
                   .high_freq_factor = 16.0}},
      {.base = 1e6, .scaling = {.kind = Kind::yarn, .factor = 4.0, .original_positions = 32768}},
      {.base = 1.5e5,
       .scaling =
           {.kind = Kind::yarn, .factor = 32.0, .original_positions = 4096, .truncate = false}},
      {.base = 1e4,
       .scaling = {.kind = Kind::yarn,
                   .factor = 40.0,
                   .original_positions = 4096,
                   .mscale = 1.0,
                   .mscale_all_dim = 0.707}},
      {.base = 1e4,
       .scaling = {.kind = Kind::yarn,
                   .factor = 3.0,
                   .original_positions = 300,
                   .beta_fast = 2.0,
                   .beta_slow = 2.0,
                   .attention_factor = 0.75}},
      // Ramps that begin before the first pair, end after the last dimension, and are steps.
      {.base = 1e4, .scaling = {.kind = Kind::yarn, .factor = 4.0, .original_positions = 32}},
      {.base = 8.0, .scaling = {.kind = Kind::yarn, .factor = 4.0, .original_positions = 1024}},
      {.base = 1e4,
       .scaling = {.kind = Kind::yarn,
                   .factor = 4.0,
                   .original_positions = 300,
                   .beta_fast = 2.0,
                   .beta_slow = 2.0,
                   .truncate = false}},
      {.base = 1e4, .scaling = long_rope(32.0)},
      {.base = 1e4, .positions = 4096, .scaling = long_rope(32.0)},
      {.scaling = {.attention_factor = 1.5}},
      {.frequencies = kOwn},
      {.factors = kShort},
      {.scaling = {.kind = Kind::llama3, .factor = 8.0, .original_positions = 128},
       .frequencies = kOwn,
       .factors = kLong},
      {.scaling = {.kind = Kind::yarn, .factor = 4.0, .original_positions = 512},
       .factors = kShort},
  };
  for (RotaryConfig& config : configs) {
    config.rotary_dim = 48;
    if (config.positions == 0) config.positions = 6000;
  }
  return configs;
}

TEST(RotaryScaling, FrequenciesAreThePublishedOnes) {
  const std::vector<RotaryConfig> configs = scaled_configs();
  for (std::size_t c = 0; c < configs.size(); ++c) {
    Rotary rotary;
    ASSERT_TRUE(Rotary::create(configs[c], rotary).ok()) << c;
    const std::vector<RotaryFrequency> expected = rotary_frequency_reference(configs[c]);
    ASSERT_EQ(rotary.frequencies().size(), expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i) {
      const auto& [exact, roundings] = expected[i];
      EXPECT_LE(std::abs(rotary.frequencies()[i] - exact),
                std::abs(exact) * static_cast<long double>(roundings * 0x1p-53))
          << "configuration " << c << ", pair " << i;
    }
    const long double factor = rotary_attention_reference(configs[c]);
    EXPECT_NEAR(rotary.attention_factor(), static_cast<double>(factor), 0x1p-50) << c;
  }
}

TEST(RotaryScaling, VectorsTurnByThem) {
  proof::Random random(7);
  for (RotaryConfig config : scaled_configs()) {
    for (const RotaryPairs pairs : {RotaryPairs::adjacent, RotaryPairs::halves}) {
      config.pairs = pairs;
      Rotary rotary;
      ASSERT_TRUE(Rotary::create(config, rotary).ok());
      Matrix x(40, 51), y(40, 51);
      x.fill([&] { return static_cast<float>(random.normal()); });
      std::vector<std::int64_t> at(40);
      for (std::int64_t& p : at) p = random.below(config.positions);
      at.back() = config.positions - 1;
      for (const std::string_view isa : f32_isas()) {
        SCOPED_TRACE(testing::Message()
                     << "kind " << static_cast<int>(config.scaling.kind) << " on " << isa);
        ASSERT_TRUE(rotate(rotary,
                           {.x = x.write().data,
                            .y = y.write().data,
                            .head_dim = 51,
                            .x_layout = Layout{0, x.read().stride, 51},
                            .y_layout = Layout{0, y.read().stride, 51},
                            .positions = at},
                           {.isa = isa})
                        .ok());
        for (std::int64_t r = 0; r < 40; ++r) {
          expect_row_within(y.row(r),
                            rotary_reference(x.row(r), at[static_cast<std::size_t>(r)], config));
        }
        if (testing::Test::HasFailure()) return;
      }
    }
  }
}

// Of positions beyond a million, whose angles lose no accuracy that a float could show.
TEST(RotaryScaling, PositionsBeyondAMillion) {
  const RotaryConfig config = {
      .rotary_dim = 6,
      .positions = (1 << 20) + 5,
      .scaling = {.kind = Kind::yarn, .factor = 4.0, .original_positions = 262144}};
  Rotary rotary;
  ASSERT_TRUE(Rotary::create(config, rotary).ok());
  Matrix x(1, 6), y(1, 6);
  x.fill([] { return 0.75F; });
  for (const std::int64_t position : {(1 << 20) - 1, 1 << 20, (1 << 20) + 4}) {
    ASSERT_TRUE(
        rotate(
            rotary,
            {.x = x.write().data, .y = y.write().data, .head_dim = 6, .positions = {&position, 1}})
            .ok());
    const std::vector<Bounded> expected = rotary_reference(x.row(0), position, config);
    expect_row_within(y.row(0), expected);
    for (const Bounded& element : expected) EXPECT_LT(element.bound, 1e-6);
  }
}

// What follows from the definitions by hand.
TEST(RotaryScaling, NumbersWithoutRounding) {
  Rotary rotary;
  // Frequencies 1, 2⁻⁴, 2⁻⁸, 2⁻¹²; with L = 1024 · 2π/2π ≈ 163, 10.2, 0.64 and 0.04 turns.
  RotaryConfig config = {.rotary_dim = 8, .base = 65536.0, .positions = 100};
  config.scaling = {.kind = Kind::llama3, .factor = 8.0, .original_positions = 1024};
  ASSERT_TRUE(Rotary::create(config, rotary).ok());
  EXPECT_EQ(rotary.frequencies()[0], 1.0);
  EXPECT_EQ(rotary.frequencies()[1], 0x1p-4);
  EXPECT_EQ(rotary.frequencies()[2], 0x1p-11);
  EXPECT_EQ(rotary.frequencies()[3], 0x1p-15);
  EXPECT_EQ(rotary.attention_factor(), 1.0);

  // low = ⌊8 · ln(1024 / 64π) / (2 · ln 65536)⌋ = ⌊0.58⌋, high = ⌈8 · ln(1024 / 2π) / …⌉ = ⌈1.84⌉.
  config.scaling.kind = Kind::yarn;
  ASSERT_TRUE(Rotary::create(config, rotary).ok());
  EXPECT_EQ(rotary.frequencies()[0], 1.0);
  EXPECT_EQ(rotary.frequencies()[1], 0x1p-4 * (0.5 + 0.5 / 8));
  EXPECT_EQ(rotary.frequencies()[2], 0x1p-11);
  EXPECT_NEAR(rotary.attention_factor(), 1.2079441541679836, 1e-15);  // 1 + ln(8) / 10

  config.scaling.kind = Kind::long_rope;
  const std::array<double, 4> shorter = {1, 1, 2, 2}, longer = {1, 2, 4, 8};
  config.scaling.short_factors = shorter;
  config.scaling.long_factors = longer;
  config.scaling.original_positions = 64;
  ASSERT_TRUE(Rotary::create(config, rotary).ok());
  EXPECT_EQ(rotary.frequencies()[3], 0x1p-15);
  EXPECT_NEAR(rotary.attention_factor(), std::sqrt(1.5), 1e-15);  // ln 8 is half of ln 64
  config.positions = 64;
  ASSERT_TRUE(Rotary::create(config, rotary).ok());
  EXPECT_EQ(rotary.frequencies()[3], 0x1p-13);
  EXPECT_TRUE(rotary.config().scaling.short_factors.empty()) << "lists are not kept";
}

// One's own frequencies are others' in another dress: the same bits.
TEST(RotaryScaling, OwnFrequenciesLeaveTheSameBits) {
  for (RotaryConfig config : scaled_configs()) {
    Rotary scaled, own;
    ASSERT_TRUE(Rotary::create(config, scaled).ok());
    const RotaryConfig given = {.rotary_dim = 48,
                                .positions = config.positions,
                                .scaling = {.attention_factor = scaled.attention_factor()},
                                .frequencies = scaled.frequencies()};
    ASSERT_TRUE(Rotary::create(given, own).ok());
    const auto elements = static_cast<std::size_t>(config.positions * 48);
    EXPECT_TRUE(std::equal(scaled.data(), scaled.data() + elements, own.data()));
  }
}

void expect_refused(RotaryConfig config, const std::string& message) {
  Rotary rotary;
  if (config.rotary_dim == 0) config.rotary_dim = 48;
  if (config.positions == 0) config.positions = 10;
  const Status status = Rotary::create(config, rotary);
  EXPECT_EQ(status.code(), StatusCode::invalid_argument);
  EXPECT_EQ(status.message(), message);
  EXPECT_EQ(rotary.config().rotary_dim, 0);
}

TEST(RotaryScalingErrors, Numbers) {
  const auto refused = [](RotaryScaling scaling, const std::string& message) {
    if (scaling.original_positions == 0) scaling.original_positions = 64;
    expect_refused({.scaling = scaling}, message);
  };
  refused({.kind = static_cast<Kind>(9)},
          "kind (9) must be none, linear, dynamic_ntk, llama3, yarn or long_rope");
  refused({.kind = Kind::linear, .factor = 0.5}, "factor (0.5) must be 1 or more, and finite");
  refused({.kind = Kind::linear, .factor = kNan}, "factor (nan) must be 1 or more, and finite");
  refused({.kind = Kind::yarn, .original_positions = 1},
          "original_positions (1) must be from 2 to 2147483647");
  refused({.kind = Kind::llama3, .low_freq_factor = -1.0},
          "low_freq_factor (-1) must be 0 or more, and finite");
  refused({.kind = Kind::llama3, .low_freq_factor = 4.0},
          "high_freq_factor (4) must be above low_freq_factor (4) and finite");
  refused({.kind = Kind::yarn, .beta_fast = 0.0}, "beta_fast (0) must be above 0 and finite");
  refused({.kind = Kind::yarn, .beta_slow = kInfinity},
          "beta_slow (inf) must be above 0 and finite");
  refused({.kind = Kind::yarn, .beta_slow = 40.0}, "beta_slow (40) must be at most beta_fast (32)");
  refused({.kind = Kind::yarn, .mscale = 1.0}, "mscale_all_dim (0) must be above 0 and finite");
  refused({.kind = Kind::yarn, .mscale_all_dim = 1.0}, "mscale (0) must be above 0 and finite");
  refused({.attention_factor = -1.0}, "attention_factor (-1) must be 0 or more, and finite");
  refused({.attention_factor = 1e39}, "attention_factor (1e+39) must be in the range of float");
  expect_refused({.base = 1.0, .scaling = {.kind = Kind::yarn, .original_positions = 64}},
                 "base (1) must be above 1 for yarn");
  expect_refused(
      {.rotary_dim = 2, .scaling = {.kind = Kind::dynamic_ntk, .original_positions = 64}},
      "rotary_dim (2) must be above 2 for dynamic_ntk");
}

TEST(RotaryScalingErrors, Lists) {
  const std::vector<double> one = {1.0};
  std::vector<double> wrong = kShort;
  wrong[5] = 0;
  expect_refused({.frequencies = one},
                 "frequencies has 1 entries; it must have one for each of 24 pairs");
  expect_refused({.factors = wrong}, "factors[5] (0) must be above 0 and finite");
  wrong[5] = kNan;
  expect_refused({.frequencies = wrong}, "frequencies[5] (nan) must be finite");
  RotaryScaling scaling = long_rope(1.0);
  scaling.short_factors = one;
  expect_refused({.scaling = scaling},
                 "short_factors has 1 entries; it must have one for each of 24 pairs");
  scaling.short_factors = {};
  expect_refused({.scaling = scaling}, "short_factors must not be empty for long_rope");
  scaling = long_rope(1.0);
  scaling.long_factors = wrong;
  expect_refused({.scaling = scaling}, "long_factors[5] (nan) must be above 0 and finite");
  scaling.long_factors = {};
  expect_refused({.scaling = scaling}, "long_factors must not be empty for long_rope");
  scaling.kind = Kind::llama3;
  expect_refused({.scaling = scaling}, "short_factors and long_factors are for long_rope");
  for (const Kind kind : {Kind::yarn, Kind::dynamic_ntk}) {
    expect_refused({.scaling = {.kind = kind, .original_positions = 64}, .frequencies = kOwn},
                   "frequencies must be empty for yarn and dynamic_ntk, which need a base");
  }
  const std::vector<double> tiny(24, 1e-308);
  expect_refused({.position_scale = 1e10, .factors = tiny},
                 "position_scale (1e+10) and the frequency of pair 0 (1e+308) give angles beyond "
                 "the range of double");
}

}  // namespace
}  // namespace heed::tests
