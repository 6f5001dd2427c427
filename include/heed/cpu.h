// What the processor offers, and which of heed's instruction sets (ISAs) it can run.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "heed/export.h"
#include "heed/status.h"

namespace heed {

/// One ISA that this build contains kernels for.
struct IsaInfo {
  std::string_view name;  ///< "avx512", "avx2", "generic"; also what HEED_ISA takes
  bool supported;         ///< the processor *and* the operating system provide every feature of it
  bool chosen;  ///< what a plan uses now: the best supported one, or the one HEED_ISA names
};

/// Every ISA of this build, best first. Empty where memory is exhausted.
HEED_API std::vector<IsaInfo> isas() noexcept;

/// The name of the ISA that a plan uses when its options name none: HEED_ISA where that is set and
/// not empty, else the best supported one. Fails with invalid_argument when HEED_ISA names an ISA
/// that does not exist, and with unsupported when this machine cannot run it: never a silent
/// fallback.
HEED_API Status chosen_isa(std::string_view& name) noexcept;

/// What CPUID and the operating system tell about this machine. Sizes are in bytes, per instance of
/// the cache, and 0 where unknown; some virtual AMD machines only tell the sum of all L3 caches.
struct CpuInfo {
  std::string vendor;    ///< "GenuineIntel"
  std::string model;     ///< the processor's brand string
  int logical_cpus = 0;  ///< that this process may run on
  /// That these CPUs belong to: fewer than logical_cpus where a core runs several threads. 0 where
  /// unknown.
  int physical_cores = 0;
  std::int64_t l1d_bytes = 0;
  std::int64_t l2_bytes = 0;
  std::int64_t l3_bytes = 0;
  std::vector<std::string_view> features;  ///< those of heed's feature list that are usable: "avx2"
};

/// Reads the processor's description; cheap after the first call.
HEED_API const CpuInfo& cpu_info() noexcept;

}  // namespace heed
