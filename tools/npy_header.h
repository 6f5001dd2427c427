// The header of an .npy file: a Python dictionary literal with the keys descr, fortran_order and
// shape (NumPy, numpy/lib/format.py).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "heed/dtype.h"
#include "heed/status.h"

namespace heed::tools {

/// The numbers of a file: floating-point ones, words that may hold bfloat16, or bytes that say what
/// is true.
enum class NpyNumbers { float16, float32, float64, uint16, boolean };

struct NpyHeader {
  NpyNumbers numbers = NpyNumbers::float32;
  bool big_endian = false;
  bool fortran_order = false;
  std::vector<std::int64_t> shape;
};

/// Reads the dictionary. Fails where it is malformed or describes other numbers.
Status parse_npy_header(std::string_view text, NpyHeader& header);

/// All that comes before the data: magic, version 1.0, length, and the dictionary for little-endian
/// numbers in C order, padded so that the data begin at a multiple of 64 bytes, as NumPy does. Of
/// f32 and f16, and of bf16 as uint16.
std::string npy_prologue(std::span<const std::int64_t> shape, DType type = DType::f32);

/// A shape as Python writes it: "(2, 3)", "(3,)", "()".
std::string to_string(std::span<const std::int64_t> shape);

/// Elements of an array of this shape. Fails where their bytes exceed the address space.
Status count_elements(std::span<const std::int64_t> shape, std::int64_t& count);

}  // namespace heed::tools
