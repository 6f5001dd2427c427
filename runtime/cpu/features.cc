#include "runtime/cpu/features.h"

#include <cpuid.h>

#include <array>
#include <cstddef>
#include <cstring>

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
  std::string_view name;
  std::uint32_t CpuidWords::*word;
  int bit;
  std::uint64_t state;
  Feature base;  ///< a feature that it extends, or itself; hypervisors can hide that alone
};

constexpr std::array<FeatureRule, kFeatures> kRules = {{
    {Feature::avx, "avx", &CpuidWords::leaf1_ecx, 28, kYmmState, Feature::avx},
    {Feature::avx2, "avx2", &CpuidWords::leaf7_ebx, 5, kYmmState, Feature::avx},
    {Feature::fma, "fma", &CpuidWords::leaf1_ecx, 12, kYmmState, Feature::avx},
    {Feature::f16c, "f16c", &CpuidWords::leaf1_ecx, 29, kYmmState, Feature::avx},
    {Feature::avxvnni, "avxvnni", &CpuidWords::leaf7_1_eax, 4, kYmmState, Feature::avx},
    {Feature::avx512f, "avx512f", &CpuidWords::leaf7_ebx, 16, kZmmState, Feature::avx},
    {Feature::avx512cd, "avx512cd", &CpuidWords::leaf7_ebx, 28, kZmmState, Feature::avx512f},
    {Feature::avx512bw, "avx512bw", &CpuidWords::leaf7_ebx, 30, kZmmState, Feature::avx512f},
    {Feature::avx512dq, "avx512dq", &CpuidWords::leaf7_ebx, 17, kZmmState, Feature::avx512f},
    {Feature::avx512vl, "avx512vl", &CpuidWords::leaf7_ebx, 31, kZmmState, Feature::avx512f},
    {Feature::avx512vnni, "avx512vnni", &CpuidWords::leaf7_ecx, 11, kZmmState, Feature::avx512f},
    {Feature::avx512bf16, "avx512bf16", &CpuidWords::leaf7_1_eax, 5, kZmmState, Feature::avx512f},
    {Feature::avx512fp16, "avx512fp16", &CpuidWords::leaf7_edx, 23, kZmmState, Feature::avx512f},
    {Feature::amx_tile, "amx-tile", &CpuidWords::leaf7_edx, 24, kTileState, Feature::amx_tile},
    {Feature::amx_int8, "amx-int8", &CpuidWords::leaf7_edx, 25, kTileState, Feature::amx_tile},
    {Feature::amx_bf16, "amx-bf16", &CpuidWords::leaf7_edx, 22, kTileState, Feature::amx_tile},
}};

constexpr bool rules_are_in_order() {
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

}  // namespace

std::string_view feature_name(Feature feature) noexcept {
  return kRules[static_cast<std::size_t>(feature)].name;
}

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

}  // namespace heed::detail
