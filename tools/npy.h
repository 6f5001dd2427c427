// NumPy's .npy files of floating-point arrays.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "heed/dtype.h"
#include "heed/status.h"

namespace heed::tools {

/// An array in C order: the last index is contiguous.
struct Array {
  std::vector<std::int64_t> shape;
  std::vector<float> data;
  DType type = DType::f32;  ///< f16 or bf16 where the file has such numbers
  bool boolean = false;     ///< numbers are 1 where the file's bool or uint8 are not 0, else 0
};

/// What integers a file may have: none; 16-bit ones that are the bits of bfloat16, which NumPy does
/// not have, and nothing else; or bool and uint8, beside floats.
enum class Words { refused, bfloat16, booleans };

/// Reads a file of version 1.0, 2.0 or 3.0, either byte order, C or Fortran order, of any shape.
/// Fails with a sentence that begins with the path where the file is anything else, is too short,
/// or goes on after the array. May throw std::bad_alloc.
/// float64 is rounded to float32. With Words::bfloat16 nothing but uint16 is read.
Status read_npy(const std::string& path, Array& array, Words words = Words::refused);

}  // namespace heed::tools
