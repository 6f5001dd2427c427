#include "tests/proof/elements.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>
#include <vector>

namespace heed::proof {
namespace {

/// A binary floating-point format with a sign bit.
struct Format {
  int exponent_bits, fraction_bits;
  bool infinities;  ///< else the last code alone is NaN
  bool saturates;   ///< finite numbers beyond the range become the largest one

  int bias() const { return (1 << (exponent_bits - 1)) - 1; }
  std::uint32_t largest_code() const { return (1U << (exponent_bits + fraction_bits)) - 1; }
  std::uint32_t first_special() const {
    return infinities ? largest_code() - (1U << fraction_bits) + 1 : largest_code();
  }
  /// The value of a code without sign.
  double magnitude(std::uint32_t code) const {
    const auto fraction = static_cast<double>(code & ((1U << fraction_bits) - 1));
    const int exponent = static_cast<int>(code >> fraction_bits);
    const double implicit = exponent == 0 ? 0.0 : std::ldexp(1.0, fraction_bits);
    return std::ldexp(implicit + fraction, std::max(exponent, 1) - bias() - fraction_bits);
  }
};

constexpr Format kBinary16{5, 10, true, false}, kBFloat16{8, 7, true, false},
    kE4M3{4, 3, false, true}, kE5M2{5, 2, true, true};

float value(const Format& format, std::uint32_t bits) {
  const std::uint32_t code = bits & format.largest_code();
  const float sign = bits > format.largest_code() ? -1.0F : 1.0F;
  if (code < format.first_special()) return sign * static_cast<float>(format.magnitude(code));
  const bool infinite = format.infinities && code == format.first_special();
  return sign * (infinite ? std::numeric_limits<float>::infinity()
                          : std::numeric_limits<float>::quiet_NaN());
}

/// The values of a format's codes, each of which is computed once: proofs read the same elements
/// many times.
template <const Format& Known>
const std::vector<float>& values() {
  static const std::vector<float> all = [] {
    std::vector<float> computed(2 * std::size_t{Known.largest_code() + 1});
    for (std::uint32_t bits = 0; bits < computed.size(); ++bits) {
      computed[bits] = value(Known, bits);
    }
    return computed;
  }();
  return all;
}

/// Codes of magnitudes ascend with these: a code is its exponent's first one and the units of the
/// fraction above it, rounded, whose carry is the next exponent.
std::uint32_t code_of(const Format& format, float x) {
  const std::uint32_t sign = std::signbit(x) ? format.largest_code() + 1 : 0;
  if (std::isnan(x)) return sign | format.largest_code();
  if (std::isinf(x)) return sign | format.first_special();
  const double magnitude = std::abs(static_cast<double>(x));
  const int least = 1 - format.bias();
  const int exponent = magnitude == 0 ? least : std::max(std::ilogb(magnitude), least);
  const double units = std::nearbyint(std::ldexp(magnitude, format.fraction_bits - exponent));
  const double code = std::ldexp(exponent - least, format.fraction_bits) + units;
  if (code >= format.first_special()) {
    return sign | (format.first_special() - (format.saturates ? 1 : 0));
  }
  return sign | static_cast<std::uint32_t>(code);
}

template <const Format& Known, class Bits>
void widen_all(const void* data, std::span<float> floats) {
  const std::vector<float>& all = values<Known>();
  for (std::size_t i = 0; i < floats.size(); ++i) {
    Bits bits = 0;
    std::memcpy(&bits, static_cast<const std::byte*>(data) + i * sizeof bits, sizeof bits);
    floats[i] = all[bits];
  }
}

template <class Bits>
void narrow_all(const Format& format, std::span<const float> floats, void* data) {
  for (std::size_t i = 0; i < floats.size(); ++i) {
    const auto bits = static_cast<Bits>(code_of(format, floats[i]));
    std::memcpy(static_cast<std::byte*>(data) + i * sizeof bits, &bits, sizeof bits);
  }
}

constexpr std::size_t kBlock = 32;

void widen_block(const BlockQ8& block, float* floats) {
  const float scale = values<kBinary16>()[block.scale.bits];
  for (std::size_t i = 0; i < kBlock; ++i) floats[i] = static_cast<float>(block.codes[i]) * scale;
}

void widen_block(const BlockQ4& block, float* floats) {
  const float scale = values<kBinary16>()[block.scale.bits];
  for (std::size_t i = 0; i < kBlock; ++i) {
    const int code = i < kBlock / 2 ? block.codes[i] & 15 : block.codes[i - kBlock / 2] >> 4;
    floats[i] = static_cast<float>(code - 8) * scale;
  }
}

/// The element of the largest magnitude, with its sign: of two, the positive one.
float largest(std::span<const float> block) {
  const auto [low, high] = std::ranges::minmax(block);
  return high >= -low ? high : low;
}

/// Sets a block's scale, within the range of f16, and returns it as it is stored.
template <class Block>
float set_scale(float scale, Block& block) {
  const float bounded = std::clamp(scale, -65504.0F, 65504.0F);
  block.scale.bits = static_cast<std::uint16_t>(code_of(kBinary16, bounded));
  return values<kBinary16>()[block.scale.bits];
}

/// A block with a number that is not finite has a scale that is NaN.
template <class Block>
bool spoilt(std::span<const float> floats, Block& block) {
  block = {{0x7FFF}, {}};
  return std::ranges::any_of(floats, [](float x) { return !std::isfinite(x); });
}

float nearest_code(float x, float scale, float low, float high) {
  return scale == 0.0F ? 0.0F : std::nearbyint(std::clamp(x / scale, low, high));
}

void narrow_block(std::span<const float> floats, BlockQ8& block) {
  if (spoilt(floats, block)) return;
  const float scale = set_scale(std::abs(largest(floats)) / 127.0F, block);
  for (std::size_t i = 0; i < kBlock; ++i) {
    block.codes[i] = static_cast<std::int8_t>(nearest_code(floats[i], scale, -127, 127));
  }
}

void narrow_block(std::span<const float> floats, BlockQ4& block) {
  if (spoilt(floats, block)) {
    std::ranges::fill(block.codes, static_cast<std::uint8_t>(0x88));
    return;
  }
  const float scale = set_scale(largest(floats) / -8.0F, block);
  const auto code = [&](std::size_t i) {
    return static_cast<unsigned>(nearest_code(floats[i], scale, -8, 7) + 8);
  };
  for (std::size_t i = 0; i < kBlock / 2; ++i) {
    block.codes[i] = static_cast<std::uint8_t>(code(i) | code(i + kBlock / 2) << 4);
  }
}

template <class Block>
void widen_blocks(const void* data, std::span<float> floats) {
  for (std::size_t x = 0; x + kBlock <= floats.size(); x += kBlock) {
    Block block;
    std::memcpy(&block, static_cast<const std::byte*>(data) + x / kBlock * sizeof block,
                sizeof block);
    widen_block(block, floats.data() + x);
  }
}

template <class Block>
void narrow_blocks(std::span<const float> floats, void* data) {
  for (std::size_t x = 0; x + kBlock <= floats.size(); x += kBlock) {
    Block block;
    narrow_block(floats.subspan(x, kBlock), block);
    std::memcpy(static_cast<std::byte*>(data) + x / kBlock * sizeof block, &block, sizeof block);
  }
}

/// The code of element i, of int8 or int4.
float code_of(const InputData& data, std::size_t i) {
  if (data.type() == DType::int8) return static_cast<float>(data.as<std::int8_t>()[i]);
  const unsigned bits = data.as<Int4Pair>()[i / 2].bits >> (i % 2 == 0 ? 0 : 4) & 15U;
  return static_cast<float>(bits < 8 ? static_cast<int>(bits) : static_cast<int>(bits) - 16);
}

void set_code(const OutputData& data, std::size_t i, float code) {
  const auto number = static_cast<int>(code);
  if (data.type() == DType::int8) {
    data.as<std::int8_t>()[i] = static_cast<std::int8_t>(number);
    return;
  }
  std::uint8_t& bits = data.as<Int4Pair>()[i / 2].bits;
  const unsigned shift = i % 2 == 0 ? 0 : 4;
  bits = static_cast<std::uint8_t>((bits & ~(15U << shift)) | (static_cast<unsigned>(number) & 15U)
                                                                  << shift);
}

void widen(const InputData& data, std::span<float> floats) {
  switch (data.type()) {
    case DType::f32:
      break;
    case DType::f16:
      return widen_all<kBinary16, std::uint16_t>(data.data(), floats);
    case DType::bf16:
      return widen_all<kBFloat16, std::uint16_t>(data.data(), floats);
    case DType::int8:
    case DType::int4:
      for (std::size_t i = 0; i < floats.size(); ++i) floats[i] = code_of(data, i);
      return;
    case DType::fp8_e4m3:
      return widen_all<kE4M3, std::uint8_t>(data.data(), floats);
    case DType::fp8_e5m2:
      return widen_all<kE5M2, std::uint8_t>(data.data(), floats);
    case DType::q8_0:
      return widen_blocks<BlockQ8>(data.data(), floats);
    case DType::q4_0:
      return widen_blocks<BlockQ4>(data.data(), floats);
  }
}

}  // namespace

std::span<const float> floats_of(const InputData& data, std::int64_t count,
                                 std::vector<float>& buffer) {
  const auto size = static_cast<std::size_t>(count);
  if (data.type() == DType::f32) return {data.as<float>(), size};
  buffer.resize(size);
  widen(data, buffer);
  return buffer;
}

void narrow(std::span<const float> floats, const OutputData& data) {
  switch (data.type()) {
    case DType::f32:
      std::ranges::copy(floats, data.as<float>());
      return;
    case DType::f16:
      return narrow_all<std::uint16_t>(kBinary16, floats, data.data());
    case DType::bf16:
      return narrow_all<std::uint16_t>(kBFloat16, floats, data.data());
    case DType::int8:
    case DType::int4:
      return;  // they take scales
    case DType::fp8_e4m3:
      return narrow_all<std::uint8_t>(kE4M3, floats, data.data());
    case DType::fp8_e5m2:
      return narrow_all<std::uint8_t>(kE5M2, floats, data.data());
    case DType::q8_0:
      return narrow_blocks<BlockQ8>(floats, data.data());
    case DType::q4_0:
      return narrow_blocks<BlockQ4>(floats, data.data());
  }
}

std::span<const float> floats_of(const InputData& data, const RowScales& scales, std::int64_t count,
                                 std::vector<float>& buffer) {
  const std::span<const float> elements = floats_of(data, count, buffer);
  if (!dtype_info(data.type()).scaled) return elements;
  for (std::size_t i = 0; i < buffer.size(); ++i) {
    const std::size_t group = i / static_cast<std::size_t>(scales.group);
    const float zero_point = scales.zero_points == nullptr ? 0.0F : scales.zero_points[group];
    const float steps = buffer[i] - zero_point;
    buffer[i] = steps * scales.scales[group];
  }
  return buffer;
}

namespace {

/// The scale and the zero point of a group.
std::pair<float, float> scale_of(std::span<const float> group, float least, bool zero_points) {
  if (std::ranges::any_of(group, [](float x) { return !std::isfinite(x); })) {
    return {std::numeric_limits<float>::quiet_NaN(), 0.0F};
  }
  if (!zero_points) return {std::abs(largest(group)) / (-1 - least), 0.0F};
  const auto [lowest, highest] = std::ranges::minmax(group);
  const float low = std::min(lowest, 0.0F), high = std::max(highest, 0.0F);
  const float steps = -1 - 2 * least, scale = high / steps - low / steps;
  if (scale == 0.0F) return {0.0F, 0.0F};
  return {scale, std::nearbyint(std::clamp(least - low / scale, least, -1 - least)) + 0.0F};
}

}  // namespace

void narrow(std::span<const float> floats, const OutputData& data, const MutableRowScales& scales,
            bool write_scales) {
  const float least = data.type() == DType::int4 ? -8.0F : -128.0F;
  const auto group = static_cast<std::size_t>(scales.group);
  for (std::size_t x = 0; write_scales && x < floats.size(); x += group) {
    const auto [scale, zero_point] =
        scale_of(floats.subspan(x, group), least, scales.zero_points != nullptr);
    scales.scales[x / group] = scale;
    if (scales.zero_points != nullptr) scales.zero_points[x / group] = zero_point;
  }
  for (std::size_t i = 0; i < floats.size(); ++i) {
    const float scale = scales.scales[i / group];
    const float zero_point = scales.zero_points == nullptr ? 0.0F : scales.zero_points[i / group];
    const float steps = scale == 0.0F || std::isnan(scale) ? 0.0F : floats[i] / scale;
    const float code = steps + zero_point;
    set_code(data, i,
             std::isnan(code) ? -1 - least : std::nearbyint(std::clamp(code, least, -1 - least)));
  }
}

}  // namespace heed::proof
