// The rows of softmax: where logits and weights are kept between the passes over a row.
#pragma once

#include "kernels/interface.h"
#include "kernels/softmax/softmax_rules.inl.h"
#include "kernels/vector/lanes.inl.h"

namespace heed::kernels {
namespace {

/// Vectors of the longest row that stays in registers: its logits and weights take 8 of the 16 that
/// every ISA has.
inline constexpr int kShortRow = 4;

/// Rows of logits. Strides are in floats.
struct FloatRows {
  const float* x;
  float* y;  ///< the result; one float per row for the log-sum-exp
  std::ptrdiff_t x_stride, y_stride;
  std::int64_t rows, length;
  SoftmaxTemperatures temperatures;
  bool nontemporal;  ///< as SoftmaxRows has it
};

/// The rows [first, first + count).
HEED_INLINE SoftmaxRows rows_from(SoftmaxRows rows, std::int64_t first, std::int64_t count) {
  rows.x += first * rows.x_stride;
  rows.y += first * rows.y_stride;
  if (rows.visible != nullptr) rows.visible += first * rows.visible_stride;
  if (rows.temperatures.each != nullptr) rows.temperatures.each += first;
  rows.rows = count;
  return rows;
}

/// Rows of floats, of which none is hidden, as such.
HEED_INLINE FloatRows float_rows(const SoftmaxRows& rows) {
  constexpr auto size = static_cast<std::ptrdiff_t>(sizeof(float));
  return {reinterpret_cast<const float*>(rows.x),
          reinterpret_cast<float*>(rows.y),
          rows.x_stride / size,
          rows.y_stride / size,
          rows.rows,
          rows.length,
          rows.temperatures,
          rows.nontemporal};
}

struct MemoryRow {
  const float* x;
  float* y;
  std::int64_t length;
  bool keep;                      ///< whether y stays in cache, and may keep weights
  std::ptrdiff_t next_x, next_y;  ///< distances of the next row, 0 for the last one
};

/// A row that is read again for each pass. While it is computed the next one is prefetched into L2:
/// the hardware prefetchers follow a row as it is read, but rest while weights are computed, and
/// start anew at each row.
template <class Rule>
class RowInMemory {
 public:
  using Arch = typename Rule::Arch;
  using V = Vec<Arch>;

  HEED_INLINE explicit RowInMemory(const MemoryRow& row) : row_(row) {}

  HEED_INLINE float largest() { return largest_of_row<Arch>(row_.x, row_.length); }

  template <class Output>
  HEED_INLINE double sum_weights(const Rule& rule) {
    if constexpr (keeps<Output>()) {
      if (row_.keep) return keep_weights(rule);
    }
    return sum_of_weights(rule, row_.x, row_.length, row_.next_x);
  }

  template <class Output>
  HEED_INLINE void write(const Rule& rule, float normaliser) {
    const V n = splat<Arch>(normaliser);
    if (keeps<Output>() && row_.keep) {
      write(
          row_.y, [&](V w) __attribute__((always_inline)) { return Output::normalised(w, n); });
    } else {
      write(
          row_.x, [&](V logit) __attribute__((always_inline)) {
            return Output::normalised(Output::unnormalised(rule, logit, rule.weight(logit)), n);
          });
    }
  }

 private:
  template <class Output>
  static constexpr bool keeps() {
    return Output::kFromWeights && Rule::kKeeps;
  }

  HEED_INLINE double keep_weights(const Rule& rule) {
    return sum_over_row<Arch>(
        row_.length, [&](auto access, int, std::int64_t i) __attribute__((always_inline)) {
          prefetch<Use::read>(row_.x + row_.next_x + i);
          const V w = rule.weight(access.load(row_.x + i, kMasked));
          access.store(row_.y + i, w);
          return w;
        });
  }

  template <class Map>
  HEED_INLINE void write(const float* from, Map map) {
    for_each_vector<Arch, kAccumulators>(
        row_.length, [&](auto access, int, std::int64_t i) __attribute__((always_inline)) {
          prefetch<Use::write>(row_.y + row_.next_y + i);
          access.store(row_.y + i, map(access.load(from + i, 0.0F)));
        });
  }

  MemoryRow row_;
};

/// A row that stays in registers: `Count` vectors, of which the last one may be incomplete.
template <class Rule, int Count>
class RowInRegisters {
 public:
  using Arch = typename Rule::Arch;
  using V = Vec<Arch>;

  HEED_INLINE RowInRegisters(const float* x, float* y, MaskedVector<Arch> last)
      : y_(y), last_(last) {
    for_each([&](auto access, int u) __attribute__((always_inline)) {
      logit_[u] = access.load(x + u * kLanes<Arch>, kMasked);
    });
  }

  HEED_INLINE float largest() { return reduce<Maximum, Arch>(logit_); }

  template <class Output>
  HEED_INLINE double sum_weights(const Rule& rule) {
    for_each([&](auto, int u)
                 __attribute__((always_inline)) { weight_[u] = rule.weight(logit_[u]); });
    return static_cast<double>(reduce<Addition, Arch>(weight_));
  }

  template <class Output>
  HEED_INLINE void write(const Rule& rule, float normaliser) {
    for_each([&](auto access, int u) __attribute__((always_inline)) {
      const V y = Output::unnormalised(rule, logit_[u], weight_[u]);
      access.store(y_ + u * kLanes<Arch>, Output::normalised(y, splat<Arch>(normaliser)));
    });
  }

 private:
  template <class Body>
  HEED_INLINE void for_each(Body body) {
#pragma GCC unroll 4
    for (int u = 0; u + 1 < Count; ++u) body(FullVector<Arch>(), u);
    body(last_, Count - 1);
  }

  float* y_;
  MaskedVector<Arch> last_;
  V logit_[Count], weight_[Count];
};

}  // namespace
}  // namespace heed::kernels
