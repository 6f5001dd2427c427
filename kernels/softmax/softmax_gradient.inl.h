// The gradients through softmax and log-softmax, given their results y: dL/dx from dL/dy, and
// dL/dT where it is asked for.
//
//   softmax       g = y ⊙ (dy − Σ y·dy)        p = y        l = log y
//   log-softmax   g = dy − exp(y) · Σ dy       p = exp(y)   l = y
//
//   dx = g · factor
//   dT = −1/T · Σ g·(l − m),   m = Σ p·l / Σ p
//
// g is the gradient of the logits z = scale · x / T, and dL/dT = −1/T · Σ g·z. The z are not
// needed: they differ from l by a constant, and since Σ g = 0, any constant may be added to them.
// With the mean m subtracted, constants that g or l have too much leave no trace: neither does a
// rounding of Σ y·dy, or of y. An entry without weight (y = 0, or l = −∞) adds nothing.
//
// There are two passes: the sums, the result. Memory: y (for the log-softmax only in the second
// pass) and dy are read twice, dx is written once; a row that fits the cache comes from memory
// once. For dT y is read twice more.
//
// Error: the sums are off by what sum_over_row() says (lanes.inl.h; of Σ |y·dy| or Σ |dy|) and a
// rounding of each product, exp(y) by 2 ULP, log y by 6 · 2⁻²⁴ of itself, and each step of the
// second pass rounds once.
#pragma once

#include "kernels/interface.h"
#include "kernels/softmax/stage.inl.h"
#include "kernels/vector/exp.inl.h"
#include "kernels/vector/lanes.inl.h"
#include "kernels/vector/log.inl.h"

namespace heed::kernels {
namespace {

// A gradient says which terms are added over a row, what the result at an element is (g above), and
// what the weight p and its logarithm l of an element are. kHidden is the y of a hidden entry.

struct SoftmaxGradient {
  static constexpr float kHidden = 0.0F;
  template <class V>
  static HEED_INLINE V term(V y, V dy) {
    return y * dy;
  }
  template <class Arch, class V>
  static HEED_INLINE V result(V y, V dy, V sum) {
    return y * (dy - sum);
  }
  template <class Arch, class V>
  static HEED_INLINE V weight(V y) {
    return y;
  }
  template <class Arch, class V>
  static HEED_INLINE V log_weight(V y) {
    return log<Arch>(y);
  }
};

struct LogSoftmaxGradient {
  static constexpr float kHidden = -__builtin_inff();
  template <class V>
  static HEED_INLINE V term(V, V dy) {
    return dy;
  }
  template <class Arch, class V>
  static HEED_INLINE V result(V y, V dy, V sum) {
    return dy - exp<Arch>(y) * sum;
  }
  template <class Arch, class V>
  static HEED_INLINE V weight(V y) {
    return exp<Arch>(y);
  }
  template <class Arch, class V>
  static HEED_INLINE V log_weight(V y) {
    return y;
  }
};

/// A part of a row, as floats.
struct GradientPart {
  const float* y;
  const float* dy;
  float* dx;
};

/// A row of floats, no entry of which is hidden: one part.
class FloatGradientRow {
 public:
  HEED_INLINE FloatGradientRow(const SoftmaxGradientRows& rows, std::int64_t r)
      : part_{reinterpret_cast<const float*>(rows.y + r * rows.y_stride),
              reinterpret_cast<const float*>(rows.dy + r * rows.dy_stride),
              reinterpret_cast<float*>(rows.dx + r * rows.dx_stride)},
        length_(rows.length) {}

  template <class Body>
  HEED_INLINE void for_each_part(Body body) {
    body(part_, length_);
  }
  HEED_INLINE void written() {}

 private:
  GradientPart part_;
  std::int64_t length_;
};

/// A row of any other kind, whose parts are chunks in scratch.
template <class Gradient, class Arch>
class StagedGradientRow {
 public:
  HEED_INLINE StagedGradientRow(const SoftmaxGradientRows& rows, std::int64_t r)
      : rows_(rows),
        row_(r),
        visible_(rows.visible == nullptr ? nullptr : rows.visible + r * rows.visible_stride) {}

  template <class Body>
  HEED_INLINE void for_each_part(Body body) {
    for (begin_ = 0; begin_ < rows_.length; begin_ += kSumChunk) {
      const std::int64_t left = rows_.length - begin_;
      count_ = left < kSumChunk ? left : kSumChunk;
      stage<Arch>(rows_.y_type, rows_.y + row_ * rows_.y_stride, visible_, begin_, count_,
                  Gradient::kHidden, y_);
      stage<Arch>(rows_.dy_type, rows_.dy + row_ * rows_.dy_stride, visible_, begin_, count_, 0.0F,
                  dy_);
      body(GradientPart{y_, dy_, dx_}, count_);
    }
  }
  /// Takes the dx of a part to where it belongs.
  HEED_INLINE void written() {
    hide<Arch>(dx_, visible_ == nullptr ? nullptr : visible_ + begin_, count_, 0.0F);
    narrow_row<Arch>(rows_.dx_type, dx_, static_cast<std::int32_t>(count_),
                     rows_.dx + row_ * rows_.dx_stride + place_of(rows_.dx_type, begin_));
  }

 private:
  const SoftmaxGradientRows& rows_;
  std::int64_t row_;
  const std::byte* visible_;
  std::int64_t begin_ = 0, count_ = 0;
  alignas(kAlignment) float y_[kSumChunk], dy_[kSumChunk], dx_[kSumChunk];
};

/// Σ term(y, dy) over a row.
template <class Gradient, class Arch, class Row, class Term>
HEED_INLINE double sum_of_terms(Row& row, Term term) {
  double total = 0;
  row.for_each_part([&](const GradientPart& part,
                        std::int64_t count) __attribute__((always_inline)) {
    total += sum_over_row<Arch>(
        count, [&](auto access, int, std::int64_t i) __attribute__((always_inline)) {
          return term(access.load(part.y + i, Gradient::kHidden), access.load(part.dy + i, 0.0F));
        });
  });
  return total;
}

/// `value`, or 0 where an entry has no weight.
template <class Gradient, class Arch>
HEED_INLINE Vec<Arch> where_weighty(Vec<Arch> y, Vec<Arch> value) {
  return Ops<Arch>::select(y == splat<Arch>(Gradient::kHidden), splat<Arch>(0.0F), value);
}

/// The mean of the logarithms of a row's weights; 0 where it has none.
template <class Gradient, class Arch, class Row>
HEED_INLINE float mean_log_weight(Row& row) {
  using V = Vec<Arch>;
  const double weights = sum_of_terms<Gradient, Arch>(
      row, [](V y, V) __attribute__((always_inline)) {
        return where_weighty<Gradient, Arch>(y, Gradient::template weight<Arch>(y));
      });
  const double logs = sum_of_terms<Gradient, Arch>(
      row, [](V y, V) __attribute__((always_inline)) {
        return where_weighty<Gradient, Arch>(
            y, Gradient::template weight<Arch>(y) * Gradient::template log_weight<Arch>(y));
      });
  return weights == 0.0 ? 0.0F : static_cast<float>(logs / weights);
}

/// Writes g · factor, and returns Σ g·(l − m).
template <class Gradient, class Arch, class Row>
HEED_INLINE double write_and_correlate(Row& row, float row_sum, float row_factor) {
  using V = Vec<Arch>;
  const V mean = splat<Arch>(mean_log_weight<Gradient, Arch>(row));
  const V sum = splat<Arch>(row_sum), factor = splat<Arch>(row_factor);
  double total = 0;
  row.for_each_part([&](const GradientPart& part,
                        std::int64_t count) __attribute__((always_inline)) {
    total += sum_over_row<Arch>(
        count, [&](auto access, int, std::int64_t i) __attribute__((always_inline)) {
          const V y = access.load(part.y + i, Gradient::kHidden);
          const V g = Gradient::template result<Arch>(y, access.load(part.dy + i, 0.0F), sum);
          access.store(part.dx + i, g * factor);
          return where_weighty<Gradient, Arch>(y,
                                               g * (Gradient::template log_weight<Arch>(y) - mean));
        });
    row.written();
  });
  return total;
}

template <class Gradient, class Arch, class Row>
HEED_INLINE void write_gradient(Row& row, float row_sum, float row_factor) {
  using V = Vec<Arch>;
  const V sum = splat<Arch>(row_sum), factor = splat<Arch>(row_factor);
  row.for_each_part([&](const GradientPart& part,
                        std::int64_t count) __attribute__((always_inline)) {
    for_each_vector<Arch, kAccumulators>(
        count, [&](auto access, int, std::int64_t i) __attribute__((always_inline)) {
          const V y = access.load(part.y + i, 0.0F), dy = access.load(part.dy + i, 0.0F);
          access.store(part.dx + i, Gradient::template result<Arch>(y, dy, sum) * factor);
        });
    row.written();
  });
}

/// Computes row r, which is `row`.
template <class Gradient, class Arch, class Row>
HEED_INLINE void gradient_row(const SoftmaxGradientRows& rows, std::int64_t r, Row& row) {
  using V = Vec<Arch>;
  const SoftmaxTemperatures& t = rows.temperatures;
  const float temperature = t.each == nullptr ? t.common : t.each[r];
  const float factor = t.each == nullptr ? t.factor.factor : t.scale / temperature;
  const auto sum = static_cast<float>(sum_of_terms<Gradient, Arch>(
      row, [](V y, V dy) __attribute__((always_inline)) { return Gradient::term(y, dy); }));
  if (rows.dt == nullptr) return write_gradient<Gradient, Arch>(row, sum, factor);
  const double total = write_and_correlate<Gradient, Arch>(row, sum, factor);
  // A factor of 0 makes all logits 0, whatever T is; NaN stays NaN.
  const double share = factor == 0.0F ? 0.0 : 1.0 / static_cast<double>(temperature);
  rows.dt[r] = static_cast<float>(0.0 - total * share);
}

template <class Gradient, class Arch>
void gradient_rows(const SoftmaxGradientRows& rows) {
  const bool floats =
      rows.y_type == DType::f32 && rows.dy_type == DType::f32 && rows.dx_type == DType::f32;
  for (std::int64_t r = 0; r < rows.rows; ++r) {
    if (floats && rows.visible == nullptr) {
      FloatGradientRow row(rows, r);
      gradient_row<Gradient, Arch>(rows, r, row);
    } else {
      StagedGradientRow<Gradient, Arch> row(rows, r);
      gradient_row<Gradient, Arch>(rows, r, row);
    }
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
