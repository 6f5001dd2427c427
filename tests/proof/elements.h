// Element types taken literally, one element at a time: what the bits of each mean, and the nearest
// bits to a number.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "heed/scales.h"
#include "heed/tensor_data.h"

namespace heed::proof {

/// The scales of a vector of int8 or int4: one for each `group` elements.
template <class Float>
struct RowScalesOf {
  Float* scales = nullptr;
  Float* zero_points = nullptr;  ///< null: all are 0
  std::int64_t group = 1;
};
using RowScales = RowScalesOf<const float>;
using MutableRowScales = RowScalesOf<float>;

/// The floats that the elements from `data` on widen to; of int8 and int4 their codes. Those of f32
/// are given in place; others are kept in `buffer`.
std::span<const float> floats_of(const InputData& data, std::int64_t count,
                                 std::vector<float>& buffer);

/// Writes the nearest elements to `floats`, whole blocks of them, ties to the even code, as
/// heed::append does (include/heed/kv_cache.h).
void narrow(std::span<const float> floats, const OutputData& data);

/// The same for one vector of any type; its scales are those of codes.
std::span<const float> floats_of(const InputData& data, const RowScales& scales, std::int64_t count,
                                 std::vector<float>& buffer);

/// Writes the codes of a vector of int8 or int4, and the scales of its groups or reads these.
void narrow(std::span<const float> floats, const OutputData& data, const MutableRowScales& scales,
            bool write_scales);

}  // namespace heed::proof
