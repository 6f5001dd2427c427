// The processor features that heed knows, and which of them the processor *and* the operating
// system provide: registers that the system does not save (XCR0) are not there, whatever CPUID
// says.
#pragma once

#include <cstdint>
#include <string_view>

namespace heed::detail {

/// Named as compilers name them (-mavx512bf16; a hyphen becomes an underscore). The list of ISAs in
/// kernels/CMakeLists.txt uses the same names.
enum class Feature : std::uint8_t {
  avx,
  avx2,
  fma,
  f16c,
  avxvnni,
  avx512f,
  avx512cd,
  avx512bw,
  avx512dq,
  avx512vl,
  avx512vnni,
  avx512bf16,
  avx512fp16,
  amx_tile,
  amx_int8,
  amx_bf16,
};

inline constexpr int kFeatures = static_cast<int>(Feature::amx_bf16) + 1;

class FeatureSet {
 public:
  constexpr FeatureSet() = default;
  constexpr FeatureSet operator|(Feature feature) const { return FeatureSet(bits_ | bit(feature)); }
  constexpr FeatureSet operator-(FeatureSet other) const {
    return FeatureSet(bits_ & ~other.bits_);
  }
  constexpr bool has(Feature feature) const { return (bits_ & bit(feature)) != 0; }
  constexpr bool empty() const { return bits_ == 0; }
  constexpr bool operator==(const FeatureSet&) const = default;

 private:
  constexpr explicit FeatureSet(std::uint32_t bits) : bits_(bits) {}
  static constexpr std::uint32_t bit(Feature feature) {
    return std::uint32_t{1} << static_cast<unsigned>(feature);
  }

  std::uint32_t bits_ = 0;
};

std::string_view feature_name(Feature feature) noexcept;

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

FeatureSet usable_features(const CpuidWords& words) noexcept;

CpuidWords read_cpuid() noexcept;

/// usable_features of this machine, read once.
FeatureSet machine_features() noexcept;

/// The name that the processor gives its vendor ("GenuineIntel", "AuthenticAMD"), read once.
std::string_view machine_vendor() noexcept;

}  // namespace heed::detail
