#include "runtime/cpu/features.h"

#include <array>
#include <cstddef>

namespace heed::detail {

std::string_view feature_name(Feature feature) noexcept {
  static constexpr std::array<std::string_view, kFeatures> kNames = {
      "avx",        "avx2",     "fma",      "f16c",     "avxvnni",    "avx512f",
      "avx512cd",   "avx512bw", "avx512dq", "avx512vl", "avx512vnni", "avx512bf16",
      "avx512fp16", "amx-tile", "amx-int8", "amx-bf16", "neon",       "fp16",
      "dotprod",    "i8mm",     "bf16",     "sve"};
  return kNames[static_cast<std::size_t>(feature)];
}

}  // namespace heed::detail
