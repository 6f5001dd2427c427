// The checks of `heed check` pass for heed, and each of them fails for an operator with a fault.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "tests/proof/numbers.h"
#include "tests/support/this_build.h"
#include "tools/subject.h"
#include "tools/verdict.h"

namespace heed::tests {
namespace {

using tools::Check;
using tools::Subject;
using tools::Verdict;

/// Of checks.
using Numbers = std::vector<std::size_t>;

using proof::kInfinity;
using proof::kNan;

using Isas = std::vector<std::string_view>;

/// The best ISA (the toy one where there is no other), and the portable one that gets the faults.
Isas two_isas() {
  for (const IsaInfo& isa : isas()) {
    if (isa.supported && isa.name != kBaselineIsa) return {isa.name, kBaselineIsa};
  }
  return {kBaselineIsa};
}

std::vector<Verdict> run_check(const Check& check, const Subject& subject,
                               const Isas& isas = {kBaselineIsa}) {
  std::vector<Verdict> verdicts(isas.size());
  check.run(subject, isas, verdicts);
  return verdicts;
}

float ulps_up(float x, int steps) {
  for (int i = 0; i < steps; ++i) x = std::nextafter(x, kInfinity);
  return x;
}

/// Changes the first number of an output by its last bit; one that is not finite becomes 1.
void nudge(const OutputData& out) {
  if (float* const x = out.as<float>()) {
    *x = ulps_up(std::isfinite(*x) ? *x : 0.0F, 1);
  } else {
    *static_cast<std::uint16_t*>(out.data()) ^= 1;  // of finite numbers
  }
}

/// Writes another number to the first of an output.
void overwrite(const OutputData& out) {
  if (float* const x = out.as<float>()) {
    *x = 12345.0F;
  } else {
    *static_cast<std::uint16_t*>(out.data()) = 0x7012;
  }
}

/// heed, but for a fault of attention on the ISA of all processors.
Subject with_attention_fault(
    const std::function<Status(const Batch&, const AttentionTensors&)>& fault) {
  Subject subject = tools::heed_operators();
  subject.attend = [attend = subject.attend, fault](const auto& config, const auto& batch,
                                                    const auto& options, const auto& tensors) {
    Status status = attend(config, batch, options, tensors);
    return status.ok() && options.isa == kBaselineIsa ? fault(batch, tensors) : status;
  };
  return subject;
}

/// heed that refuses everything on some ISAs, which it names.
Subject refusing_on(const std::function<bool(std::string_view isa)>& refused) {
  const auto refusal_by = [refused](std::string_view isa) {
    return refused(isa) ? Status(StatusCode::internal, "lost by " + std::string(isa)) : Status();
  };
  const Subject heed = tools::heed_operators();
  Subject subject;
  subject.attend = [=](const auto& config, const auto& batch, const auto& options,
                       const auto& tensors) {
    Status refusal = refusal_by(options.isa);
    return refusal.ok() ? heed.attend(config, batch, options, tensors) : refusal;
  };
  const auto map = [=](const Subject::Map& of_heed) -> Subject::Map {
    return [=](const auto& x, const auto& y, const auto& options) {
      Status refusal = refusal_by(options.isa);
      return refusal.ok() ? of_heed(x, y, options) : refusal;
    };
  };
  subject.softmax = map(heed.softmax);
  subject.log_softmax = map(heed.log_softmax);
  subject.log_sum_exp = [=](const auto& x, float* lse, const auto& options) {
    Status refusal = refusal_by(options.isa);
    return refusal.ok() ? heed.log_sum_exp(x, lse, options) : refusal;
  };
  const auto gradient = [=](const Subject::Gradient& of_heed) -> Subject::Gradient {
    return [=](const auto& y, const auto& dy, const auto& dx, float* dt, const auto& options) {
      Status refusal = refusal_by(options.isa);
      return refusal.ok() ? of_heed(y, dy, dx, dt, options) : refusal;
    };
  };
  subject.softmax_gradient = gradient(heed.softmax_gradient);
  subject.log_softmax_gradient = gradient(heed.log_softmax_gradient);
  subject.sample = [=](const auto& logits, const auto& rules, const auto& draws,
                       const auto& samples, const RunOptions& options) {
    Status refusal = refusal_by(options.isa);
    return refusal.ok() ? heed.sample(logits, rules, draws, samples, options) : refusal;
  };
  return subject;
}

/// heed that refuses everything on the ISA of all processors.
Subject refusing_heed() {
  return refusing_on([](std::string_view isa) { return isa == kBaselineIsa; });
}

bool has_rows(const Batch& batch) {
  const Lengths& queries = batch.query;
  if (!queries.offsets.empty()) return queries.offsets.back() > 0;
  if (queries.lengths.empty()) return queries.length > 0;
  return std::ranges::any_of(queries.lengths, [](std::int32_t length) { return length > 0; });
}

void expect_all_fail(const std::vector<Check>& checks, const Subject& subject) {
  for (const Check& check : checks) {
    EXPECT_FALSE(run_check(check, subject)[0].passed()) << check.name;
  }
}

void expect_all_pass(const std::vector<Check>& checks, const Subject& subject) {
  ASSERT_FALSE(checks.empty());
  for (const Check& check : checks) {
    for (const Verdict& verdict : run_check(check, subject, two_isas())) {
      EXPECT_TRUE(verdict.passed()) << check.name << ": " << verdict.fault();
      EXPECT_GT(verdict.rows(), 0) << check.name;
      EXPECT_LE(verdict.largest_share(), 1) << check.name;
    }
  }
}

TEST(Checks, PassForHeed) {
  expect_all_pass(tools::attention_checks(), tools::heed_operators());
  expect_all_pass(tools::softmax_checks(), tools::heed_operators());
  expect_all_pass(tools::sampling_checks(), tools::heed_operators());
}

TEST(Checks, TellEveryIsaItsOwnFault) {
  const Subject subject = refusing_on([](std::string_view) { return true; });
  for (const auto& checks :
       {tools::attention_checks(), tools::softmax_checks(), tools::sampling_checks()}) {
    for (const Check& check : checks) {
      const Isas isas = two_isas();
      const std::vector<Verdict> verdicts = run_check(check, subject, isas);
      for (std::size_t i = 0; i < isas.size(); ++i) {
        EXPECT_TRUE(verdicts[i].fault().ends_with("lost by " + std::string(isas[i])))
            << check.name << ", " << isas[i] << ": " << verdicts[i].fault();
        EXPECT_EQ(verdicts[i].rows(), 0) << check.name;
      }
    }
  }
}

// What an ISA does wrong, be it the first or the last one, keeps no other one from being checked;
// itself is left in the case of the fault, which calls up to three operators.
TEST(Checks, LeaveOnlyTheIsaThatHasAFault) {
  const Isas isas = two_isas();
  std::string_view faulty;
  int refused = 0;
  const Subject subject = refusing_on([&](std::string_view isa) {
    refused += isa == faulty;
    return isa == faulty;
  });
  std::vector<Check> some = {tools::attention_checks().front(), tools::sampling_checks().front()};
  for (const Check& check : tools::softmax_checks()) some.push_back(check);
  for (const Check& check : some) {
    const std::vector<Verdict> right = run_check(check, tools::heed_operators(), isas);
    for (const std::string_view isa : isas) {
      SCOPED_TRACE(check.name + ", " + std::string(isa));
      faulty = isa;
      refused = 0;
      const std::vector<Verdict> found = run_check(check, subject, isas);
      EXPECT_GE(refused, 1);
      EXPECT_LE(refused, 3);
      for (std::size_t i = 0; i < isas.size(); ++i) {
        EXPECT_EQ(found[i].passed(), isas[i] != faulty) << isas[i] << ": " << found[i].fault();
        if (isas[i] == faulty) {
          EXPECT_LT(found[i].rows(), right[i].rows()) << isas[i];
        } else {
          EXPECT_EQ(found[i].rows(), right[i].rows()) << isas[i];
        }
      }
    }
  }
}

TEST(Checks, OneUlpOfTheLseIsTheKernelsOwn) {
  const Subject subject = with_attention_fault([](const Batch& batch, const AttentionTensors& t) {
    if (has_rows(batch) && std::isfinite(*t.lse)) *t.lse = ulps_up(*t.lse, 1);
    return Status();
  });
  for (const Check& check : tools::attention_checks()) {
    // The kernels' logarithms are those of the oracle nearly everywhere, so that one ULP more is
    // one.
    const Verdict verdict = run_check(check, subject)[0];
    EXPECT_TRUE(verdict.passed()) << check.name << ": " << verdict.fault();
  }
}

TEST(Checks, FindOneWrongBitOfAnOutput) {
  expect_all_fail(tools::attention_checks(),
                  with_attention_fault([](const Batch& batch, const AttentionTensors& t) {
                    if (has_rows(batch)) nudge(t.out);
                    return Status();
                  }));
}

TEST(Checks, FindAWrongLse) {
  expect_all_fail(tools::attention_checks(),
                  with_attention_fault([](const Batch& batch, const AttentionTensors& t) {
                    if (has_rows(batch)) {
                      *t.lse = std::isfinite(*t.lse) ? ulps_up(*t.lse, 3) : 1.0F;
                    }
                    return Status();
                  }));
}

TEST(Checks, FindRowsThatWereNotWritten) {
  expect_all_fail(tools::attention_checks(),
                  with_attention_fault([](const Batch& batch, const AttentionTensors& t) {
                    if (has_rows(batch)) {
                      *t.lse = 12345.0F;
                      overwrite(t.out);
                    }
                    return Status();
                  }));
}

TEST(Checks, FindARefusal) {
  const Subject subject = refusing_heed();
  expect_all_fail(tools::attention_checks(), subject);
  expect_all_fail(tools::softmax_checks(), subject);
  expect_all_fail(tools::sampling_checks(), subject);
}

/// Puts every number of a matrix of floats a little off: by a thousandth where the bounds allow for
/// the inputs' size, on the ISA of all processors.
void spoil(const Rows& y, const SoftmaxOptions& options) {
  if (options.isa != kBaselineIsa || y.data.type() != DType::f32) return;
  for (std::int64_t r = 0; r < y.rows; ++r) {
    for (std::int64_t i = 0; i < y.length; ++i) {
      float& x = y.data.as<float>()[r * y.stride + i];
      if (std::isfinite(x)) x = x * 1.001F + 1e-30F;
    }
  }
}

Subject::Map spoiled(const Subject::Map& map) {
  return [map](const auto& x, const auto& y, const auto& options) {
    Status status = map(x, y, options);
    spoil(y, options);
    return status;
  };
}

Subject::Gradient spoiled(const Subject::Gradient& gradient) {
  return [gradient](const auto& y, const auto& dy, const auto& dx, float* dt, const auto& options) {
    Status status = gradient(y, dy, dx, dt, options);
    spoil(dx, options);
    return status;
  };
}

/// The checks, by number, that fail on the ISA of all processors.
Numbers failing(const std::vector<Check>& checks, const Subject& subject) {
  Numbers failing;
  for (std::size_t i = 0; i < checks.size(); ++i) {
    if (!run_check(checks[i], subject)[0].passed()) failing.push_back(i);
  }
  return failing;
}

Numbers failing_softmax_checks(const Subject& subject) {
  return failing(tools::softmax_checks(), subject);
}

TEST(Checks, FindSmallErrorsOfEverySoftmaxOperator) {
  const Subject heed = tools::heed_operators();
  Subject subject = heed;
  subject.softmax = spoiled(heed.softmax);
  EXPECT_EQ(failing_softmax_checks(subject), (Numbers{0, 1, 2}));
  subject = heed;
  subject.log_softmax = spoiled(heed.log_softmax);
  EXPECT_EQ(failing_softmax_checks(subject), (Numbers{0, 1, 2}));
  subject = heed;
  subject.log_sum_exp = [&](const auto& x, float* lse, const auto& options) {
    Status status = heed.log_sum_exp(x, lse, options);
    spoil({lse, x.rows, 1, 1}, options);
    return status;
  };
  EXPECT_EQ(failing_softmax_checks(subject), (Numbers{0, 1, 2}));
  subject = heed;
  subject.softmax_gradient = spoiled(heed.softmax_gradient);
  EXPECT_EQ(failing_softmax_checks(subject), (Numbers{3}));
  subject = heed;
  subject.log_softmax_gradient = spoiled(heed.log_softmax_gradient);
  EXPECT_EQ(failing_softmax_checks(subject), (Numbers{3, 4}));
}

TEST(Checks, FindSmallErrorsOfTheGradientOfT) {
  const Subject heed = tools::heed_operators();
  const auto spoiled_dt = [](const Subject::Gradient& gradient) -> Subject::Gradient {
    return
        [gradient](const auto& y, const auto& dy, const auto& dx, float* dt, const auto& options) {
          Status status = gradient(y, dy, dx, dt, options);
          if (dt != nullptr) spoil({dt, y.rows, 1, 1}, options);
          return status;
        };
  };
  for (const auto which : {&Subject::softmax_gradient, &Subject::log_softmax_gradient}) {
    Subject subject = heed;
    subject.*which = spoiled_dt(heed.*which);
    EXPECT_EQ(failing_softmax_checks(subject), (Numbers{3}));
  }
}

/// The softmax of rows that ignores a part of the options, on the ISA of all processors.
Subject forgetting(const std::function<void(SoftmaxOptions&)>& forget) {
  Subject subject = tools::heed_operators();
  subject.softmax = [map = subject.softmax, forget](const auto& x, const auto& y,
                                                    const auto& options) {
    SoftmaxOptions changed = options;
    if (options.isa == kBaselineIsa) forget(changed);
    return map(x, y, changed);
  };
  return subject;
}

TEST(Checks, FindTemperaturesMasksAndTypesThatAreForgotten) {
  const auto no_mask = forgetting([](SoftmaxOptions& options) { options.mask = {}; });
  const auto no_temperatures =
      forgetting([](SoftmaxOptions& options) { options.temperatures = {}; });
  EXPECT_EQ(failing_softmax_checks(no_mask), (Numbers{2}));
  EXPECT_EQ(failing_softmax_checks(no_temperatures), (Numbers{2}));
  Subject wrong_type = tools::heed_operators();
  wrong_type.softmax = [map = wrong_type.softmax](const ConstRows& x, const Rows& y,
                                                  const SoftmaxOptions& options) {
    Rows other = y;
    const bool half = options.isa == kBaselineIsa && y.data.type() == DType::f16;
    if (half) other.data = {y.data.data(), DType::bf16};
    return map(x, other, options);
  };
  EXPECT_EQ(failing_softmax_checks(wrong_type), (Numbers{2}));
}

TEST(Checks, FindOneExponentialThatIsThreeUlpOff) {
  Subject subject = tools::heed_operators();
  subject.log_softmax_gradient = [gradient = subject.log_softmax_gradient](
                                     const auto& y, const auto& dy, const auto& dx, float* dt,
                                     const auto& options) {
    Status status = gradient(y, dy, dx, dt, options);
    if (options.isa == kBaselineIsa) {
      float& one = dx.data.template as<float>()[777'777];
      one = ulps_up(one, 3);
    }
    return status;
  };
  EXPECT_FALSE(run_check(tools::softmax_checks().back(), subject)[0].passed());
}

/// The checks of sampling, by number, that fail for a heed which draws from other logits, by
/// another rule or draw, or writes something else, on the ISA of all processors.
struct Sampled {
  Logits logits;
  std::vector<SamplingRule> rules;
  std::vector<Draw> draws;
  Samples samples;
};
Numbers failing_sampling_checks(const std::function<void(Sampled&)>& before,
                                const std::function<void(Sampled&)>& after) {
  Subject subject = tools::heed_operators();
  subject.sample = [sample = subject.sample, before, after](
                       const Logits& logits, std::span<const SamplingRule> rules,
                       std::span<const Draw> draws, const Samples& samples,
                       const RunOptions& options) {
    Sampled sampled{logits, {rules.begin(), rules.end()}, {draws.begin(), draws.end()}, samples};
    if (options.isa == kBaselineIsa) before(sampled);
    Status status = sample(sampled.logits, sampled.rules, sampled.draws, samples, options);
    if (options.isa == kBaselineIsa) after(sampled);
    return status;
  };
  return failing(tools::sampling_checks(), subject);
}

void same(Sampled&) {}

TEST(Checks, FindRulesAndDrawsThatAreForgotten) {
  const auto forgetting = [](const std::function<void(SamplingRule&)>& forget) {
    return failing_sampling_checks(
        [&](Sampled& sampled) { std::ranges::for_each(sampled.rules, forget); }, same);
  };
  EXPECT_EQ(forgetting([](SamplingRule& rule) { rule.temperature = 1; }), (Numbers{0, 1, 2, 3, 4}));
  EXPECT_EQ(forgetting([](SamplingRule& rule) { rule.top_k = 0; }), (Numbers{0, 1, 2, 3, 4}));
  EXPECT_EQ(forgetting([](SamplingRule& rule) { rule.top_p = 1; }), (Numbers{0, 1, 2, 3, 4}));
  EXPECT_EQ(forgetting([](SamplingRule& rule) { rule.min_p = 0; }), (Numbers{0, 1, 2, 3, 4}));
  const auto one_draw = [](Sampled& sampled) {
    std::ranges::fill(sampled.draws, sampled.draws.front());
  };
  EXPECT_EQ(failing_sampling_checks(one_draw, same), (Numbers{0, 1, 2, 3}));
  const auto other_type = [](Sampled& sampled) {
    if (sampled.logits.data.type() != DType::f16) return;
    sampled.logits.data = {sampled.logits.data.data(), DType::bf16};
  };
  EXPECT_EQ(failing_sampling_checks(other_type, same), (Numbers{2}));
  const auto other_rows = [](Sampled& sampled) { sampled.logits.stride -= 1; };
  EXPECT_EQ(failing_sampling_checks(other_rows, same), (Numbers{0, 1, 2, 3, 4}));
}

TEST(Checks, FindWrongTokensAndProbabilities) {
  const auto last = [](Sampled& sampled) {
    return sampled.samples.tokens + sampled.logits.rows - 1;
  };
  const auto next = [&](Sampled& sampled) { ++*last(sampled); };
  const auto not_written = [&](Sampled& sampled) { *last(sampled) = -7; };
  EXPECT_EQ(failing_sampling_checks(same, next), (Numbers{0, 1, 2, 3, 4}));
  EXPECT_EQ(failing_sampling_checks(same, not_written), (Numbers{0, 1, 2, 3, 4}));
  const auto one_ulp = [](Sampled& sampled) { nudge(sampled.samples.probabilities); };
  EXPECT_EQ(failing_sampling_checks(same, one_ulp), (Numbers{0, 1, 2, 3}));
  const auto a_little = [](Sampled& sampled) { *sampled.samples.probabilities *= 1.001F; };
  EXPECT_EQ(failing_sampling_checks(same, a_little), (Numbers{0, 1, 2, 3, 4}));
}

std::string here() { return "here"; }

TEST(Comparisons, Bits) {
  EXPECT_TRUE(tools::same_bits(1.5F, 1.5F));
  EXPECT_TRUE(tools::same_bits(kNan, -kNan));
  EXPECT_FALSE(tools::same_bits(0.0F, -0.0F));
  EXPECT_FALSE(tools::same_bits(1.0F, ulps_up(1.0F, 1)));
  EXPECT_FALSE(tools::same_bits(kNan, 1.0F));
  EXPECT_TRUE(tools::within_one_ulp(1.0F, ulps_up(1.0F, 1)));
  EXPECT_TRUE(tools::within_one_ulp(ulps_up(1.0F, 1), 1.0F));
  EXPECT_FALSE(tools::within_one_ulp(1.0F, ulps_up(1.0F, 2)));
  EXPECT_FALSE(tools::within_one_ulp(ulps_up(1.0F, 2), 1.0F));
  EXPECT_FALSE(tools::within_one_ulp(kNan, 1.0F));
  EXPECT_FALSE(tools::within_one_ulp(kInfinity, -kInfinity));
}

TEST(Comparisons, Within) {
  Verdict verdict;
  verdict.expect_within(1.0, 1.0, 0.0, here);
  verdict.expect_within(kInfinity, kInfinity, 0.0, here);
  verdict.expect_within(1.0, 1.5, 1.0, here);
  EXPECT_TRUE(verdict.passed());
  EXPECT_EQ(verdict.largest_share(), 0.5);
  const auto fails = [](double actual, double exact, double bound) {
    Verdict fresh;
    fresh.expect_within(actual, exact, bound, here);
    return !fresh.passed();
  };
  EXPECT_TRUE(fails(1.0, 1.5, 0.4));
  EXPECT_TRUE(fails(1.5, 1.0, 0.4));
  EXPECT_TRUE(fails(kNan, 1.0, 1e9));
  EXPECT_TRUE(fails(1.0, kNan, 1e9));
  EXPECT_TRUE(fails(kInfinity, 1.0, 1e9));
  EXPECT_TRUE(fails(kInfinity, -kInfinity, 1e9));
  EXPECT_TRUE(fails(1.0, 1.0000001, 0.0));
  EXPECT_TRUE(fails(1.0, 2.0, kNan));
}

TEST(Comparisons, KeepTheFirstFault) {
  Verdict verdict;
  verdict.expect_bits(1.0F, 2.0F, here);
  verdict.expect_within(1.0, 9.0, 1.0, [] { return std::string("there"); });
  EXPECT_EQ(verdict.fault(), "here: 0x1p+0 must have the bits of 0x1p+1");
  EXPECT_FALSE(verdict.passed());
}

}  // namespace
}  // namespace heed::tests
