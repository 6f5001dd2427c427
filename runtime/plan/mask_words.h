// The elements of masks as words of bits: bit i of a word is that of the ith of 32 keys, and 1
// where it is visible.
#pragma once

#include <cstdint>

#include "heed/key_mask.h"
#include "kernels/interface.h"

namespace heed::detail {

inline constexpr std::int64_t kWordKeys = 32;
inline constexpr std::int64_t kPartitionWords = kernels::kPartitionKeys / kWordKeys;

/// The elements of a mask from one on, as words. Returns the first float that is neither 0 nor −∞.
std::int64_t pack_mask(const KeyMask& mask, std::int64_t first, std::int64_t count,
                       std::uint32_t* words);

/// The ones of the words of a partition. Those of each byte are added up over the words first, in
/// steps that compilers take for several words at a time.
std::int32_t ones_of_partition(const std::uint32_t* words);

}  // namespace heed::detail
