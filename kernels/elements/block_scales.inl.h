// The scales and zero points of a block of codes, for the decode kernel: its lanes are keys when it
// multiplies keys, dimensions when it adds values.
//
// The usual case, one scale for a key or value and no zero points, is read in place. In all others
// scales and zero points are made vectors, one for each column of keys and each vector of values,
// which costs up to half again the time.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/interface.h"
#include "kernels/vector/simd.inl.h"

namespace heed::kernels {
namespace {

/// Where zero_point is not null: a vector for each unit of dimensions (scale_unit), and these for
/// each vector of keys or for each value, `step` floats apart. Where a unit is one dimension,
/// values have a vector for each of theirs. Else a scale for each key or value, `step` floats
/// apart.
struct BlockScales {
  const float* scale = nullptr;
  const float* zero_point = nullptr;
  std::ptrdiff_t step = 0;
  std::int32_t unit = 1;
  std::int32_t count = 0;  ///< of keys or values

  bool one_for_each() const { return zero_point == nullptr; }
};

/// Codes of a block of which each key or value has one scale, and no zero points.
template <class E>
struct OneScale : E {};

template <class E>
inline constexpr bool kOneScale = false;
template <class E>
inline constexpr bool kOneScale<OneScale<E>> = true;

/// What is in the lanes of a block's vectors.
enum class InLanes { keys, dims };

/// Makes the vectors of blocks of keys or of values, in memory for two times scale_vector_floats.
template <class Arch, InLanes Lanes>
class BlockScalesOf {
 public:
  BlockScalesOf() = default;
  BlockScalesOf(std::int32_t group, std::int32_t dims, float* memory)
      : group_(group),
        dims_(dims),
        unit_(scale_unit(group, dims)),
        units_(dims / unit_),
        scale_(memory),
        zero_point_(memory + scale_vector_floats(group, dims)) {}

  /// Of `count` keys of a head that has these scales, from the token on whose scales begin `offset`
  /// floats after the first ones.
  BlockScales of(const TokenScales& scales, std::ptrdiff_t offset, std::int32_t count) {
    // The distance from a single token's to the next ones may be any number.
    const std::ptrdiff_t token = count > 1 ? scales.token : 0;
    if (scales.zero_point == nullptr && group_ == dims_ && unit_ == dims_) {
      return {scales.scale + offset, nullptr, token, unit_, count};
    }
    const bool shared = scales.token == 0 && scales.page == 0;  // by all tokens
    if (!shared) {
      make(scales, offset, count, token);
    } else if (made_ != scales.scale) {
      make(scales, 0, Lanes == InLanes::keys ? kLanes<Arch> : 1, 0);
    }
    made_ = shared ? scales.scale : nullptr;
    return {scale_, zero_point_, shared ? 0 : step(), unit_, count};
  }

 private:
  std::ptrdiff_t step() const {
    if (Lanes == InLanes::keys) return std::ptrdiff_t{key_units()} * kLanes<Arch>;
    return unit_ == 1 ? static_cast<std::ptrdiff_t>(padded(units_, kLanes<Arch>))
                      : std::ptrdiff_t{units_} * kLanes<Arch>;
  }

  /// Vectors of a vector of keys: packed keys are filled up to kPackedDims dimensions.
  std::int32_t key_units() const {
    return unit_ == 1 ? static_cast<std::int32_t>(padded(units_, kPackedDims)) : units_;
  }

  __attribute__((noinline)) void make(const TokenScales& scales, std::ptrdiff_t offset,
                                      std::int32_t count, std::ptrdiff_t token) {
    fill(scales.scale + offset, count, token, scale_);
    if (scales.zero_point != nullptr) {
      fill(scales.zero_point + offset, count, token, zero_point_);
    } else if (!zeros_) {
      for (std::size_t i = 0; i < scale_vector_floats(group_, dims_); ++i) zero_point_[i] = 0;
      zeros_ = true;
    }
  }

  /// Lanes without a key or a dimension become 0.
  void fill(const float* from, std::int32_t count, std::ptrdiff_t token, float* to) const {
    constexpr std::int32_t lanes = kLanes<Arch>;
    const std::int32_t units_of_group = group_ / unit_;
    if constexpr (Lanes == InLanes::keys) {
      for (std::int32_t first = 0; first < count; first += lanes, from += lanes * token) {
        const std::int32_t keys = count - first < lanes ? count - first : lanes;
        for (std::int32_t u = 0; u < key_units(); ++u, to += lanes) {
          const float* const group = from + u / units_of_group;
          for (std::int32_t i = 0; i < lanes; ++i) {
            to[i] = i < keys && u < units_ ? group[i * token] : 0.0F;
          }
        }
      }
    } else {
      for (std::int32_t j = 0; j < count; ++j, from += token, to += step()) {
        if (unit_ > 1) {
          for (std::int32_t u = 0; u < units_; ++u) {
            store<Arch>(to + u * lanes, splat<Arch>(from[u]));
          }
        } else {
          for (std::int32_t x = 0; x < step(); ++x) to[x] = x < units_ ? from[x / group_] : 0.0F;
        }
      }
    }
  }

  std::int32_t group_ = 1, dims_ = 1, unit_ = 1, units_ = 0;
  float* scale_ = nullptr;
  float* zero_point_ = nullptr;
  bool zeros_ = false;           ///< zero_point_ holds zeros
  const float* made_ = nullptr;  ///< the scales that all tokens share, where scale_ holds them
};

}  // namespace
}  // namespace heed::kernels
