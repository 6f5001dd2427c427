// Element types taken literally, one element at a time: what the bits of each mean, and the nearest
// bits to a number.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "heed/tensor_data.h"

namespace heed::proof {

/// The floats that the elements from `data` on widen to. Those of f32 are given in place; others
/// are kept in `buffer`.
std::span<const float> floats_of(const InputData& data, std::int64_t count,
                                 std::vector<float>& buffer);

/// Writes the nearest elements to `floats`, whole blocks of them, ties to the even code, as
/// heed::append does (include/heed/kv_cache.h).
void narrow(std::span<const float> floats, const OutputData& data);

}  // namespace heed::proof
