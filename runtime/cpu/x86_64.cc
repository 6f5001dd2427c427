#include "runtime/cpu/x86_64.h"

#include <cpuid.h>

#include <array>
#include <cstddef>
#include <cstring>
#include <string>
#include <string_view>

#include "heed/cpu.h"
#include "runtime/cpu/features.h"
#include "runtime/cpu/machine.h"

namespace heed::detail {
namespace {

// Bits of XCR0 (Intel SDM volume 1, 13.3): the registers that the system saves on a context switch.
constexpr std::uint64_t kYmmState = 0x6;               // SSE and AVX
constexpr std::uint64_t kZmmState = 0xE0 | kYmmState;  // opmask, upper halves of ZMM0–15, ZMM16–31
constexpr std::uint64_t kTileState = 0x60000;          // TILECFG and TILEDATA

constexpr std::uint32_t kOsXsave = std::uint32_t{1} << 27;  // of leaf 1 ECX: XGETBV may be used

/// Where CPUID tells of a feature (Intel SDM volume 2, CPUID), and what else it needs.
struct FeatureRule {
  Feature feature;
  std::uint32_t CpuidWords::*word;
  int bit;
  std::uint64_t state;
  Feature base;  ///< a feature that it extends, or itself; hypervisors can hide that alone
};

constexpr std::array kRules = {
    FeatureRule{Feature::avx, &CpuidWords::leaf1_ecx, 28, kYmmState, Feature::avx},
    FeatureRule{Feature::avx2, &CpuidWords::leaf7_ebx, 5, kYmmState, Feature::avx},
    FeatureRule{Feature::fma, &CpuidWords::leaf1_ecx, 12, kYmmState, Feature::avx},
    FeatureRule{Feature::f16c, &CpuidWords::leaf1_ecx, 29, kYmmState, Feature::avx},
    FeatureRule{Feature::avxvnni, &CpuidWords::leaf7_1_eax, 4, kYmmState, Feature::avx},
    FeatureRule{Feature::avx512f, &CpuidWords::leaf7_ebx, 16, kZmmState, Feature::avx},
    FeatureRule{Feature::avx512cd, &CpuidWords::leaf7_ebx, 28, kZmmState, Feature::avx512f},
    FeatureRule{Feature::avx512bw, &CpuidWords::leaf7_ebx, 30, kZmmState, Feature::avx512f},
    FeatureRule{Feature::avx512dq, &CpuidWords::leaf7_ebx, 17, kZmmState, Feature::avx512f},
    FeatureRule{Feature::avx512vl, &CpuidWords::leaf7_ebx, 31, kZmmState, Feature::avx512f},
    FeatureRule{Feature::avx512vnni, &CpuidWords::leaf7_ecx, 11, kZmmState, Feature::avx512f},
    FeatureRule{Feature::avx512bf16, &CpuidWords::leaf7_1_eax, 5, kZmmState, Feature::avx512f},
    FeatureRule{Feature::avx512fp16, &CpuidWords::leaf7_edx, 23, kZmmState, Feature::avx512f},
    FeatureRule{Feature::amx_tile, &CpuidWords::leaf7_edx, 24, kTileState, Feature::amx_tile},
    FeatureRule{Feature::amx_int8, &CpuidWords::leaf7_edx, 25, kTileState, Feature::amx_tile},
    FeatureRule{Feature::amx_bf16, &CpuidWords::leaf7_edx, 22, kTileState, Feature::amx_tile},
};

constexpr bool rules_are_in_order() {
  if (kRules.back().feature != Feature::amx_bf16) return false;
  for (std::size_t i = 0; i < kRules.size(); ++i) {
    if (static_cast<std::size_t>(kRules[i].feature) != i) return false;
    if (kRules[i].base > kRules[i].feature) return false;
  }
  return true;
}
static_assert(rules_are_in_order(), "rules follow the enumeration, and bases come first");

std::uint64_t read_xcr0() noexcept {
  std::uint32_t low = 0;
  std::uint32_t high = 0;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (std::uint64_t{high} << 32) | low;
}

using Registers = CpuidRegisters;

bool read_leaf(std::uint32_t leaf, std::uint32_t subleaf, Registers& r) {
  return __get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx) != 0;
}

void append(std::string& text, unsigned value) {
  char bytes[sizeof value];
  std::memcpy(bytes, &value, sizeof value);
  text.append(bytes, sizeof value);
}

/// The caches of "deterministic cache parameters", which Intel keeps in leaf 4 and AMD, in the same
/// form, in 0x8000001D. True where `leaf` lists any.
bool read_cache_list(ReadLeaf read, std::uint32_t leaf, CpuInfo& info) {
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
    set_cache(info, (r.eax >> 5) & 7U, bytes);
  }
  return index > 0;
}

/// The older leaves of AMD (Architecture Programmer's Manual, volume 3, appendix E.4), which
/// hypervisors offer more often than the list; Intel leaves these fields empty, but for the L2.
void read_cache_sizes(ReadLeaf read, CpuInfo& info) {
  constexpr std::int64_t kKibibyte = 1 << 10, kL3Unit = 512 * kKibibyte;
  Registers r;
  if (read(0x80000005U, 0, r)) info.l1d_bytes = (r.ecx >> 24) * kKibibyte;
  if (!read(0x80000006U, 0, r)) return;
  info.l2_bytes = (r.ecx >> 16) * kKibibyte;
  info.l3_bytes = (r.edx >> 18) * kL3Unit;
}

}  // namespace

FeatureSet usable_features(const CpuidWords& words) noexcept {
  const std::uint64_t saved = (words.leaf1_ecx & kOsXsave) != 0 ? words.xcr0 : 0;
  FeatureSet usable;
  for (const FeatureRule& rule : kRules) {
    const bool present = ((words.*rule.word >> rule.bit) & 1U) != 0;
    const bool has_state = (saved & rule.state) == rule.state;
    const bool has_base = rule.base == rule.feature || usable.has(rule.base);
    if (present && has_state && has_base) usable = usable | rule.feature;
  }
  return usable;
}

CpuidWords read_cpuid() noexcept {
  CpuidWords words;
  unsigned eax = 0;
  unsigned ebx = 0;
  unsigned ecx = 0;
  unsigned edx = 0;
  if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0) words.leaf1_ecx = ecx;
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0) {
    words.leaf7_ebx = ebx;
    words.leaf7_ecx = ecx;
    words.leaf7_edx = edx;
    const unsigned last_subleaf = eax;
    if (last_subleaf >= 1) {
      __cpuid_count(7, 1, eax, ebx, ecx, edx);
      words.leaf7_1_eax = eax;
    }
  }
  if ((words.leaf1_ecx & kOsXsave) != 0) words.xcr0 = read_xcr0();
  return words;
}

FeatureSet machine_features() noexcept {
  static const FeatureSet features = usable_features(read_cpuid());
  return features;
}

std::string_view machine_vendor() noexcept {
  static const std::array<char, 12> vendor = [] {
    std::array<char, 12> name{};
    std::array<unsigned, 3> words{};
    unsigned eax = 0;
    if (__get_cpuid(0, &eax, &words[0], &words[2], &words[1]) != 0) {
      std::memcpy(name.data(), words.data(), name.size());
    }
    return name;
  }();
  return {vendor.data(), vendor.size()};
}

void read_caches(ReadLeaf read_leaf, CpuInfo& info) noexcept {
  const bool listed =
      read_cache_list(read_leaf, 4, info) || read_cache_list(read_leaf, 0x8000001DU, info);
  if (!listed) read_cache_sizes(read_leaf, info);
}

std::string machine_model() {
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

void read_machine_caches(CpuInfo& info) noexcept { read_caches(read_leaf, info); }

}  // namespace heed::detail
