// What `heed check` proves of drawing tokens: tokens and their probabilities are those of the
// reference of tests/proof/sampling_reference.h, which sorts and adds integers, bit for bit on
// every instruction set; and probabilities lie within derived bounds of float64.
//
// A weight w, the largest being 1, is off by e(w) = 2⁻⁴¹ + w·(|log2 w| + 1)·2⁻²² (heed/sampling.h),
// so that a share w / Σw is by (e(w) + w / Σw · Σe) / Σw and by half a unit of its float.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/proof/elements.h"
#include "tests/proof/guarded_buffer.h"
#include "tests/proof/inputs.h"
#include "tests/proof/numbers.h"
#include "tests/proof/sampling_inputs.h"
#include "tests/proof/sampling_reference.h"
#include "tools/softmax_exact.h"
#include "tools/verdict.h"

namespace heed::tools {
namespace {

using proof::GuardedBuffer;
using Kind = proof::LogitKind;

using proof::kInfinity;

struct SamplingCase {
  std::int64_t length = 0;
  DType type = DType::f32;
  std::vector<Kind> kinds;  ///< of the rows
};

/// Rows of logits with gaps between them, which end at a guard page.
class LogitRows {
 public:
  LogitRows(const SamplingCase& c, std::uint64_t seed)
      : case_(c), stride_(c.length + 5), buffer_(static_cast<std::size_t>((bytes() + 3) / 4)) {
    proof::Random random(seed);
    std::vector<float> row(static_cast<std::size_t>(c.length));
    for (std::int64_t r = 0; r < rows(); ++r) {
      proof::fill_logits(c.kinds[static_cast<std::size_t>(r)], random, row);
      proof::narrow(row, {begin() + dtype_info(c.type).bytes(r * stride_), c.type});
    }
  }

  std::int64_t rows() const { return std::ssize(case_.kinds); }
  Logits view() { return {{begin(), case_.type}, rows(), case_.length, stride_}; }
  /// A row as the floats that its elements are.
  std::vector<float> row(std::int64_t r) {
    std::vector<float> buffer;
    const Logits all = view();
    const auto floats = proof::floats_of(all.data + r * stride_, case_.length, buffer);
    return {floats.begin(), floats.end()};
  }

 private:
  std::int64_t bytes() const {
    return dtype_info(case_.type).bytes((rows() - 1) * stride_ + case_.length);
  }
  std::byte* begin() {
    return reinterpret_cast<std::byte*>(buffer_.data() + buffer_.size()) - bytes();
  }

  SamplingCase case_;
  std::int64_t stride_;
  GuardedBuffer buffer_;
};

std::string describe(const SamplingRule& rule) {
  return fmt::format("T {}, top-k {}, top-p {}, min-p {}", rule.temperature, rule.top_k, rule.top_p,
                     rule.min_p);
}

Draw draw_of(std::int64_t row, const SamplingCase& c) {
  return {static_cast<std::uint64_t>(c.length), static_cast<std::uint64_t>(row) << 33};
}

/// Draws from all rows of a case in one call, by a rule for each or for all.
class SamplingProof {
 public:
  SamplingProof(const SamplingCase& c, std::uint64_t seed) : case_(c), rows_(c, seed) {
    for (std::int64_t r = 0; r < rows_.rows(); ++r) draws_.push_back(draw_of(r, c));
  }

  /// Tokens and probabilities are the reference's.
  void check_bits(const Subject& subject, std::span<const std::string_view> isas,
                  std::span<const SamplingRule> rules, std::span<Verdict> verdicts) {
    if (!any_passed(verdicts)) return;
    std::vector<proof::Drawn> expected;
    for (std::int64_t r = 0; r < rows_.rows(); ++r) {
      expected.push_back(proof::drawn(rows_.row(r), rule_of(rules, r), draw(r)));
    }
    for (std::size_t i = 0; i < isas.size(); ++i) {
      std::vector<proof::Drawn> actual;
      if (!verdicts[i].passed()) continue;
      if (!run(subject, isas[i], rules, actual, verdicts[i])) continue;
      for (std::size_t r = 0; r < actual.size(); ++r) {
        const auto where = [&] { return place(rules, static_cast<std::int64_t>(r)); };
        if (verdicts[i].passed() && actual[r].token != expected[r].token) {
          verdicts[i].fail(
              fmt::format("{}: token {} must be {}", where(), actual[r].token, expected[r].token));
        }
        verdicts[i].expect_bits(actual[r].probability, expected[r].probability, where);
      }
    }
  }

  /// Probabilities are those of float64 of the tokens that are kept.
  void check_probabilities(const Subject& subject, std::span<const std::string_view> isas,
                           const SamplingRule& rule, std::span<Verdict> verdicts) {
    if (!any_passed(verdicts)) return;
    std::vector<std::vector<double>> exact;
    for (std::int64_t r = 0; r < rows_.rows(); ++r) exact.push_back(kept_exactly(r, rule));
    for (std::size_t i = 0; i < isas.size(); ++i) {
      std::vector<proof::Drawn> actual;
      if (!verdicts[i].passed()) continue;
      if (!run(subject, isas[i], {&rule, 1}, actual, verdicts[i])) continue;
      for (std::size_t r = 0; r < actual.size(); ++r) {
        compare(actual[r], exact[r], verdicts[i], [&] {
          return place({&rule, 1}, static_cast<std::int64_t>(r));
        });
      }
    }
  }

 private:
  static const SamplingRule& rule_of(std::span<const SamplingRule> rules, std::int64_t row) {
    return rules[rules.size() == 1 ? 0 : static_cast<std::size_t>(row)];
  }
  const Draw& draw(std::int64_t row) const { return draws_[static_cast<std::size_t>(row)]; }

  std::string place(std::span<const SamplingRule> rules, std::int64_t row) const {
    return fmt::format(
        "{} logits of {}, row {} ({}), {}", case_.length, dtype_info(case_.type).name, row,
        proof::name_of(case_.kinds[static_cast<std::size_t>(row)]), describe(rule_of(rules, row)));
  }

  bool run(const Subject& subject, std::string_view isa, std::span<const SamplingRule> rules,
           std::vector<proof::Drawn>& drawn, Verdict& verdict) {
    const std::size_t count = draws_.size();
    std::vector<std::int32_t> tokens(count, -7);
    GuardedBuffer probabilities(count);
    const Status status = subject.sample(rows_.view(), rules, draws_,
                                         {tokens.data(), probabilities.data()}, {.isa = isa});
    if (!status) verdict.fail(place(rules, 0) + ": " + status.message());
    for (std::size_t r = 0; status.ok() && r < count; ++r) {
      drawn.push_back({tokens[r], probabilities.data()[r]});
      verdict.count_row();
    }
    return status.ok();
  }

  /// What the tokens that are kept weigh in float64, 0 of others.
  std::vector<double> kept_exactly(std::int64_t r, const SamplingRule& rule) {
    const std::vector<float> row = rows_.row(r);
    const std::vector<std::uint64_t> kept = proof::kept_weights(row, rule);
    std::vector<double> weights = proof::exact_weights(row, rule.temperature);
    for (std::size_t i = 0; i < weights.size(); ++i) {
      if (kept[i] == 0) weights[i] = 0;
    }
    return weights;
  }

  static void compare(const proof::Drawn& drawn, std::span<const double> exact, Verdict& verdict,
                      const Verdict::Where& where) {
    const auto error_of = [](double w) {
      return w == 0 ? 0 : 0x1p-41 + w * (std::abs(std::log2(w)) + 1) * 0x1p-22;
    };
    double total = 0, error = 0;
    for (const double w : exact) total += w, error += error_of(w);
    const auto token = static_cast<std::size_t>(drawn.token);
    if (token >= exact.size()) {
      return verdict.fail(fmt::format("{}: {} is no token", where(), drawn.token));
    }
    const double share = exact[token] / total;
    verdict.expect_within(
        drawn.probability, share,
        kSecondOrder * ((error_of(exact[token]) + share * error) / total + share * 0x1p-24), where);
  }

  SamplingCase case_;
  LogitRows rows_;
  std::vector<Draw> draws_;
};

std::vector<Kind> all_kinds() { return {proof::kLogitKinds.begin(), proof::kLogitKinds.end()}; }

/// Every rule alone, with each case, and then all rules in one call.
Check bits_check(std::string name, std::vector<SamplingCase> cases,
                 std::vector<SamplingRule> rules) {
  return {std::move(name), [cases = std::move(cases), rules = std::move(rules)](
                               const Subject& subject, std::span<const std::string_view> isas,
                               std::span<Verdict> verdicts) {
            std::uint64_t seed = 0;
            for (const SamplingCase& c : cases) {
              if (!any_passed(verdicts)) return;
              SamplingProof proof(c, ++seed);
              for (const SamplingRule& rule : rules) {
                proof.check_bits(subject, isas, {&rule, 1}, verdicts);
              }
              std::vector<SamplingRule> each;
              for (std::size_t r = 0; r < c.kinds.size(); ++r) {
                each.push_back(rules[r % rules.size()]);
              }
              proof.check_bits(subject, isas, each, verdicts);
            }
          }};
}

std::vector<SamplingCase> cases_of(std::span<const std::int64_t> lengths, DType type,
                                   const std::vector<Kind>& kinds) {
  std::vector<SamplingCase> cases;
  for (const std::int64_t length : lengths) cases.push_back({length, type, kinds});
  return cases;
}

constexpr std::array<std::int64_t, 10> kVocabularies = {1,   2,    7,    16,   33,
                                                        100, 2047, 2049, 5000, 20001};

Check single_rules() {
  return bits_check("drawn tokens", cases_of(kVocabularies, DType::f32, all_kinds()),
                    {{},
                     {.temperature = 0},
                     {.temperature = 0.3F},
                     {.temperature = 7},
                     {.temperature = kInfinity},
                     {.top_k = 1},
                     {.top_k = 40},
                     {.top_p = 0.01F},
                     {.top_p = 0.9F},
                     {.top_p = 0.999999F},
                     {.min_p = 0.1F},
                     {.min_p = 1}});
}

const std::vector<SamplingRule>& combined_rules() {
  static const std::vector<SamplingRule> rules = {
      {.top_k = 50, .top_p = 0.9F},
      {.top_k = 300, .min_p = 0.05F},
      {.top_p = 0.9F, .min_p = 0.3F},
      {.top_p = 0.7F, .min_p = 0.001F},
      {.temperature = 1.5F, .top_k = 40, .top_p = 0.8F},
      {.temperature = 0.8F, .top_k = 100, .top_p = 0.95F, .min_p = 0.02F},
      {.temperature = kInfinity, .top_k = 7, .top_p = 0.5F},
      {.temperature = kInfinity, .top_p = 0.3F, .min_p = 1}};
  return rules;
}

Check combinations() {
  return bits_check("drawn tokens, combinations", cases_of(kVocabularies, DType::f32, all_kinds()),
                    combined_rules());
}

Check narrow_logits() {
  constexpr std::array<std::int64_t, 7> lengths = {1, 5, 16, 31, 100, 4097, 20000};
  std::vector<SamplingCase> cases = cases_of(lengths, DType::f16, all_kinds());
  std::ranges::move(cases_of(lengths, DType::bf16, all_kinds()), std::back_inserter(cases));
  return bits_check("drawn tokens, f16 and bf16", std::move(cases),
                    {{},
                     {.temperature = 0},
                     {.top_k = 20, .top_p = 0.9F},
                     {.top_p = 0.6F},
                     {.temperature = 0.8F, .top_k = 100, .top_p = 0.95F, .min_p = 0.02F}});
}

/// Rows of which only a part is listed, after a look at some of their logits.
Check long_rows() {
  constexpr std::array<std::int64_t, 2> lengths = {128256, 262144};
  return bits_check(
      "drawn tokens, long rows",
      cases_of(lengths, DType::f32,
               {Kind::flat, Kind::sharp, Kind::few_values, Kind::masked, Kind::misleading}),
      {{},
       {.temperature = 0},
       {.top_k = 50},
       {.top_p = 0.9F},
       {.temperature = 0.8F, .top_k = 1000, .top_p = 0.95F, .min_p = 0.05F}});
}

Check probabilities() {
  const auto run = [](const Subject& subject, std::span<const std::string_view> isas,
                      std::span<Verdict> verdicts) {
    std::uint64_t seed = 0;
    const std::vector<Kind> kinds(20, Kind::sharp);
    for (const SamplingCase& c : cases_of(kVocabularies, DType::f32, kinds)) {
      if (!any_passed(verdicts)) return;
      SamplingProof proof(c, ++seed);
      for (const SamplingRule& rule :
           {SamplingRule{}, SamplingRule{.temperature = 0.5F}, SamplingRule{.temperature = 4},
            SamplingRule{.temperature = 1.5F, .top_k = 40, .top_p = 0.9F, .min_p = 0.01F}}) {
        proof.check_probabilities(subject, isas, rule, verdicts);
      }
    }
  };
  return {"drawn tokens, probabilities", run};
}

}  // namespace

std::vector<Check> sampling_checks() {
  return {single_rules(), combinations(), narrow_logits(), long_rows(), probabilities()};
}

}  // namespace heed::tools
