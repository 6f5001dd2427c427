// Matrices of f32, f16 and bf16, and masks of their entries, for the tests of softmax.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "heed/softmax.h"
#include "tests/proof/guarded_buffer.h"
#include "tests/support/softmax_matrix.h"

namespace heed::tests {

inline constexpr DType kSoftmaxTypes[] = {DType::f32, DType::f16, DType::bf16};

/// Bytes between guard pages, as Matrix has floats.
class GuardedBytes {
 public:
  GuardedBytes(std::int64_t bytes, Matrix::Touching touching);
  std::uint8_t* data() { return data_; }

 private:
  proof::GuardedBuffer buffer_;
  std::uint8_t* data_;
};

/// Rows of elements of a type. Bytes are 0xA5 until they are written.
class TypedMatrix {
 public:
  TypedMatrix(DType type, std::int64_t rows, std::int64_t length, std::int64_t stride,
              Matrix::Touching touching = Matrix::Touching::end);
  TypedMatrix(DType type, std::int64_t rows, std::int64_t length)
      : TypedMatrix(type, rows, length, length) {}

  ConstRows read() { return {{at(0), type_}, rows_, length_, stride_}; }
  Rows write() { return {{at(0), type_}, rows_, length_, stride_}; }
  /// The nearest elements to those of a matrix of the same shape.
  void round_from(Matrix& floats);
  /// The elements widened to a matrix of the same shape.
  void widen_to(Matrix& floats);
  std::vector<float> row(std::int64_t r);
  /// Fails the test where a byte between rows has changed.
  void expect_gaps_untouched();

 private:
  std::uint8_t* at(std::int64_t row);

  DType type_;
  std::int64_t rows_, length_, stride_, size_;
  GuardedBytes bytes_;
};

/// A mask of entries with rows `stride` bytes apart, which may be 0 or negative.
class MaskMatrix {
 public:
  MaskMatrix(std::int64_t rows, std::int64_t length, std::int64_t stride,
             Matrix::Touching touching = Matrix::Touching::end);

  EntryMask mask() { return {&entry(0, 0), stride_}; }
  std::uint8_t& entry(std::int64_t r, std::int64_t i) { return first_[r * stride_ + i]; }
  /// Every byte = value().
  void fill(const std::function<std::uint8_t()>& value);
  /// Gives hidden entries of a matrix such a value.
  void put_into(Matrix& x, float value);

 private:
  std::int64_t rows_, length_, stride_, bytes_;
  GuardedBytes buffer_;
  std::uint8_t* first_;
};

/// Fails the test where the rows of the one are not those of the other, rounded to its type.
void expect_rounded(TypedMatrix& result, Matrix& floats);

}  // namespace heed::tests
