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
};

/// How 16-bit integers are read: not at all, or as the bits of bfloat16, which NumPy does not have.
enum class Words { refused, bfloat16 };

/// Reads a file of version 1.0, 2.0 or 3.0, either byte order, C or Fortran order, of any shape.
/// Fails with a sentence that begins with the path where the file is anything else, is too short,
/// or goes on after the array. May throw std::bad_alloc.
/// float64 is rounded to float32. With Words::bfloat16 nothing but uint16 is read.
Status read_npy(const std::string& path, Array& array, Words words = Words::refused);

}  // namespace heed::tools
