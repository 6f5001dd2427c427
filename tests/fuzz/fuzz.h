// What the fuzz targets share. Each is a program of libFuzzer: tools/fuzz builds and runs it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace heed::tests {

/// Choices made by the bytes of an input; all 0 after its end.
class Choices {
 public:
  explicit Choices(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}

  bool ended() const { return at_ == bytes_.size(); }
  /// In 0 … n − 1; n ≥ 1.
  std::int64_t below(std::int64_t n);
  bool flip() { return below(2) == 1; }
  template <class T, std::size_t N>
  const T& pick(const T (&from)[N]) {
    return from[static_cast<std::size_t>(below(static_cast<std::int64_t>(N)))];
  }

 private:
  std::span<const std::uint8_t> bytes_;
  std::size_t at_ = 0;
};

/// The path of a file in memory that holds these bytes; until the next call.
std::string file_of(std::span<const std::uint8_t> bytes);

/// Ends the program, so that libFuzzer keeps the input.
void require(bool holds, const char* sentence);

}  // namespace heed::tests
