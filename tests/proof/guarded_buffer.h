// A buffer of floats with inaccessible pages on both sides: whoever reads or writes past it dies.
#pragma once

#include <cstddef>
#include <span>

namespace heed::proof {

class GuardedBuffer {
 public:
  /// Which edge of the buffer touches its guard page; the other one is within a page of its own,
  /// whose other floats are NaN.
  enum class Touching { end, start };

  /// All elements are NaN. Aborts the program where memory is lacking.
  explicit GuardedBuffer(std::size_t size = 0, Touching touching = Touching::end);
  ~GuardedBuffer();
  GuardedBuffer(GuardedBuffer&& other) noexcept;
  GuardedBuffer& operator=(GuardedBuffer&& other) noexcept;

  float* data() { return data_; }
  const float* data() const { return data_; }
  std::size_t size() const { return size_; }
  std::span<float> span() { return {data_, size_}; }
  std::span<const float> span() const { return {data_, size_}; }

 private:
  void* pages_ = nullptr;
  std::size_t bytes_ = 0;
  float* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace heed::proof
