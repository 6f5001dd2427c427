// Attention in float64, straight from the formula, two passes over the keys of one row at a time.
#pragma once

#include <cstdint>
#include <vector>

#include "tests/proof/geometry.h"

namespace heed::proof {

/// One row's exact result (to float64), and what bounds on a float32 one need to know.
struct ReferenceRow {
  std::vector<double> out;
  double lse = 0;  ///< NaN where T = 0
  std::int64_t visible_keys = 0;
  double largest_value = 0;  ///< |v|, over the visible keys
  double largest_logit = 0;  ///< |logit / T|, over the visible keys
  /// Σ_x |q_x · k_x| · |scale| / T: its largest and its weighted mean over the visible keys.
  double largest_terms = 0;
  double mean_terms = 0;
};

/// Computes one row. Only the inputs of `tensors` are read.
ReferenceRow reference_row(const Geometry& geometry, const AttentionTensors& tensors,
                           const Row& row);

}  // namespace heed::proof
