// What the system tells of an aarch64 processor, with its answers as arguments.
#pragma once

#include <cstdint>
#include <string>

#include "heed/cpu.h"
#include "runtime/cpu/features.h"

namespace heed::detail {

/// The features of the system's words AT_HWCAP and AT_HWCAP2: those that it provides as well.
FeatureSet usable_features(std::uint64_t hwcap, std::uint64_t hwcap2) noexcept;

/// The name of a processor with this main identification (MIDR_EL1): "Neoverse-N1", or
/// "part 0xd4a" of one that heed does not know.
std::string model_of(std::uint64_t midr);

/// Fills in the sizes of caches that `folder`, Linux's /sys/devices/system/cpu/cpu0/cache, tells.
void read_caches(const char* folder, CpuInfo& info) noexcept;

}  // namespace heed::detail
