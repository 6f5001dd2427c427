// What `heed check` proves of rows with temperatures of their own, of masks, and of elements of 16
// bits: each row against float64, as if it were alone, were of floats, and had −∞ where it is
// hidden.
//
// A result of 16 bits is rounded once more: by 2^−11 of itself or 2^−25 in f16, 2^−8 or 2^−134 in
// bf16.
#include <fmt/format.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tests/proof/elements.h"
#include "tests/proof/guarded_buffer.h"
#include "tests/proof/inputs.h"
#include "tests/proof/numbers.h"
#include "tools/softmax_exact.h"
#include "tools/verdict.h"

namespace heed::tools {
namespace {

using proof::GuardedBuffer;

using proof::kInfinity;

/// Runs of one temperature, of one kind, and every change from one kind to another.
constexpr std::array<float, 9> kTemperatures = {1, 1, 0, kInfinity, 0.3F, 5, 5, kInfinity, 0};
constexpr auto kRowCount = static_cast<std::int64_t>(kTemperatures.size());

struct RowsCase {
  std::int64_t length = 0;
  DType x_type = DType::f32, y_type = DType::f32;
  bool hidden = false;  ///< by a mask, about half of the entries, and all of the last row
};

std::string describe(const RowsCase& c) {
  return fmt::format("length {}, {} to {}{}", c.length, dtype_info(c.x_type).name,
                     dtype_info(c.y_type).name, c.hidden ? ", with a mask" : "");
}

/// Rows of a type, one after the other, that end at a guard page.
class Elements {
 public:
  Elements(DType type, std::int64_t length)
      : type_(type),
        length_(length),
        buffer_(static_cast<std::size_t>((dtype_info(type).bytes(kRowCount * length) + 3) / 4)) {}

  ConstRows view() { return {at(0), kRowCount, length_, length_}; }
  Rows output() { return {at(0), kRowCount, length_, length_}; }
  OutputData at(std::int64_t row) {
    const std::int64_t bytes = dtype_info(type_).bytes(kRowCount * length_);
    auto* const end = reinterpret_cast<std::byte*>(buffer_.data() + buffer_.size());
    return OutputData(end - bytes, type_) + row * length_;
  }
  std::vector<float> row(std::int64_t r) {
    std::vector<float> buffer;
    const std::span<const float> floats = proof::floats_of(at(r), length_, buffer);
    return {floats.begin(), floats.end()};
  }

 private:
  DType type_;
  std::int64_t length_;
  GuardedBuffer buffer_;
};

class RowsProof {
 public:
  RowsProof(const RowsCase& c, std::uint64_t seed)
      : case_(c),
        x_(c.x_type, c.length),
        visible_(static_cast<std::size_t>(kRowCount * c.length), std::uint8_t{1}) {
    proof::Random random(seed);
    std::vector<float> row(static_cast<std::size_t>(c.length));
    for (std::int64_t r = 0; r < kRowCount; ++r) {
      for (float& entry : row) entry = static_cast<float>(4 * random.normal());
      proof::narrow(row, x_.at(r));
      row = x_.row(r);
      for (std::int64_t i = 0; c.hidden && i < c.length; ++i) {
        if (r + 1 < kRowCount && random.below(2) == 0) continue;
        visible_[static_cast<std::size_t>(r * c.length + i)] = 0;
        row[static_cast<std::size_t>(i)] = -kInfinity;
      }
      exact_.push_back(exact_row(row, kScale, kTemperatures[static_cast<std::size_t>(r)]));
    }
  }

  void check(const Subject& subject, std::string_view isa, Verdict& verdict) {
    SoftmaxOptions options;
    options.scale = kScale;
    options.temperatures = kTemperatures;
    if (case_.hidden) options.mask = {visible_.data(), case_.length};
    options.isa = isa;
    check_map(subject.softmax, options, "softmax", &ExactRow::y, &ExactRow::y_bounds, verdict);
    check_map(subject.log_softmax, options, "log-softmax", &ExactRow::log_y,
              &ExactRow::log_y_bounds, verdict);
    check_lse(subject, options, verdict);
  }

 private:
  static constexpr float kScale = 1.25F;

  double rounding(double exact) const {
    if (!std::isfinite(exact)) return 0;
    if (case_.y_type == DType::f16) return std::abs(exact) * 0x1p-11 + 0x1p-25;
    if (case_.y_type == DType::bf16) return std::abs(exact) * 0x1p-8 + 0x1p-134;
    return 0;
  }

  void check_map(const Subject::Map& map, const SoftmaxOptions& options, std::string_view name,
                 std::vector<double> ExactRow::*values, std::vector<double> ExactRow::*bounds,
                 Verdict& verdict) {
    Elements y(case_.y_type, case_.length);
    const Status status = map(x_.view(), y.output(), options);
    if (!status) return verdict.fail(where(name) + ": " + status.message());
    for (std::int64_t r = 0; r < kRowCount; ++r) {
      const ExactRow& exact = exact_[static_cast<std::size_t>(r)];
      const std::vector<float> row = y.row(r);
      verdict.count_row();
      for (std::size_t i = 0; i < row.size(); ++i) {
        const double value = (exact.*values)[i], bound = (exact.*bounds)[i];
        verdict.expect_within(row[i], value, bound + rounding(std::abs(value) + bound), [&] {
          return fmt::format("{}: row {}, element {}", where(name), r, i);
        });
      }
    }
  }

  void check_lse(const Subject& subject, const SoftmaxOptions& options, Verdict& verdict) {
    GuardedBuffer lse(kRowCount);
    const Status status = subject.log_sum_exp(x_.view(), lse.data(), options);
    if (!status) return verdict.fail(where("log-sum-exp") + ": " + status.message());
    for (std::size_t r = 0; r < exact_.size(); ++r) {
      const auto at = [&] { return fmt::format("{}: row {}", where("log-sum-exp"), r); };
      verdict.count_row();
      if (kTemperatures[r] == 0 && exact_[r].lse > -INFINITY) {
        verdict.expect_bits(lse.data()[r], std::numeric_limits<float>::quiet_NaN(), at);
      } else {
        verdict.expect_within(lse.data()[r], exact_[r].lse, exact_[r].lse_bound, at);
      }
    }
  }

  std::string where(std::string_view name) const {
    return fmt::format("{}, T of each row: {}", name, describe(case_));
  }

  RowsCase case_;
  Elements x_;
  std::vector<std::uint8_t> visible_;
  std::vector<ExactRow> exact_;
};

std::vector<RowsCase> cases() {
  std::vector<RowsCase> list;
  for (const std::int64_t length : {0, 1, 7, 33, 100, 9001}) {
    for (const DType x_type : {DType::f32, DType::f16, DType::bf16}) {
      for (const DType y_type : {DType::f32, DType::f16, DType::bf16}) {
        for (const bool hidden : {false, true}) {
          if (hidden || length < 9000) list.push_back({length, x_type, y_type, hidden});
        }
      }
    }
  }
  return list;
}

}  // namespace

Check softmax_rows_check() {
  return {"softmax, own T, mask, types",
          [](const Subject& subject, std::span<const std::string_view> isas,
             std::span<Verdict> verdicts) {
            std::uint64_t seed = 0;
            for (const RowsCase& c : cases()) {
              if (!any_passed(verdicts)) return;
              RowsProof proof(c, ++seed);
              for (std::size_t i = 0; i < isas.size(); ++i) {
                if (verdicts[i].passed()) proof.check(subject, isas[i], verdicts[i]);
              }
            }
          }};
}

}  // namespace heed::tools
