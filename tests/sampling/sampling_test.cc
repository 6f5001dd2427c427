// Drawn tokens against a reference that sorts, and what they may not depend on.
#include "heed/sampling.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <vector>

#include "heed/convert.h"
#include "heed/executor.h"
#include "tests/proof/elements.h"
#include "tests/proof/guarded_buffer.h"
#include "tests/proof/inputs.h"
#include "tests/proof/numbers.h"
#include "tests/proof/sampling_inputs.h"
#include "tests/proof/sampling_reference.h"
#include "tests/support/attention_run.h"

namespace heed::tests {
namespace {

using proof::drawn;
using proof::Drawn;
using proof::GuardedBuffer;
using proof::LogitKind;
using proof::Random;
using Row = std::vector<float>;

using proof::kInfinity;
using proof::kNan;
constexpr float kLargest = std::numeric_limits<float>::max();

/// One row alone, at the end of readable memory.
Drawn draw_one(const Row& logits, const SamplingRule& rule, const Draw& draw,
               const RunOptions& options, SamplingWorkspace* workspace = nullptr) {
  GuardedBuffer z(logits.size());
  std::ranges::copy(logits, z.data());
  Drawn result{-7, -7};
  const auto length = std::ssize(logits);
  const Status status = sample({z.data(), 1, length, length}, {&rule, 1}, {&draw, 1},
                               {&result.token, &result.probability}, options, workspace);
  EXPECT_TRUE(status.ok()) << status.message();
  return result;
}

std::string words_of(const SamplingRule& rule) {
  return testing::PrintToString(std::vector<double>{
      rule.temperature, static_cast<double>(rule.top_k), rule.top_p, rule.min_p});
}

/// Fails where the draw is not the reference's.
void expect_reference_of(const Row& logits, const SamplingRule& rule, const Draw& draw) {
  const Drawn expected = drawn(logits, rule, draw);
  for (const std::string_view isa : f32_isas()) {
    const Drawn result = draw_one(logits, rule, draw, {.isa = isa, .workers = 1});
    ASSERT_EQ(result.token, expected.token) << isa << ", draw " << draw.counter << ", length "
                                            << logits.size() << ", rule " << words_of(rule);
    ASSERT_EQ(result.probability, expected.probability) << isa << ", rule " << words_of(rule);
  }
}

/// Fails at the first draw of the row that is not the reference's.
void expect_reference(const Row& logits, const SamplingRule& rule, int draws) {
  for (int i = 0; i < draws && !testing::Test::HasFatalFailure(); ++i) {
    expect_reference_of(logits, rule,
                        {static_cast<std::uint64_t>(logits.size()), static_cast<std::uint64_t>(i)});
  }
}

const std::vector<SamplingRule>& rules() {
  static const std::vector<SamplingRule> list = {
      {},
      {.temperature = 0},
      {.temperature = 0.3F},
      {.temperature = 7},
      {.temperature = kInfinity},
      {.temperature = 1e-42F},
      {.top_k = 1},
      {.top_k = 5},
      {.top_k = 300},
      {.top_p = 0.01F},
      {.top_p = 0.5F},
      {.top_p = 0.9F},
      {.top_p = 0.999999F},
      {.top_p = 1e-40F},
      {.min_p = 0.1F},
      {.min_p = 1},
      {.top_p = 0.9F, .min_p = 0.3F},
      {.top_p = 0.7F, .min_p = 0.001F},
      {.temperature = 1.5F, .top_k = 40, .top_p = 0.8F},
      {.temperature = 0.8F, .top_k = 100, .top_p = 0.95F, .min_p = 0.02F},
      {.temperature = kInfinity, .top_k = 7, .top_p = 0.5F},
      {.temperature = kInfinity, .top_p = 0.3F, .min_p = 1},
  };
  return list;
}

Row filled(std::int64_t length, const std::function<float()>& value) {
  Row row(static_cast<std::size_t>(length));
  for (float& z : row) z = value();
  return row;
}

class Sampling : public testing::Test {
 protected:
  float normal(double deviation) { return static_cast<float>(deviation * random_.normal()); }
  /// Rows of a length, of each kind that has a token.
  std::vector<Row> rows(std::int64_t n) {
    std::vector<Row> all;
    for (const LogitKind kind :
         {LogitKind::flat, LogitKind::sharp, LogitKind::few_values, LogitKind::masked,
          LogitKind::equal, LogitKind::close, LogitKind::misleading}) {
      fill_logits(kind, random_, all.emplace_back(static_cast<std::size_t>(n)));
    }
    return all;
  }
  Random random_{11};
};

TEST_F(Sampling, EveryRuleAndLength) {
  for (const std::int64_t n :
       {1, 2, 3, 7, 8, 15, 16, 17, 33, 63, 64, 100, 1000, 2047, 2049, 5000}) {
    for (const Row& row : rows(n)) {
      for (const SamplingRule& rule : rules()) {
        expect_reference(row, rule, 3);
        if (HasFailure()) return;
      }
    }
  }
}

// Rows of which only a part is listed, after a look at some of their weights.
TEST_F(Sampling, LongRows) {
  for (const std::int64_t n : {16384, 40001, 128256, 262144}) {
    if (n > 128256 && !thorough()) break;
    for (const Row& row : rows(n)) {
      for (const SamplingRule& rule : rules()) {
        expect_reference(row, rule, 1);
        if (HasFailure()) return;
      }
      if (!thorough()) break;
    }
  }
}

// What a sample of every nth token shows is not what the row is.
TEST_F(Sampling, LongRowsThatMislead) {
  for (const std::int64_t n : {65536, 128256}) {
    if (n > 65536 && !thorough()) break;
    for (const std::int64_t step : {n / 4096, n / 1024, std::int64_t{2}}) {
      for (const float far : {-12.0F, 12.0F, -3.0F, 3.0F}) {
        for (const std::int64_t phase : {std::int64_t{0}, step / 2, std::int64_t{1}}) {
          Row row = filled(n, [&] { return normal(1); });
          for (std::int64_t i = phase; i < n; i += step) row[static_cast<std::size_t>(i)] += far;
          for (const SamplingRule& rule : {SamplingRule{.top_p = 0.9F}, SamplingRule{.top_k = 60},
                                           SamplingRule{.top_p = 0.4F, .min_p = 0.01F}}) {
            expect_reference(row, rule, 1);
            if (HasFailure()) return;
          }
        }
      }
      if (!thorough()) break;
    }
  }
}

TEST_F(Sampling, RandomRules) {
  const int cases = thorough() ? 3000 : 300;
  for (int i = 0; i < cases; ++i) {
    const std::int64_t n = 1 + random_.below(i % 50 == 0 ? 60000 : 700);
    std::vector<Row> all = rows(n);
    const Row& row = all[static_cast<std::size_t>(random_.below(std::ssize(all)))];
    SamplingRule rule;
    rule.temperature = static_cast<float>(std::exp(2 * random_.normal()));
    if (random_.below(2) == 0) rule.top_k = 1 + random_.below(2 * n);
    if (random_.below(2) == 0) rule.top_p = static_cast<float>(random_.uniform());
    if (random_.below(3) == 0) rule.min_p = static_cast<float>(std::pow(random_.uniform(), 4));
    expect_reference(row, rule, 2);
    if (HasFailure()) return;
  }
}

// Halves add without rounding: the border of top-p is where it is exactly.
TEST_F(Sampling, TopPEndsExactlyAtItsBorder) {
  const Row row = {0, 0, 0, 0};
  for (int seed = 0; seed < 50; ++seed) {
    const Draw draw{static_cast<std::uint64_t>(seed), 0};
    EXPECT_LT(draw_one(row, {.top_p = 0.5F}, draw, {}).token, 2);
    EXPECT_EQ(draw_one(row, {.top_p = 0.5F}, draw, {}).probability, 0.5F);
    EXPECT_EQ(draw_one(row, {.top_p = std::nextafter(0.5F, 1.0F)}, draw, {}).probability, 1.0F / 3);
    EXPECT_EQ(draw_one(row, {.top_p = 0.25F}, draw, {}).token, 0);
    EXPECT_EQ(draw_one({2, 1, 2, 0}, {.top_k = 1}, draw, {}).token, 0);
  }
}

// The share of these two weights is no integer, and the first is the integer below it.
TEST_F(Sampling, TopPOfAFractionIsRoundedUp) {
  const Row row = {0, -0x1.b1dfe6p-2F};
  constexpr SamplingRule rule{.top_p = 0x1.356ffp-1F};
  const std::vector<std::uint64_t> weights = proof::kept_weights(row, {});
  const long double share = static_cast<long double>(weights[0] + weights[1]) * rule.top_p;
  ASSERT_GT(share, weights[0]);
  ASSERT_LT(share, weights[0] + 1);
  for (const std::string_view isa : f32_isas()) {
    EXPECT_LT(draw_one(row, rule, {}, {.isa = isa}).probability, 0.7F) << isa;
  }
  expect_reference(row, rule, 20);
}

// A sum of weights that comes to the draw exactly does not exceed it: the token that follows is
// drawn. Tokens of 2⁻⁴⁰ weigh one unit each, so that a draw of the first of them ends at a border
// of two tokens and, where a chunk of the kernels has but one, of two chunks. The number of this
// draw, one of 2³¹, is so small that it takes one of these.
TEST_F(Sampling, DrawsThatEndAtABorder) {
  constexpr std::int64_t n = 1 << 20, chunk = 2048;
  constexpr Draw draw{0, 5'188'065'099};
  const auto units = static_cast<std::int32_t>(proof::random_number(0, draw.counter) >> 24);
  ASSERT_LT(units, n / chunk);
  constexpr float light = -27.7258872F;  // −40 · ln 2
  Row all(n, light), spread(n, -kInfinity);
  for (std::size_t i = chunk - 1; i < spread.size(); i += chunk) spread[i] = light;
  all.back() = spread.back() = 0;
  EXPECT_EQ(drawn(all, {}, draw).token, units);
  EXPECT_EQ(drawn(spread, {}, draw).token, units * chunk + chunk - 1);
  expect_reference_of(all, {}, draw);
  expect_reference_of(spread, {}, draw);
  expect_reference_of(spread, {.top_k = n / chunk}, draw);
}

TEST_F(Sampling, RowsWithoutATokenDisturbNoOther) {
  for (const float fault : {kNan, kInfinity}) {
    for (const std::int64_t n : {1, 5, 16, 64, 1000, 20000}) {
      for (const float temperature : {0.0F, 1.0F, kInfinity}) {
        Row z = filled(4 * n, [&] { return normal(1); });
        z[static_cast<std::size_t>(n + random_.below(n))] = fault;
        std::fill_n(z.begin() + 3 * n, n, -kInfinity);
        const std::vector<Draw> draws(4);
        std::vector<std::int32_t> tokens(4);
        std::vector<float> shares(4);
        const SamplingRule rule{.temperature = temperature, .top_k = 3, .top_p = 0.9F};
        ASSERT_TRUE(
            sample({z.data(), 4, n, n}, {&rule, 1}, draws, {tokens.data(), shares.data()}).ok());
        EXPECT_EQ(tokens[1], kNoToken);
        EXPECT_EQ(tokens[3], kNoToken);
        EXPECT_EQ(shares[1], 0.0F);
        for (const std::size_t r : {0, 2}) {
          const auto begin = z.begin() + static_cast<std::int64_t>(r) * n;
          EXPECT_EQ(tokens[r], drawn(Row(begin, begin + n), rule, {}).token);
        }
      }
    }
  }
}

TEST_F(Sampling, EmptyRowsAndNoRows) {
  std::vector<std::int32_t> tokens(2, 5);
  const SamplingRule rule;
  const std::vector<Draw> draws(2);
  ASSERT_TRUE(sample({nullptr, 2, 0, 0}, {&rule, 1}, draws, {tokens.data()}).ok());
  EXPECT_EQ(tokens, std::vector<std::int32_t>({kNoToken, kNoToken}));
  EXPECT_TRUE(sample({nullptr, 0, 7, 7}, {&rule, 1}, {}, {nullptr}).ok());
}

TEST_F(Sampling, FiniteLogitsOfAnySize) {
  for (const Row& part : {Row{kLargest, -kLargest, 0}, Row{-kLargest, -kLargest, 1e38F},
                          Row{0x1p-149F, -0x1p-149F, 0}, Row{1e6F, 1e6F + 0.5F, -1e6F}}) {
    for (const SamplingRule& rule : rules()) {
      expect_reference(part, rule, 5);
      if (HasFailure()) return;
    }
    expect_reference(part, {.temperature = kLargest}, 20);
  }
}

// A row of another type is the row of its floats.
TEST_F(Sampling, ElementTypes) {
  for (const DType type : {DType::f16, DType::bf16}) {
    for (const std::int64_t n : {1, 5, 16, 31, 100, 4097, 50000}) {
      for (const Row& row : rows(n)) {
        GuardedBuffer memory(static_cast<std::size_t>(n + 1) / 2);  // the end is exact for even n
        auto* const bytes = reinterpret_cast<std::byte*>(memory.data() + memory.size()) - 2 * n;
        const InputData data(bytes, type);
        proof::narrow(row, {bytes, type});
        std::vector<float> buffer;
        const auto floats = proof::floats_of(data, n, buffer);
        const Row wide(floats.begin(), floats.end());
        for (const std::string_view isa : f32_isas()) {
          for (const SamplingRule& rule :
               {SamplingRule{}, SamplingRule{.temperature = 0},
                SamplingRule{.top_k = 20, .top_p = 0.9F}, SamplingRule{.top_p = 0.6F}}) {
            const Draw draw{3, static_cast<std::uint64_t>(n)};
            Drawn result{-7, -7};
            ASSERT_TRUE(sample({data, 1, n, n}, {&rule, 1}, {&draw, 1},
                               {&result.token, &result.probability}, {.isa = isa, .workers = 1})
                            .ok());
            ASSERT_EQ(result, drawn(wide, rule, draw)) << isa << " " << n;
          }
        }
      }
    }
  }
}

// Neither threads, nor the rows beside it, nor strides, nor a workspace that was used before.
TEST_F(Sampling, ARowDependsOnNothingElse) {
  Executor executor;
  ASSERT_TRUE(Executor::create(3, executor).ok());
  SamplingWorkspace workspace;
  for (const std::int64_t n : {100, 3000, 33000}) {
    const std::int64_t count = 24, stride = n + 7;
    const Row z = filled(count * stride, [&] { return normal(2); });
    std::vector<SamplingRule> each;
    std::vector<Draw> draws;
    for (std::int64_t r = 0; r < count; ++r) {
      each.push_back(rules()[static_cast<std::size_t>(r) % rules().size()]);
      draws.push_back({static_cast<std::uint64_t>(r * r), static_cast<std::uint64_t>(1000 - r)});
    }
    for (const int workers : {0, 1, 2, 16}) {
      for (Executor* where : {static_cast<Executor*>(nullptr), &executor}) {
        for (const bool backwards : {false, true}) {
          std::vector<std::int32_t> tokens(static_cast<std::size_t>(count), -9);
          const float* first = backwards ? z.data() + (count - 1) * stride : z.data();
          ASSERT_TRUE(sample({first, count, n, backwards ? -stride : stride}, each, draws,
                             {tokens.data()}, {.workers = workers, .executor = where}, &workspace)
                          .ok());
          for (std::size_t r = 0; r < tokens.size(); ++r) {
            const auto place = backwards ? tokens.size() - 1 - r : r;
            const auto begin = z.begin() + static_cast<std::int64_t>(place) * stride;
            ASSERT_EQ(tokens[r], draw_one(Row(begin, begin + n), each[r], draws[r], {}).token)
                << "row " << r << ", workers " << workers;
          }
        }
      }
    }
  }
}

// One row may be drawn from many times, by a stride of 0.
TEST_F(Sampling, ManyDrawsOfOneRow) {
  const Row z = {1, 2, 3};
  const SamplingRule rule;
  std::vector<Draw> draws(100);
  for (std::size_t i = 0; i < 100; ++i) draws[i].counter = i;
  std::vector<std::int32_t> tokens(100);
  ASSERT_TRUE(sample({z.data(), 100, 3, 0}, {&rule, 1}, draws, {tokens.data()}).ok());
  for (std::size_t i = 0; i < 100; ++i) {
    ASSERT_EQ(tokens[i], drawn(z, rule, draws[i]).token);
  }
}

// The probabilities of tokens against float64: w is off by 2⁻⁴¹ and by (|log2 w| + 1) · 2⁻²² of
// itself, their sum by the sum of that, the quotient is rounded to float once.
TEST_F(Sampling, ProbabilitiesAreThoseOfSoftmax) {
  for (const std::int64_t n : {2, 100, 5000}) {
    for (const float temperature : {0.5F, 1.0F, 3.0F}) {
      const Row row = filled(n, [&] { return normal(4); });
      const std::vector<double> weights = proof::exact_weights(row, temperature);
      double total = 0, total_error = 0;
      const auto error_of = [](double w) {
        return 0x1p-41 + w * (std::abs(std::log2(std::max(w, 0x1p-45))) + 1) * 0x1p-22;
      };
      for (const double w : weights) total += w, total_error += error_of(w);
      for (std::uint64_t i = 0; i < 200; ++i) {
        const Drawn result = draw_one(row, {.temperature = temperature}, {5, i}, {});
        const double w = weights[static_cast<std::size_t>(result.token)], share = w / total;
        EXPECT_NEAR(result.probability, share,
                    1.01 * (error_of(w) / total + share * total_error / total + share * 0x1p-24));
      }
    }
  }
}

// Numbers that Random123, by the authors of the generator, gives for its own tests: the first two
// of the four words of counter 0 and key 0, and the reference's.
TEST(SamplingRandomness, IsPhilox) {
  EXPECT_EQ(proof::random_number(0, 0), 0xE169C58D6627E8D5U);
  const Row z(1 << 20, 0.0F);
  for (const Draw& draw : {Draw{0, 0}, Draw{1, 0}, Draw{0, 1}, Draw{1ULL << 40, 1ULL << 50}}) {
    const std::uint64_t random = proof::random_number(draw.seed, draw.counter);
    EXPECT_EQ(draw_one(z, {}, draw, {}).token, static_cast<std::int32_t>(random >> 44));
  }
}

}  // namespace
}  // namespace heed::tests
