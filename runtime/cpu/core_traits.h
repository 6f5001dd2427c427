// What is faster on the cores of one maker and slower on those of another, as measured. It decides
// in which order memory is read, and never a result.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace heed::detail {

struct CoreTraits {
  std::string_view vendor;  ///< as machine_vendor() says it; empty: all others
  /// Pieces of memory that a core reads in turn, a block of 16 or 32 rows of each, when it could
  /// read one after the other.
  std::int32_t streams = 1;
};

/// Figures are of decode in one thread from memory, f32, with AVX2 and AVX-512 (bench/README.md).
inline constexpr std::array kCoreTraits = {
    // A Xeon (model 167) has more lines under way in four streams than in one, and is 1.01 to 1.27
    // times as fast. Two streams gain half as much; eight gain no more, and lose 5% in huge pages
    // with groups of four.
    CoreTraits{"GenuineIntel", 4},
    // An EPYC of the Zen 4 generation takes 0.96 to 1.15 times as long with four as with one
    // (AVX-512), 0.88 to 0.97 times in pages of 4 KiB and 0.97 to 1.05 times in huge ones (AVX2),
    // and 1.02 to 1.12 times where pages of tokens are not read whole. It stands for those that
    // were not measured.
    CoreTraits{"", 1},
};

constexpr const CoreTraits& core_traits(std::string_view vendor) {
  for (const CoreTraits& traits : kCoreTraits) {
    if (traits.vendor == vendor) return traits;
  }
  return kCoreTraits.back();
}

}  // namespace heed::detail
