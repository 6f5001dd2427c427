// What is faster on the cores of one maker and slower on those of another, as measured. It decides
// in which order memory is read, and how heads are divided among items; never a result.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "runtime/cpu/features.h"

namespace heed::detail {

struct CoreTraits {
  std::string_view vendor;  ///< as machine_vendor() says it; empty: all others
  bool avx512 = true;       ///< whether cores that have it are meant, too
  /// Pieces of memory that decode reads in turn, a block of 16 or 32 rows of each, when it could
  /// read one after the other.
  std::int32_t streams = 1;
  /// Of several heads whose rows lie together in pages, decode reads as much of a page of each in
  /// turn as is a power of two, not a block.
  bool whole_pages = true;
  /// Decode reads the lines of f32 keys in the order in which they lie, before it uses them, in the
  /// place of prefetches into L1 and of touching pages of memory ahead; values that a single query
  /// row reads so come without any.
  bool reads_in_order = false;
};

/// Figures are of decode in one thread from memory, f32 (bench/README.md).
inline constexpr std::array kCoreTraits = {
    // A Xeon (model 167) has more lines under way in four streams than in one, and was 1.01 to 1.27
    // times as fast, before values came to L2 ahead. Two streams gained half as much; eight gained
    // no more, and lost 5% in huge pages with groups of four.
    CoreTraits{"GenuineIntel", true, 4, false},
    // An EPYC of the Zen 3 generation (model 1) is 1.1 to 1.3 times as fast with lines in order.
    // It gains nothing with narrow rows (bytes lose 5%) and with rows with gaps, which are read as
    // everywhere. This stands for cores before it, too, not measured.
    CoreTraits{"AuthenticAMD", false, 1, true, true},
    // An EPYC of the Zen 4 generation takes 1.1 times as long with four streams as with one, whose
    // pages of memory are touched ahead, and 1.02 to 1.12 times by blocks. This stands for all that
    // was not measured, too.
    CoreTraits{"", true, 1, true},
};

constexpr const CoreTraits& core_traits(std::string_view vendor, FeatureSet features) {
  for (const CoreTraits& traits : kCoreTraits) {
    if (!traits.avx512 && features.has(Feature::avx512f)) continue;
    if (traits.vendor.empty() || traits.vendor == vendor) return traits;
  }
  return kCoreTraits.back();
}

}  // namespace heed::detail
