#include "heed/cpu.h"

#include <cpuid.h>
#include <sched.h>

#include <cstddef>
#include <cstring>
#include <new>

#include "runtime/features.h"

namespace heed {
namespace {

struct Registers {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
};

/// False where the processor does not have the leaf.
bool read_leaf(unsigned leaf, unsigned subleaf, Registers& r) {
  return __get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx) != 0;
}

void append(std::string& text, unsigned value) {
  char bytes[sizeof value];
  std::memcpy(bytes, &value, sizeof value);
  text.append(bytes, sizeof value);
}

std::string read_vendor() {
  Registers r;
  std::string vendor;
  if (read_leaf(0, 0, r)) {
    append(vendor, r.ebx);
    append(vendor, r.edx);
    append(vendor, r.ecx);
  }
  return vendor;
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
bool read_caches(unsigned leaf, CpuInfo& info) {
  constexpr unsigned kNone = 0;
  constexpr unsigned kInstructions = 2;
  constexpr unsigned kMostCaches = 16;
  Registers r;
  unsigned index = 0;
  for (; index < kMostCaches && read_leaf(leaf, index, r); ++index) {
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

int count_cpus() {
  // More than any kernel is configured for: a smaller set would make the call fail there.
  constexpr std::size_t kMostCpus = 65536;
  cpu_set_t set[kMostCpus / 8 / sizeof(cpu_set_t)];
  if (sched_getaffinity(0, sizeof set, set) != 0) return 1;
  return CPU_COUNT_S(sizeof set, set);
}

CpuInfo read_cpu_info() noexcept {
  CpuInfo info;
  info.logical_cpus = count_cpus();
  if (!read_caches(4, info)) read_caches(0x8000001DU, info);
  try {
    info.vendor = read_vendor();
    info.model = read_model();
    const detail::FeatureSet usable = detail::machine_features();
    for (int i = 0; i < detail::kFeatures; ++i) {
      const auto feature = static_cast<detail::Feature>(i);
      if (usable.has(feature)) info.features.push_back(detail::feature_name(feature));
    }
  } catch (const std::bad_alloc&) {
    // Without memory the texts stay as far as they came; the numbers above are right.
  }
  return info;
}

}  // namespace

const CpuInfo& cpu_info() noexcept {
  static const CpuInfo info = read_cpu_info();
  return info;
}

}  // namespace heed
