#include "tests/support/softmax_matrix.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "runtime/cpu/dispatch.h"
#include "tests/support/attention_run.h"

namespace heed::tests {
namespace {

std::size_t span_of(std::int64_t rows, std::int64_t length, std::int64_t stride) {
  return rows == 0 ? 0 : static_cast<std::size_t>((rows - 1) * std::abs(stride) + length);
}

}  // namespace

Matrix::Matrix(std::int64_t rows, std::int64_t length, std::int64_t stride, Touching touching)
    : buffer_(span_of(rows, length, stride), touching),
      rows_(rows),
      length_(length),
      stride_(stride),
      first_(buffer_.data() + (stride < 0 && rows > 1 ? (1 - rows) * stride : 0)) {}

std::span<float> Matrix::row(std::int64_t r) {
  return {first_ + r * stride_, static_cast<std::size_t>(length_)};
}

void Matrix::fill(const std::function<float()>& value) {
  for (std::int64_t r = 0; r < rows_; ++r) std::generate(row(r).begin(), row(r).end(), value);
}

void Matrix::copy_from(Matrix& other) {
  for (std::int64_t r = 0; r < rows_; ++r) std::ranges::copy(other.row(r), row(r).begin());
}

void Matrix::expect_gaps_untouched() {
  const std::int64_t step = std::abs(stride_);
  for (std::int64_t i = 0; i < static_cast<std::int64_t>(buffer_.size()); ++i) {
    if (i % std::max<std::int64_t>(step, 1) < length_) continue;
    ASSERT_TRUE(std::isnan(buffer_.data()[i])) << "element " << i << " lies between rows";
  }
}

int lanes_of(std::string_view isa) {
  const kernels::KernelTable* table = nullptr;
  EXPECT_TRUE(detail::select_kernels(isa, table).ok());
  return table->lanes;
}

bool within(float result, const Bounded& expected) {
  constexpr double largest = std::numeric_limits<float>::max();
  if (std::isinf(result) && !std::isinf(expected.exact)) {
    return std::signbit(result) == std::signbit(expected.exact) &&
           std::abs(expected.exact) + expected.bound > largest;
  }
  if (std::isinf(expected.exact)) return static_cast<double>(result) == expected.exact;
  return std::abs(static_cast<double>(result) - expected.exact) <= expected.bound;
}

void expect_row_within(std::span<const float> result, std::span<const Bounded> expected) {
  ASSERT_EQ(result.size(), expected.size());
  for (std::size_t i = 0; i < result.size(); ++i) {
    ASSERT_TRUE(within(result[i], expected[i]))
        << "element " << i << " of " << result.size() << ": " << result[i] << " instead of "
        << expected[i].exact << " ± " << expected[i].bound;
  }
}

void expect_same_bits(std::span<const float> a, std::span<const float> b) {
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    ASSERT_TRUE(same_bits(a[i], b[i])) << "element " << i << ": " << a[i] << " and " << b[i];
  }
}

void expect_all_nan(std::span<const float> row) {
  for (std::size_t i = 0; i < row.size(); ++i) {
    ASSERT_TRUE(std::isnan(row[i])) << "element " << i << ": " << row[i];
  }
}

}  // namespace heed::tests
