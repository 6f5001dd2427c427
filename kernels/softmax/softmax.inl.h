// Softmax and its relatives over the rows of a matrix: logits where they lie
// (softmax_floats.inl.h), other rows by way of scratch (softmax_staged.inl.h).
#pragma once

#include "kernels/interface.h"
#include "kernels/softmax/softmax_floats.inl.h"
#include "kernels/softmax/softmax_staged.inl.h"

namespace heed::kernels {
namespace {

/// Computes rows whose factors have the same sign and lead to the same rule.
template <class Output, class Arch>
void write_rows_of_kind(const SoftmaxRows& rows, SoftmaxFactor kind) {
  const bool floats = rows.x_type == DType::f32 && rows.y_type == DType::f32;
  if (!floats || rows.visible != nullptr) return write_staged_rows<Output, Arch>(rows, kind.rule);
  if (!(kind.factor < 0.0F)) return write_float_rows<Output, Arch>(float_rows(rows), kind.rule);
  if constexpr (Output::kWritesRows) {
    write_negated_rows<Output, Arch>(rows, kind.rule);
  } else {
    write_staged_rows<Output, Arch>(rows, kind.rule);
  }
}

/// Computes rows of any temperatures, whose factors have the sign of the scale: one after the other
/// those whose rules are of one kind.
template <class Output, class Arch>
void write_matrix(const SoftmaxRows& rows) {
  if (rows.temperatures.each == nullptr) {
    return write_rows_of_kind<Output, Arch>(rows, rows.temperatures.factor);
  }
  for (std::int64_t first = 0, end = 0; first < rows.rows; first = end) {
    const SoftmaxFactor kind = factor_of(rows.temperatures, first);
    do {
      ++end;
    } while (end < rows.rows && factor_of(rows.temperatures, end).rule == kind.rule);
    write_rows_of_kind<Output, Arch>(rows_from(rows, first, end - first), kind);
  }
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
