// What pieces of attention cost, in multiply-adds of one lane: what planning weighs them by.
#pragma once

#include <cstdint>

#include "kernels/abi.h"

namespace heed::detail {

/// A core does two vectors of multiply-adds per cycle.
struct CostModel {
  std::int32_t lanes = 1;
  std::int32_t head_dim = 0, value_head_dim = 0;

  /// Rows that see so many scores among them. Lanes without a row cost as much as others, also
  /// where the kernel for few rows has none: a line of 16 floats takes about eight cycles from
  /// memory (33 GB/s at 4.2 GHz), one vector for each float of a key or value. Each row is also
  /// packed, normalised and written once: about as much as ten keys.
  double attend(std::int64_t rows, std::int64_t scores) const {
    const auto filled =
        static_cast<double>(kernels::padded(static_cast<std::int32_t>(rows), lanes));
    const double dims = head_dim + value_head_dim;
    return filled * dims * (static_cast<double>(scores) / static_cast<double>(rows) + 10);
  }

  /// Merging the states of a split's partitions. They come from the caches of other cores, which
  /// takes half as long as from memory.
  double merge(std::int64_t rows, std::int64_t partitions) const {
    const std::size_t state =
        kernels::state_floats(value_head_dim, static_cast<std::int32_t>(rows));
    return static_cast<double>(partitions) * static_cast<double>(state) * lanes / 2;
  }
};

}  // namespace heed::detail
