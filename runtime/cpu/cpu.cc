#include "runtime/cpu/cpu.h"

#include <cpuid.h>
#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <string>

#include "runtime/cpu/control_groups.h"
#include "runtime/cpu/features.h"

namespace heed {
namespace {

using Registers = detail::CpuidRegisters;

bool read_leaf(std::uint32_t leaf, std::uint32_t subleaf, Registers& r) {
  return __get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx) != 0;
}

void append(std::string& text, unsigned value) {
  char bytes[sizeof value];
  std::memcpy(bytes, &value, sizeof value);
  text.append(bytes, sizeof value);
}

std::string read_model() {
  std::string model;
  for (unsigned leaf = 0x80000002U; leaf <= 0x80000004U; ++leaf) {
    Registers r;
    if (!read_leaf(leaf, 0, r)) return {};
    append(model, r.eax);
    append(model, r.ebx);
    append(model, r.ecx);
    append(model, r.edx);
  }
  model.resize(std::strlen(model.c_str()));
  const std::size_t first = model.find_first_not_of(' ');
  if (first == std::string::npos) return {};
  return model.substr(first, model.find_last_not_of(' ') - first + 1);
}

/// The caches of "deterministic cache parameters", which Intel keeps in leaf 4 and AMD, in the same
/// form, in 0x8000001D. True where `leaf` lists any.
bool read_cache_list(detail::ReadLeaf read, std::uint32_t leaf, CpuInfo& info) {
  constexpr unsigned kNone = 0;
  constexpr unsigned kInstructions = 2;
  constexpr unsigned kMostCaches = 16;
  Registers r;
  unsigned index = 0;
  for (; index < kMostCaches && read(leaf, index, r); ++index) {
    const unsigned type = r.eax & 0x1FU;
    if (type == kNone) break;
    if (type == kInstructions) continue;
    const std::int64_t ways = (r.ebx >> 22) + 1;
    const std::int64_t partitions = ((r.ebx >> 12) & 0x3FFU) + 1;
    const std::int64_t line = (r.ebx & 0xFFFU) + 1;
    const std::int64_t sets = std::int64_t{r.ecx} + 1;
    const std::int64_t bytes = ways * partitions * line * sets;
    switch ((r.eax >> 5) & 7U) {
      case 1:
        info.l1d_bytes = bytes;
        break;
      case 2:
        info.l2_bytes = bytes;
        break;
      case 3:
        info.l3_bytes = bytes;
        break;
      default:
        break;
    }
  }
  return index > 0;
}

/// The older leaves of AMD (Architecture Programmer's Manual, volume 3, appendix E.4), which
/// hypervisors offer more often than the list; Intel leaves these fields empty, but for the L2.
void read_cache_sizes(detail::ReadLeaf read, CpuInfo& info) {
  constexpr std::int64_t kKibibyte = 1 << 10, kL3Unit = 512 * kKibibyte;
  Registers r;
  if (read(0x80000005U, 0, r)) info.l1d_bytes = (r.ecx >> 24) * kKibibyte;
  if (!read(0x80000006U, 0, r)) return;
  info.l2_bytes = (r.ecx >> 16) * kKibibyte;
  info.l3_bytes = (r.edx >> 18) * kL3Unit;
}

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

void read_caches(ReadLeaf read_leaf, CpuInfo& info) noexcept {
  const bool listed =
      read_cache_list(read_leaf, 4, info) || read_cache_list(read_leaf, 0x8000001DU, info);
  if (!listed) read_cache_sizes(read_leaf, info);
}

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
  detail::read_caches(read_leaf, info);
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
  info.model = read_model();
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
