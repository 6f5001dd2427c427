// The instruction sets of the architecture that is built for, as a list apart from the library's.
#pragma once

#include <string_view>

namespace heed::tests {

#if defined(__aarch64__)
/// Best first, as messages name them, without the toy one.
inline constexpr std::string_view kIsaNames = "neon";
/// The one that every processor runs.
inline constexpr std::string_view kBaselineIsa = "neon";
#else
/// Best first, as messages name them, without the toy one.
inline constexpr std::string_view kIsaNames = "avx512_bf16, avx512, avx2, generic";
/// The one that every processor runs.
inline constexpr std::string_view kBaselineIsa = "generic";
#endif

}  // namespace heed::tests
