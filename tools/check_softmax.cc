// What `heed check` proves of softmax and its relatives, against float64.
//
// tools/softmax_exact.h has the bounds of softmax, log-softmax and LSE.
//
// Gradients, given y and dy as they are; their sums run over terms rounded once more:
//   softmax      |y_i·f|·(71·ε·Σ|y·dy| + 4·ε·|dy_i − Σ y·dy|)
//   log-softmax  |f|·(exp(y_i)·(70·ε·Σ|dy| + 6·ε·|Σ dy|) + 3·ε·|dy_i − exp(y_i)·Σ dy|)
//   T            tests/proof/softmax_reference.h, for 4 lanes
// What the second order adds is below a hundredth of these.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/proof/guarded_buffer.h"
#include "tests/proof/inputs.h"
#include "tests/proof/numbers.h"
#include "tests/proof/softmax_reference.h"
#include "tools/softmax_exact.h"
#include "tools/verdict.h"

namespace heed::tools {
namespace {

using proof::GuardedBuffer;

using proof::kInfinity;

struct SoftmaxCase {
  std::int64_t length = 0;
  float scale = 1, temperature = 1;
  double size = 1;      ///< of the inputs
  bool masked = false;  ///< about half of the entries, and all of the last row
  bool in_place = false;
};

constexpr std::int64_t kRows = 3;

std::string describe(const SoftmaxCase& c) {
  return fmt::format("length {}, scale {}, temperature {}, inputs of size {}{}{}", c.length,
                     c.scale, c.temperature, c.size, c.masked ? ", masked" : "",
                     c.in_place ? ", in place" : "");
}

/// A matrix with gaps between its rows, and guard pages around it.
class Matrix {
 public:
  explicit Matrix(std::int64_t length)
      : length_(length),
        stride_(length + 5),
        buffer_(static_cast<std::size_t>((kRows - 1) * stride_ + length)) {}

  std::span<float> row(std::int64_t r) {
    return {buffer_.data() + r * stride_, static_cast<std::size_t>(length_)};
  }
  ConstRows view() const { return {buffer_.data(), kRows, length_, stride_}; }
  Rows output() { return {buffer_.data(), kRows, length_, stride_}; }
  void fill_from(Matrix& other) {
    for (std::int64_t r = 0; r < kRows; ++r) std::ranges::copy(other.row(r), row(r).begin());
  }

 private:
  std::int64_t length_, stride_;
  GuardedBuffer buffer_;
};

Matrix random_matrix(const SoftmaxCase& c, std::uint64_t seed) {
  proof::Random random(seed);
  Matrix x(c.length);
  for (std::int64_t r = 0; r < kRows; ++r) {
    for (float& entry : x.row(r)) {
      entry = static_cast<float>(c.size * random.normal());
      if (c.masked && (r == kRows - 1 || random.below(2) == 0)) entry = -kInfinity;
    }
  }
  return x;
}

/// One case of the three softmax operators, and what it must give.
class MapProof {
 public:
  MapProof(const SoftmaxCase& c, std::uint64_t seed) : case_(c), x_(random_matrix(c, seed)) {
    for (std::int64_t r = 0; r < kRows; ++r) {
      exact_.push_back(exact_row(x_.row(r), c.scale, c.temperature));
    }
  }

  void check(const Subject& subject, std::string_view isa, Verdict& verdict) {
    SoftmaxOptions options;
    options.scale = case_.scale;
    options.temperature = case_.temperature;
    options.isa = isa;
    check_map(subject.softmax, options, "softmax", &ExactRow::y, &ExactRow::y_bounds, verdict);
    check_map(subject.log_softmax, options, "log-softmax", &ExactRow::log_y,
              &ExactRow::log_y_bounds, verdict);
    check_lse(subject, options, verdict);
  }

 private:
  void check_map(const Subject::Map& map, const SoftmaxOptions& options, std::string_view name,
                 std::vector<double> ExactRow::*values, std::vector<double> ExactRow::*bounds,
                 Verdict& verdict) {
    Matrix y(case_.length);
    y.fill_from(x_);
    const Status status = map(case_.in_place ? y.view() : x_.view(), y.output(), options);
    if (!status) return verdict.fail(where(name) + ": " + status.message());
    for (std::int64_t r = 0; r < kRows; ++r) {
      const ExactRow& exact = exact_[static_cast<std::size_t>(r)];
      verdict.count_row();
      for (std::size_t i = 0; i < y.row(r).size(); ++i) {
        verdict.expect_within(y.row(r)[i], (exact.*values)[i], (exact.*bounds)[i], [&] {
          return fmt::format("{}: row {}, element {}", where(name), r, i);
        });
      }
    }
  }

  void check_lse(const Subject& subject, const SoftmaxOptions& options, Verdict& verdict) {
    GuardedBuffer lse(kRows);
    const Status status = subject.log_sum_exp(x_.view(), lse.data(), options);
    if (!status) return verdict.fail(where("log-sum-exp") + ": " + status.message());
    for (std::size_t r = 0; r < kRows; ++r) {
      const bool undefined = case_.temperature == 0 && exact_[r].lse > -INFINITY;
      const auto at = [&] { return fmt::format("{}: row {}", where("log-sum-exp"), r); };
      verdict.count_row();
      if (undefined) {
        verdict.expect_bits(lse.data()[r], std::numeric_limits<float>::quiet_NaN(), at);
      } else {
        verdict.expect_within(lse.data()[r], exact_[r].lse, exact_[r].lse_bound, at);
      }
    }
  }

  std::string where(std::string_view name) const {
    return fmt::format("{}: {}", name, describe(case_));
  }

  SoftmaxCase case_;
  Matrix x_;
  std::vector<ExactRow> exact_;
};

/// One case of the two gradients.
class GradientProof {
 public:
  GradientProof(const SoftmaxCase& c, std::uint64_t seed)
      : case_(c),
        y_(c.length),
        log_y_(c.length),
        dy_(random_matrix({.length = c.length}, seed + 1)) {
    Matrix x = random_matrix(c, seed);
    for (std::int64_t r = 0; r < kRows; ++r) {
      const ExactRow exact = exact_row(x.row(r), c.scale, c.temperature);
      const auto to_float = [](double value) { return static_cast<float>(value); };
      std::ranges::transform(exact.y, y_.row(r).begin(), to_float);
      std::ranges::transform(exact.log_y, log_y_.row(r).begin(), to_float);
    }
  }

  void check(const Subject& subject, std::string_view isa, Verdict& verdict) {
    check_one(subject.softmax_gradient, isa, false, verdict);
    check_one(subject.log_softmax_gradient, isa, true, verdict);
  }

 private:
  void check_one(const Subject::Gradient& gradient, std::string_view isa, bool logarithmic,
                 Verdict& verdict) {
    SoftmaxOptions options;
    options.scale = case_.scale;
    options.temperature = case_.temperature;
    options.isa = isa;
    Matrix& y = logarithmic ? log_y_ : y_;
    Matrix dx(case_.length);
    dx.fill_from(dy_);
    const ConstRows dy = case_.in_place ? dx.view() : dy_.view();
    const std::string name =
        fmt::format("gradient of {}softmax: {}", logarithmic ? "log-" : "", describe(case_));
    GuardedBuffer dt(kRows);
    const Status status = gradient(y.view(), dy, dx.output(), dt.data(), options);
    if (!status) return verdict.fail(name + ": " + status.message());
    for (std::int64_t r = 0; r < kRows; ++r) {
      verdict.count_row();
      compare_temperature(y.row(r), dy_.row(r), dt.data()[r], logarithmic, verdict,
                          [&] { return fmt::format("{}: T of row {}", name, r); });
      compare_row(y.row(r), dy_.row(r), dx.row(r), logarithmic, verdict,
                  [&] { return fmt::format("{}: row {}", name, r); });
    }
  }

  void compare_temperature(std::span<const float> y, std::span<const float> dy, float dt,
                           bool logarithmic, Verdict& verdict, const Verdict::Where& where) const {
    const auto reference = logarithmic ? tests::log_softmax_temperature_gradient_reference
                                       : tests::softmax_temperature_gradient_reference;
    const tests::Bounded exact = reference(y, dy, case_.temperature, 4);
    verdict.expect_within(dt, exact.exact, exact.bound, where);
  }

  void compare_row(std::span<const float> y, std::span<const float> dy, std::span<const float> dx,
                   bool logarithmic, Verdict& verdict, const Verdict::Where& where) const {
    const double factor = static_cast<double>(case_.scale) / case_.temperature;
    double sum = 0, absolute = 0;
    for (std::size_t i = 0; i < y.size(); ++i) {
      const double term = logarithmic ? dy[i] : static_cast<double>(y[i]) * dy[i];
      sum += term;
      absolute += std::abs(term);
    }
    for (std::size_t i = 0; i < y.size(); ++i) {
      const double weight = logarithmic ? std::exp(static_cast<double>(y[i])) : y[i];
      const double inner = logarithmic ? dy[i] - weight * sum : dy[i] - sum;
      const double exact = factor * (logarithmic ? inner : weight * inner);
      const double bound = logarithmic
                               ? weight * (70 * absolute + 6 * std::abs(sum)) + 3 * std::abs(inner)
                               : weight * (71 * absolute + 4 * std::abs(inner));
      verdict.expect_within(dx[i], exact,
                            kSecondOrder * kEpsilon * std::abs(factor) * bound + 0x1p-147, where);
    }
  }

  SoftmaxCase case_;
  Matrix y_, log_y_, dy_;
};

template <class Proof>
Check make_check(std::string name, std::vector<SoftmaxCase> cases) {
  return {std::move(name),
          [cases = std::move(cases)](const Subject& subject, std::span<const std::string_view> isas,
                                     std::span<Verdict> verdicts) {
            std::uint64_t seed = 0;
            for (const SoftmaxCase& c : cases) {
              if (!any_passed(verdicts)) return;
              Proof proof(c, ++seed);
              for (std::size_t i = 0; i < isas.size(); ++i) {
                if (verdicts[i].passed()) proof.check(subject, isas[i], verdicts[i]);
              }
            }
          }};
}

constexpr std::array<std::int64_t, 12> kLengths = {0,  1,  3,   7,    16,   17,
                                                   33, 64, 100, 1000, 5001, 70001};

std::vector<SoftmaxCase> cases_of_lengths() {
  std::vector<SoftmaxCase> cases;
  for (const std::int64_t length : kLengths) {
    for (const double size : {1.0, 30.0}) {
      cases.push_back({.length = length, .size = size});
      cases.push_back({.length = length,
                       .scale = -0.7F,
                       .temperature = 1.3F,
                       .size = size,
                       .masked = true,
                       .in_place = true});
    }
  }
  return cases;
}

Check softmax_lengths() { return make_check<MapProof>("softmax", cases_of_lengths()); }

Check softmax_temperatures() {
  std::vector<SoftmaxCase> cases;
  for (const float temperature : {0.0F, 0.01F, 4.0F, kInfinity}) {
    for (const std::int64_t length : {std::int64_t{1}, std::int64_t{37}, std::int64_t{1500}}) {
      cases.push_back({.length = length, .scale = 1.5F, .temperature = temperature});
      cases.push_back(
          {.length = length, .temperature = temperature, .masked = true, .in_place = true});
    }
  }
  return make_check<MapProof>("softmax, temperature", std::move(cases));
}

Check gradients() { return make_check<GradientProof>("softmax gradients", cases_of_lengths()); }

/// Every exponential comes out of the gradient of log-softmax where dy is 0 but for a last −1:
/// dx_i = 0 − exp(y_i)·(−1), without another rounding.
Check exponential() {
  const auto run = [](const Subject& subject, std::span<const std::string_view> isas,
                      std::span<Verdict> verdicts) {
    constexpr std::size_t kSteps = std::size_t{1} << 20;
    constexpr double kLowest = -104, kHighest = 88.7;
    GuardedBuffer y(kSteps + 1), dy(kSteps + 1), dx(kSteps + 1);
    for (std::size_t i = 0; i <= kSteps; ++i) {
      const double position = static_cast<double>(i) / static_cast<double>(kSteps);
      y.data()[i] = static_cast<float>(kLowest + (kHighest - kLowest) * position);
      dy.data()[i] = i == kSteps ? -1.0F : 0.0F;
    }
    const std::int64_t length = kSteps + 1;
    for (std::size_t n = 0; n < isas.size(); ++n) {
      SoftmaxOptions options;
      options.isa = isas[n];
      const Status status = subject.log_softmax_gradient(
          {y.data(), 1, length, length}, {dy.data(), 1, length, length},
          {dx.data(), 1, length, length}, nullptr, options);
      if (!status) {
        verdicts[n].fail("exp: " + status.message());
        continue;
      }
      verdicts[n].count_row();
      for (std::size_t i = 0; i < kSteps; ++i) {
        const double exact = std::exp(static_cast<double>(y.data()[i]));
        const double ulp = std::ldexp(1.0, std::max(std::ilogb(exact), -126) - 23);
        verdicts[n].expect_within(dx.data()[i], exact, 2 * ulp,
                                  [&] { return fmt::format("exp({:a})", y.data()[i]); });
      }
    }
  };
  return {"exponential, 2 ULP", run};
}

}  // namespace

std::vector<Check> softmax_checks() {
  return {softmax_lengths(), softmax_temperatures(), softmax_rows_check(), gradients(),
          exponential()};
}

}  // namespace heed::tools
