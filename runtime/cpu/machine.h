// What this machine's processor tells of itself; a source for each architecture has the answers.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "heed/cpu.h"
#include "runtime/cpu/features.h"

namespace heed::detail {

/// The features that the processor and the operating system provide, read once.
FeatureSet machine_features() noexcept;

/// The name of the processor's vendor ("GenuineIntel", "AuthenticAMD", "ARM", "unknown"), read once
/// and valid for ever.
std::string_view machine_vendor() noexcept;

/// The processor's name, "" where it does not tell.
std::string machine_model();

/// Fills in the size of a cache for data, by its level; those beyond the third are left out.
inline void set_cache(CpuInfo& info, std::int64_t level, std::int64_t bytes) noexcept {
  if (level == 1) info.l1d_bytes = bytes;
  if (level == 2) info.l2_bytes = bytes;
  if (level == 3) info.l3_bytes = bytes;
}

/// Fills in the sizes of caches that the machine tells.
void read_machine_caches(CpuInfo& info) noexcept;

}  // namespace heed::detail
