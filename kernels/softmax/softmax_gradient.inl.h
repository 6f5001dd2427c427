// The gradients through softmax and log-softmax, given their results y.
//
//   softmax       dx = y ⊙ (dy − Σ y·dy) · factor
//   log-softmax   dx = (dy − exp(y) · Σ dy) · factor
//
// There are two passes: the sum, the result. Memory: y (for the log-softmax only in the second
// pass) and dy are read twice, dx is written once; a row that fits the cache comes from memory
// once.
//
// Error: the sum is off by what sum_over_row() says (lanes.inl.h; of Σ |y·dy| or Σ |dy|) and a
// rounding of each product, exp(y) by 2 ULP, and each step of the second pass rounds once.
#pragma once

#include "kernels/interface.h"
#include "kernels/vector/exp.inl.h"
#include "kernels/vector/lanes.inl.h"

namespace heed::kernels {
namespace {

// A gradient says which terms are added over a row, and what the result at an element is.

struct SoftmaxGradient {
  template <class V>
  static HEED_INLINE V term(V y, V dy) {
    return y * dy;
  }
  template <class Arch, class V>
  static HEED_INLINE V result(V y, V dy, V sum) {
    return y * (dy - sum);
  }
};

struct LogSoftmaxGradient {
  template <class V>
  static HEED_INLINE V term(V, V dy) {
    return dy;
  }
  template <class Arch, class V>
  static HEED_INLINE V result(V y, V dy, V sum) {
    return dy - exp<Arch>(y) * sum;
  }
};

template <class Gradient, class Arch>
void gradient_rows(const SoftmaxGradientRows& rows) {
  using V = Vec<Arch>;
  for (std::int64_t r = 0; r < rows.rows; ++r) {
    const float* const y = rows.y + r * rows.y_stride;
    const float* const dy = rows.dy + r * rows.dy_stride;
    float* const dx = rows.dx + r * rows.dx_stride;
    const V sum = splat<Arch>(static_cast<float>(sum_over_row<Arch>(
        rows.length, [&](auto access, int, std::int64_t i) __attribute__((always_inline)) {
          return Gradient::term(access.load(y + i, 0.0F), access.load(dy + i, 0.0F));
        })));
    const V factor = splat<Arch>(rows.factor);
    for_each_vector<Arch, kAccumulators>(
        rows.length, [&](auto access, int, std::int64_t i) __attribute__((always_inline)) {
          const V v = access.load(y + i, 0.0F), dv = access.load(dy + i, 0.0F);
          access.store(dx + i, Gradient::template result<Arch>(v, dv, sum) * factor);
        });
  }
}

template <class Arch>
void softmax_gradient_rows(const SoftmaxGradientRows& rows) {
  gradient_rows<SoftmaxGradient, Arch>(rows);
}

template <class Arch>
void log_softmax_gradient_rows(const SoftmaxGradientRows& rows) {
  gradient_rows<LogSoftmaxGradient, Arch>(rows);
}

}  // namespace
}  // namespace heed::kernels
