// Softmax and its relatives over the rows of a matrix: floats where they lie
// (softmax_floats.inl.h), other rows by way of scratch (softmax_staged.inl.h).
#pragma once

#include "kernels/interface.h"
#include "kernels/softmax/softmax_floats.inl.h"
#include "kernels/softmax/softmax_staged.inl.h"

namespace heed::kernels {
namespace {

template <class Output, class Arch>
void write_matrix(const SoftmaxRows& rows) {
  const bool floats = rows.x_type == DType::f32 && rows.y_type == DType::f32;
  if (!floats || rows.visible != nullptr) return write_staged_rows<Output, Arch>(rows);
  constexpr auto size = static_cast<std::ptrdiff_t>(sizeof(float));
  write_float_rows<Output, Arch>({reinterpret_cast<const float*>(rows.x),
                                  reinterpret_cast<float*>(rows.y), rows.x_stride / size,
                                  rows.y_stride / size, rows.rows, rows.length, rows.temperatures,
                                  rows.nontemporal});
}

template <class Arch>
void softmax_rows(const SoftmaxRows& rows) {
  write_matrix<SoftmaxOutput, Arch>(rows);
}

template <class Arch>
void log_softmax_rows(const SoftmaxRows& rows) {
  write_matrix<LogSoftmaxOutput, Arch>(rows);
}

template <class Arch>
void log_sum_exp_rows(const SoftmaxRows& rows) {
  write_matrix<LogSumExpOutput, Arch>(rows);
}

}  // namespace
}  // namespace heed::kernels
