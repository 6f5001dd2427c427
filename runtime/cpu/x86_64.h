// What CPUID and XCR0 tell of an x86-64 processor, with their answers as arguments.
#pragma once

#include <cstdint>

#include "heed/cpu.h"
#include "runtime/cpu/features.h"

namespace heed::detail {

/// The words of CPUID that hold features, and XCR0: 0 where the processor does not have the leaf or
/// the operating system did not enable XSAVE.
struct CpuidWords {
  std::uint32_t leaf1_ecx = 0;
  std::uint32_t leaf7_ebx = 0;
  std::uint32_t leaf7_ecx = 0;
  std::uint32_t leaf7_edx = 0;
  std::uint32_t leaf7_1_eax = 0;
  std::uint64_t xcr0 = 0;
};

/// The features of `words` that the system provides as well: registers that it does not save (XCR0)
/// are not there, whatever CPUID says.
FeatureSet usable_features(const CpuidWords& words) noexcept;

CpuidWords read_cpuid() noexcept;

/// The answer of CPUID.
struct CpuidRegisters {
  std::uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

/// Asks CPUID; false where the processor does not have the leaf.
using ReadLeaf = bool (*)(std::uint32_t leaf, std::uint32_t subleaf, CpuidRegisters& registers);

/// Fills in the sizes of caches that CPUID tells.
void read_caches(ReadLeaf read_leaf, CpuInfo& info) noexcept;

}  // namespace heed::detail
