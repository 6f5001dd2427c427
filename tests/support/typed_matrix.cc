#include "tests/support/typed_matrix.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "tests/proof/elements.h"

namespace heed::tests {
namespace {

constexpr std::uint8_t kUnwritten = 0xA5;

std::int64_t reach(std::int64_t rows, std::int64_t length, std::int64_t stride) {
  return rows == 0 ? 0 : (rows - 1) * std::abs(stride) + length;
}

std::int64_t size_of(DType type) { return dtype_info(type).bytes(1); }

}  // namespace

GuardedBytes::GuardedBytes(std::int64_t bytes, Matrix::Touching touching)
    : buffer_(static_cast<std::size_t>((bytes + 3) / 4), touching),
      data_(reinterpret_cast<std::uint8_t*>(buffer_.data())) {
  std::memset(data_, kUnwritten, 4 * buffer_.size());
  if (touching == Matrix::Touching::end) {
    data_ += 4 * static_cast<std::int64_t>(buffer_.size()) - bytes;
  }
}

TypedMatrix::TypedMatrix(DType type, std::int64_t rows, std::int64_t length, std::int64_t stride,
                         Matrix::Touching touching)
    : type_(type),
      rows_(rows),
      length_(length),
      stride_(stride),
      size_(size_of(type)),
      bytes_(reach(rows, length, stride) * size_, touching) {}

std::uint8_t* TypedMatrix::at(std::int64_t row) {
  const std::int64_t first = stride_ < 0 && rows_ > 1 ? (1 - rows_) * stride_ : 0;
  return bytes_.data() + (first + row * stride_) * size_;
}

void TypedMatrix::round_from(Matrix& floats) {
  for (std::int64_t r = 0; r < rows_; ++r) proof::narrow(floats.row(r), {at(r), type_});
}

std::vector<float> TypedMatrix::row(std::int64_t r) {
  std::vector<float> buffer;
  const auto floats = proof::floats_of({at(r), type_}, length_, buffer);
  return {floats.begin(), floats.end()};
}

void TypedMatrix::widen_to(Matrix& floats) {
  for (std::int64_t r = 0; r < rows_; ++r) std::ranges::copy(row(r), floats.row(r).begin());
}

void TypedMatrix::expect_gaps_untouched() {
  const std::int64_t step = std::max<std::int64_t>(std::abs(stride_), 1) * size_;
  for (std::int64_t i = 0; i < reach(rows_, length_, stride_) * size_; ++i) {
    if (i % step < length_ * size_) continue;
    ASSERT_EQ(bytes_.data()[i], kUnwritten) << "byte " << i << " lies between rows";
  }
}

MaskMatrix::MaskMatrix(std::int64_t rows, std::int64_t length, std::int64_t stride,
                       Matrix::Touching touching)
    : rows_(rows),
      length_(length),
      stride_(stride),
      bytes_(reach(rows, length, stride)),
      buffer_(bytes_, touching),
      first_(buffer_.data() + (stride < 0 && rows > 1 ? (1 - rows) * stride : 0)) {}

void MaskMatrix::fill(const std::function<std::uint8_t()>& value) {
  std::generate_n(buffer_.data(), bytes_, value);
}

void MaskMatrix::put_into(Matrix& x, float value) {
  for (std::int64_t r = 0; r < rows_; ++r) {
    for (std::int64_t i = 0; i < length_; ++i) {
      if (entry(r, i) == 0) x.row(r)[static_cast<std::size_t>(i)] = value;
    }
  }
}

void expect_rounded(TypedMatrix& result, Matrix& floats) {
  TypedMatrix rounded(result.read().data.type(), floats.rows(), floats.length());
  rounded.round_from(floats);
  for (std::int64_t r = 0; r < floats.rows(); ++r) expect_same_bits(result.row(r), rounded.row(r));
}

}  // namespace heed::tests
