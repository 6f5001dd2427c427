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
  /// "avx512_bf16", "avx512", "avx2", "generic"; on aarch64 "neon". Also what HEED_ISA takes.
  std::string_view name;
  bool supported;  ///< the processor *and* the operating system provide every feature of it
  bool chosen;     ///< what a plan uses now: the best supported one, or the one HEED_ISA names; on
                   ///< Intel's processors, whose BF16 products are slow, avx512 before avx512_bf16
};

/// Every ISA of this build, best first. Empty where memory is exhausted.
HEED_API std::vector<IsaInfo> isas() noexcept;

/// The name of the ISA that a plan uses when its options name none: HEED_ISA where that is set and
/// not empty, else the best supported one. Fails with invalid_argument when HEED_ISA names an ISA
/// that does not exist, and with unsupported when this machine cannot run it: never a silent
/// fallback.
HEED_API Status chosen_isa(std::string_view& name) noexcept;

/// What the processor and the operating system tell about this machine, and what they leave this
/// process of it. Sizes of caches are in bytes, per instance of the cache, and 0 where unknown;
/// some virtual AMD machines only tell the sum of all L3 caches.
struct CpuInfo {
  std::string vendor;    ///< "GenuineIntel", "ARM", "unknown"
  std::string model;     ///< the processor's brand string; "Neoverse-N1", "part 0xd4a"
  int logical_cpus = 0;  ///< that this process may run on
  /// That these CPUs belong to: fewer than logical_cpus where a core runs several threads. 0 where
  /// unknown.
  int physical_cores = 0;
  /// CPUs' worth of time that control groups (cgroups v1 and v2, those around the process's own
  /// included) allow the process: 0.5 is half of one CPU's. 0: no limit.
  double cpu_quota = 0;
  /// Workers that heed plans for where a caller names none: as many as logical_cpus, or as the
  /// quota allows, rounded up, where these are fewer; at least 1.
  int default_workers = 1;
  /// Bytes of memory that this process may use: those of the machine, or fewer where a control
  /// group limits them. 0 where unknown.
  std::int64_t memory_bytes = 0;
  std::int64_t l1d_bytes = 0;
  std::int64_t l2_bytes = 0;
  std::int64_t l3_bytes = 0;
  std::vector<std::string_view> features;  ///< those of heed's feature list that are usable: "avx2"
};

/// Reads the processor's description and the process's limits once; cheap after the first call,
/// which later changes of limits do not reach. Where memory is exhausted some of it is missing,
/// until a call finds memory.
HEED_API const CpuInfo& cpu_info() noexcept;

}  // namespace heed
