#include "runtime/cpu/cpu.h"

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <string>

#include "runtime/cpu/control_groups.h"
#include "runtime/cpu/features.h"
#include "runtime/cpu/machine.h"

namespace heed {
namespace {

/// The lowest of the CPUs that share a core with `cpu`, which stands for the core; −1 where the
/// system does not tell.
int first_of_core(const std::string& folder, int cpu) {
  const std::string path = folder + "/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list";
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return -1;
  char text[32];  // "0,64" or "0-1": what counts is the number that comes first
  const ssize_t length = read(file, text, sizeof text);
  close(file);
  int first = -1;
  if (length > 0) std::from_chars(text, text + length, first);
  return first < detail::CpuSet::kMostCpus ? first : -1;
}

}  // namespace

namespace detail {

int count_cores(const CpuSet& cpus, const std::string& folder) {
  CpuSet firsts;
  for (int cpu = 0; cpu < CpuSet::kMostCpus; ++cpu) {
    if (!cpus.has(cpu)) continue;
    const int first = first_of_core(folder, cpu);
    if (first < 0) return 0;
    firsts.add(first);
  }
  return firsts.count();
}

int workers_for(int logical_cpus, double cpu_quota) noexcept {
  const int cpus = std::max(logical_cpus, 1);
  if (cpu_quota <= 0 || cpu_quota >= cpus) return cpus;
  return std::max(static_cast<int>(std::ceil(cpu_quota)), 1);
}

}  // namespace detail

namespace {

/// What takes no memory to find out.
CpuInfo read_numbers(detail::CpuSet& usable_cpus) noexcept {
  CpuInfo info;
  const bool known = sched_getaffinity(0, sizeof usable_cpus.words, usable_cpus.words) == 0;
  info.logical_cpus = known ? usable_cpus.count() : 1;
  info.default_workers = detail::workers_for(info.logical_cpus, 0);
  const std::int64_t pages = sysconf(_SC_PHYS_PAGES), page_bytes = sysconf(_SC_PAGE_SIZE);
  info.memory_bytes = pages > 0 && page_bytes > 0 ? pages * page_bytes : 0;
  detail::read_machine_caches(info);
  return info;
}

void apply_limits(CpuInfo& info, const detail::GroupLimits& limits) {
  info.cpu_quota = limits.cpus;
  info.default_workers = detail::workers_for(info.logical_cpus, limits.cpus);
  if (limits.memory_bytes > 0 &&
      (info.memory_bytes == 0 || limits.memory_bytes < info.memory_bytes)) {
    info.memory_bytes = limits.memory_bytes;
  }
}

CpuInfo read_cpu_info() {
  detail::CpuSet usable_cpus;
  CpuInfo info = read_numbers(usable_cpus);
  apply_limits(info, detail::read_group_limits(""));
  info.physical_cores = detail::count_cores(usable_cpus, "/sys/devices/system/cpu");
  info.vendor = detail::machine_vendor();
  info.model = detail::machine_model();
  const detail::FeatureSet usable = detail::machine_features();
  for (int i = 0; i < detail::kFeatures; ++i) {
    const auto feature = static_cast<detail::Feature>(i);
    if (usable.has(feature)) info.features.push_back(detail::feature_name(feature));
  }
  return info;
}

const CpuInfo& numbers_only() noexcept {
  static const CpuInfo info = [] {
    detail::CpuSet usable_cpus;
    return read_numbers(usable_cpus);
  }();
  return info;
}

}  // namespace

const CpuInfo& cpu_info() noexcept {
  try {
    static const CpuInfo info = read_cpu_info();  // a call that throws here leaves it to the next
    return info;
  } catch (...) {
    return numbers_only();
  }
}

}  // namespace heed
