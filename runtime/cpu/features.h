// The processor features that heed knows.
#pragma once

#include <cstdint>
#include <string_view>

namespace heed::detail {

/// Of x86-64, up to amx_bf16, and of aarch64, named as compilers name them (-mavx512bf16; a hyphen
/// becomes an underscore). The list of ISAs in kernels/CMakeLists.txt uses the same names.
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
  neon,
  fp16,
  dotprod,
  i8mm,
  bf16,
  sve,
};

inline constexpr int kFeatures = static_cast<int>(Feature::sve) + 1;

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

}  // namespace heed::detail
