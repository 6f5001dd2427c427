// Scales and zero points of keys and values of int8 and int4, in tensors of their own.
#pragma once

#include <cstdint>

#include "heed/export.h"

namespace heed {

/// Which elements have a scale in common, and where it lies: that of element x of (sequence s,
/// token t, head h) is s · sequence_stride + t · token_stride + h · head_stride + x / group floats
/// from the first one. A stride of 0 means that all share it. Where tokens lie in pages, s is the
/// page and t the token's offset within it. Zero points, where there are any, lie as scales do.
struct ScaleLayout {
  /// Neighbouring elements of a vector with one scale, which divide its dimension; 0: all of them.
  std::int64_t group = 0;
  std::int64_t sequence_stride = 0;  ///< where tokens lie in pages, from page to page
  std::int64_t token_stride = 0;
  std::int64_t head_stride = 0;

  /// One scale.
  static constexpr ScaleLayout per_tensor() { return {}; }
  /// [head].
  static constexpr ScaleLayout per_head() { return {0, 0, 0, 1}; }
  /// [head, head_dim].
  static constexpr ScaleLayout per_channel(std::int64_t head_dim) { return {1, 0, 0, head_dim}; }
  /// [sequence or page, token, head, group]; a group of 0 is all of a vector.
  static constexpr ScaleLayout per_token(std::int64_t tokens, std::int64_t heads,
                                         std::int64_t head_dim, std::int64_t group = 0) {
    const std::int64_t groups = group == 0 ? 1 : head_dim / group;
    return {group, tokens * heads * groups, heads * groups, groups};
  }
};

/// The scales of keys or of values: an element's value is (code − zero point) · scale, the
/// difference and the product rounded to float. Zero points of whole numbers lose nothing, so that
/// the value is rounded once.
template <class Float>
struct ScalesOf {
  Float* scales = nullptr;
  Float* zero_points = nullptr;  ///< null: all are 0

  /// What may be written may be read.
  constexpr operator ScalesOf<const Float>() const noexcept { return {scales, zero_points}; }
};
using Scales = ScalesOf<const float>;
using MutableScales = ScalesOf<float>;

}  // namespace heed
