// Matrices for the tests of softmax, and comparing what comes out.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <span>
#include <string_view>

#include "heed/softmax.h"
#include "tests/proof/guarded_buffer.h"
#include "tests/proof/softmax_reference.h"

namespace heed::tests {

/// Rows of any stride, backwards too, between guard pages. Elements are NaN until they are filled.
class Matrix {
 public:
  using Touching = proof::GuardedBuffer::Touching;

  Matrix(std::int64_t rows, std::int64_t length, std::int64_t stride,
         Touching touching = Touching::end);
  Matrix(std::int64_t rows, std::int64_t length) : Matrix(rows, length, length) {}

  std::int64_t rows() const { return rows_; }
  std::int64_t length() const { return length_; }
  std::span<float> row(std::int64_t r);
  ConstRows read() { return {first_, rows_, length_, stride_}; }
  Rows write() { return {first_, rows_, length_, stride_}; }

  /// Every element = value().
  void fill(const std::function<float()>& value);
  /// The same elements in the same rows of a matrix of the same shape.
  void copy_from(Matrix& other);
  /// Fails the test where an element between rows is not NaN any more.
  void expect_gaps_untouched();

 private:
  proof::GuardedBuffer buffer_;
  std::int64_t rows_, length_, stride_;
  float* first_;
};

/// Lanes of a supported ISA.
int lanes_of(std::string_view isa);

/// Within the bound of the exact number; infinite where that is beyond the range of float.
bool within(float result, const Bounded& expected);
void expect_row_within(std::span<const float> result, std::span<const Bounded> expected);
void expect_same_bits(std::span<const float> a, std::span<const float> b);
void expect_all_nan(std::span<const float> row);

}  // namespace heed::tests
