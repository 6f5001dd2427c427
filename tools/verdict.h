// What a check finds.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tools/subject.h"

namespace heed::tools {

/// The same bits; any NaN equals any other.
bool same_bits(float a, float b);

/// The same bits, or neighbours among the floats.
bool within_one_ulp(float a, float b);

/// The outcome of one check on one ISA. Keeps the first fault in words, and the largest error.
class Verdict {
 public:
  bool passed() const { return fault_.empty(); }
  const std::string& fault() const { return fault_; }
  std::int64_t rows() const { return rows_; }
  /// The largest error as a share of its bound.
  double largest_share() const { return largest_share_; }

  void count_row() { ++rows_; }
  /// Where the first fault is: the case, then what is compared in it.
  using Where = std::function<std::string()>;
  void fail(const std::string& sentence);
  void expect_bits(float actual, float expected, const Where& where);
  void expect_one_ulp(float actual, float expected, const Where& where);
  /// |actual − exact| ≤ bound. NaN is no number within any bound; equal infinities are no error.
  void expect_within(double actual, double exact, double bound, const Where& where);

 private:
  std::int64_t rows_ = 0;
  double largest_share_ = 0;
  std::string fault_;
};

/// Whether one of several ISAs has no fault yet. Checks leave an ISA at its first fault, and end
/// where none is left.
bool any_passed(std::span<const Verdict> verdicts);

/// One line of the table. `run` fills one verdict per ISA, whose rows are those of the cases up to
/// its first fault.
struct Check {
  std::string name;
  std::function<void(const Subject& subject, std::span<const std::string_view> isas,
                     std::span<Verdict> verdicts)>
      run;
};

/// Attention: the same bits as the scalar canonical row, and within derived bounds of float64.
std::vector<Check> attention_checks();

/// Softmax, its relatives and their exponential: within derived bounds of float64.
std::vector<Check> softmax_checks();

/// Drawing tokens: those of a reference that sorts, and probabilities within bounds of float64.
std::vector<Check> sampling_checks();

}  // namespace heed::tools
