// How far results lie from float64, on sampled rows.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "heed/attention.h"
#include "tests/proof/geometry.h"

namespace heed::bench {

struct Accuracy {
  double max_error = 0;  ///< largest |result − float64|
  std::string fault;     ///< the first row beyond its bound, in words; empty where there is none
};

/// Compares sampled rows of tensors.out with the float64 reference and its derived bound.
Accuracy check_attention(const proof::Geometry& geometry, const AttentionTensors& tensors);

/// Compares sampled rows of y = softmax(x), both contiguous with rows of `length`.
Accuracy check_softmax(std::span<const float> x, std::span<const float> y, std::int64_t length);

}  // namespace heed::bench
