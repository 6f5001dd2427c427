// The merges of byte-pair encoding.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

namespace heed::llama {

/// What two neighbours become.
struct Merge {
  std::int32_t id = -1;  ///< −1: they stay apart
  float score = 0;       ///< not NaN
};

/// Replaces the two neighbours of the best score by what they become, the first ones among equals,
/// until none become anything. Takes time n · log n for n ids.
void merge_neighbours(const std::function<Merge(std::int32_t left, std::int32_t right)>& merge_of,
                      std::vector<std::int32_t>& ids);

}  // namespace heed::llama
