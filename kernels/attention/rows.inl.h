// Query rows in and output rows out. The prefill kernel has query rows as lanes in between, so both
// ways are transposes, done in registers.
#pragma once

#include "kernels/attention/weights.inl.h"
#include "kernels/elements/rows.inl.h"
#include "kernels/interface.h"
#include "kernels/vector/lanes.inl.h"
#include "kernels/vector/log.inl.h"

namespace heed::kernels {
namespace {

/// Flattened query rows: row r is (token r / group, head r % group of the KV head's group).
struct RowMap {
  std::int32_t group;
  Strides stride;

  HEED_INLINE std::ptrdiff_t offset(std::int32_t row) const {
    return (row / group) * stride.token + (row % group) * stride.head;
  }
};

/// The row at p as floats: in place, or widened to `buffer`, which has room for whole vectors.
template <class Arch>
HEED_INLINE const float* as_floats(DType type, const std::byte* p, std::int32_t dims,
                                   float* buffer) {
  if (type == DType::f32) return reinterpret_cast<const float*>(p);
  widen_row<Arch>(type, p, dims, buffer);
  return buffer;
}

/// Where the floats of an output row go first: into place, or into a buffer from which
/// write_narrow takes them.
HEED_INLINE float* output_floats(DType type, std::byte* out, float* buffer) {
  return type == DType::f32 ? reinterpret_cast<float*>(out) : buffer;
}

/// Rounds the floats of output_floats into place where they are not there.
template <class Arch>
HEED_INLINE void write_narrow(DType type, const float* buffer, std::int32_t dims, std::byte* out) {
  if (type != DType::f32) narrow_row<Arch>(type, buffer, dims, out);
}

/// Packs `rows` (at most a vector of) query rows as lanes: packed[x · width + lane] = factor ·
/// row[lane][x], or, with Scale false, the same bits. Lanes without a row become 0.
template <class Arch, bool Scale = true>
void pack_queries(const float* const* row, int rows, std::ptrdiff_t dims, float factor,
                  float* packed, std::ptrdiff_t width) {
  constexpr int lanes = kLanes<Arch>;
  std::ptrdiff_t x = 0;
  for (; x + lanes <= dims; x += lanes) {
    Vec<Arch> r[lanes];
#pragma GCC unroll 16
    for (int lane = 0; lane < lanes; ++lane) {
      r[lane] = lane < rows ? load<Arch>(row[lane] + x) : splat<Arch>(0.0F);
      if constexpr (Scale) r[lane] = r[lane] * splat<Arch>(factor);
    }
    Ops<Arch>::transpose(r);
#pragma GCC unroll 16
    for (int i = 0; i < lanes; ++i) store<Arch>(packed + (x + i) * width, r[i]);
  }
  for (; x < dims; ++x) {
    for (int lane = 0; lane < lanes; ++lane) {
      float* const to = packed + x * width + lane;
      *to = 0.0F;
      if (lane >= rows) continue;
      if constexpr (Scale) {
        *to = row[lane][x] * factor;
      } else {
        __builtin_memcpy(to, row[lane] + x, sizeof(float));
      }
    }
  }
}

/// O / l, and 0 for rows without weight. A zero is +0: whether it was −0 (a product that
/// underflows) would else depend on how many weights of 0 were added to it.
template <class Arch>
HEED_INLINE Vec<Arch> normalised(Vec<Arch> o, Vec<Arch> l) {
  const Vec<Arch> zero = splat<Arch>(0.0F);
  return Ops<Arch>::select(l == zero, zero, Ops<Arch>::divide(o, l) + zero);
}

/// row[lane] = finish(the lane's column of O) for `rows` (at most a vector of) lanes.
template <class Arch, class Finish>
HEED_INLINE void write_rows(const float* o, std::ptrdiff_t width, std::ptrdiff_t dims,
                            float* const* row, int rows, Finish finish) {
  constexpr int lanes = kLanes<Arch>;
  std::ptrdiff_t x = 0;
  for (; x + lanes <= dims; x += lanes) {
    Vec<Arch> r[lanes];
#pragma GCC unroll 16
    for (int i = 0; i < lanes; ++i) r[i] = finish(load<Arch>(o + (x + i) * width));
    Ops<Arch>::transpose(r);
#pragma GCC unroll 16
    for (int lane = 0; lane < lanes; ++lane) {
      if (lane < rows) store<Arch>(row[lane] + x, r[lane]);
    }
  }
  for (; x < dims; ++x) {
    alignas(kAlignment) float column[lanes];
    store<Arch>(column, finish(load<Arch>(o + x * width)));
    for (int lane = 0; lane < rows; ++lane) row[lane][x] = column[lane];
  }
}

/// row[lane] = Oᵀ / l for `rows` (at most a vector of) rows.
template <class Arch>
void write_outputs(const float* o, Vec<Arch> l, std::ptrdiff_t width, std::ptrdiff_t dims,
                   float* const* row, int rows) {
  write_rows<Arch>(o, width, dims, row, rows, [l](Vec<Arch> x) { return normalised<Arch>(x, l); });
}

/// out = O / l for one row, perhaps in place.
template <class Arch>
HEED_INLINE void write_output(const float* o, float l, std::int64_t dims, float* out) {
  for_each_vector<Arch, 1>(dims, [&](auto access, int, std::int64_t x) {
    access.store(out + x, normalised<Arch>(access.load(o + x, 0.0F), splat<Arch>(l)));
  });
}

/// lse = (m + log2 l) · ln 2. l's binary exponent joins the integer m before anything is rounded,
/// so the result does not depend on how far m lies below the largest logit.
HEED_INLINE float natural_lse(float m, float l) {
  constexpr double ln2 = 0.693147180559945309417;
  if (l == 0.0F) return -__builtin_inff();
  if (!(l <= __FLT_MAX__)) return l;
  const std::uint32_t bits = __builtin_bit_cast(std::uint32_t, l);
  const double exponent = static_cast<double>(bits >> 23) - 127.0;
  const float mantissa = __builtin_bit_cast(float, (bits & 0x007FFFFFU) | 0x3F800000U);
  return static_cast<float>((static_cast<double>(m) + exponent + log2_of(mantissa)) * ln2);
}

/// The log-sum-exp of a row with this state; NaN for argmax, where it is undefined.
HEED_INLINE float lse_of(WeightRule rule, float m, float l) {
  return rule == WeightRule::argmax && l != 0.0F ? __builtin_nanf("") : natural_lse(m, l);
}

/// Writes those of the rows for which writes(row) is true.
template <class Writes>
void write_lse(WeightRule rule, State state, float* lse, RowMap map, std::int32_t first_row,
               std::int32_t rows, const Writes& writes) {
  for (std::int32_t row = first_row; row < first_row + rows; ++row) {
    if (!writes(row)) continue;
    lse[map.offset(row)] = lse_of(rule, state.m[row - first_row], state.l[row - first_row]);
  }
}

}  // namespace
}  // namespace heed::kernels
