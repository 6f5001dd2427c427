// What cpu_info() is made of, with its sources as arguments.
#pragma once

#include <sched.h>

#include <cstddef>
#include <string>

namespace heed::detail {

/// CPUs by the numbers that Linux gives them.
struct CpuSet {
  /// More than any kernel is configured for: the system refuses to fill a smaller set than its own.
  static constexpr int kMostCpus = 65536;
  cpu_set_t words[kMostCpus / 8 / sizeof(cpu_set_t)] = {};

  /// The number must be from 0 to kMostCpus − 1.
  void add(int cpu) { CPU_SET_S(static_cast<std::size_t>(cpu), sizeof words, words); }
  bool has(int cpu) const {
    return CPU_ISSET_S(static_cast<std::size_t>(cpu), sizeof words, words) != 0;
  }
  int count() const { return CPU_COUNT_S(sizeof words, words); }
};

/// The number of cores that these CPUs belong to, or 0 where `folder`, Linux's
/// /sys/devices/system/cpu, does not tell. CPUID tells it of the core that runs it only, and the
/// cores of one machine may differ in their threads.
int count_cores(const CpuSet& cpus, const std::string& folder);

/// CpuInfo::default_workers of these CPUs and this quota.
int workers_for(int logical_cpus, double cpu_quota) noexcept;

}  // namespace heed::detail
