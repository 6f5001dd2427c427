// NumPy's .npy files of float32 arrays.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "heed/status.h"

namespace heed::tools {

/// An array in C order: the last index is contiguous.
struct Array {
  std::vector<std::int64_t> shape;
  std::vector<float> data;
};

/// Reads a file of version 1.0, 2.0 or 3.0, either byte order, C or Fortran order, of any shape.
/// Fails with a sentence that begins with the path where the file is anything else, is too short,
/// or goes on after the array. May throw std::bad_alloc.
Status read_npy(const std::string& path, Array& array);

}  // namespace heed::tools
