// Softmax over the rows of a matrix: checked, then spread over workers by rows.
#include "heed/softmax.h"

#include <cstdint>

#include "kernels/interface.h"
#include "runtime/base/float_environment.h"
#include "runtime/base/message.h"
#include "runtime/cpu/dispatch.h"
#include "runtime/softmax/softmax_validate.h"
#include "runtime/threads/parallel_for_rows.h"

namespace heed {
namespace detail {
namespace {

using kernels::KernelTable;
using kernels::SoftmaxGradientRows;
using kernels::SoftmaxRows;

// What a row costs besides its elements: two reductions across lanes and a division.
constexpr std::int64_t kElementsPerRow = 32;

// A result of at least this many elements, 32 MiB, is written by non-temporal stores: with its
// input, which is as large again, it fills the last cache that most processors have, so that its
// beginning would be gone from there by the time its end is written.
constexpr std::int64_t kNontemporalElements = std::int64_t{1} << 23;

SoftmaxRows rows_from(SoftmaxRows rows, std::int64_t first, std::int64_t count) {
  rows.x += first * rows.x_stride;
  rows.y += first * rows.y_stride;
  rows.rows = count;
  return rows;
}

SoftmaxGradientRows rows_from(SoftmaxGradientRows rows, std::int64_t first, std::int64_t count) {
  rows.y += first * rows.y_stride;
  rows.dy += first * rows.dy_stride;
  rows.dx += first * rows.dx_stride;
  rows.rows = count;
  return rows;
}

/// Runs the kernel over all rows. Rows are never cut, so a result depends on its row alone.
template <class KernelRows>
Status run_rows(void (*kernel)(const KernelRows&), const KernelRows& rows, int workers,
                Executor* executor) {
  return parallel_for_rows(
      rows.rows, rows.length + kElementsPerRow, workers, executor,
      [&](std::int64_t first, std::int64_t count) { kernel(rows_from(rows, first, count)); });
}

using SoftmaxKernel = void (*KernelTable::*)(const SoftmaxRows&);
using GradientKernel = void (*KernelTable::*)(const SoftmaxGradientRows&);

ConstRows read_only(const Rows& m) { return {m.data, m.rows, m.length, m.stride}; }

Status run_softmax(SoftmaxKernel kernel, const ConstRows& x, const NamedRows& output, float* y,
                   const SoftmaxOptions& options, std::int64_t output_length) noexcept {
  return guarded([&]() -> Status {
    const FloatEnvironment environment;
    SoftmaxSetting setting;
    const KernelTable* table = nullptr;
    const NamedRows inputs[] = {{"x", x}};
    if (Status fault = check_options(options, setting); !fault.ok()) return fault;
    if (Status fault = check_matrices(inputs, output, output_length); !fault.ok()) return fault;
    if (Status fault = select_kernels(options.isa, table); !fault.ok()) return fault;
    if (output_length == 0) return {};  // however many rows there are
    // Rows without elements may be null, which is no place to count from.
    const std::int64_t x_stride = x.length == 0 ? 0 : x.stride;
    SoftmaxRows rows{x.data, y,        x_stride,       output.rows.stride,
                     x.rows, x.length, setting.factor, setting.rule};
    rows.nontemporal =
        y != x.data && output_length > 0 && x.rows >= kNontemporalElements / output_length;
    return run_rows(table->*kernel, rows, setting.workers, options.executor);
  });
}

Status run_gradient(GradientKernel kernel, const ConstRows& y, const ConstRows& dy, const Rows& dx,
                    const SoftmaxOptions& options) noexcept {
  return guarded([&]() -> Status {
    const FloatEnvironment environment;
    SoftmaxSetting setting;
    const KernelTable* table = nullptr;
    const NamedRows inputs[] = {{"y", y}, {"dy", dy}};
    if (Status fault = check_options(options, setting); !fault.ok()) return fault;
    if (options.temperature == 0.0F) {
      return invalid("temperature (0) must be above 0: the argmax has no gradient");
    }
    if (Status fault = check_matrices(inputs, {"dx", read_only(dx)}, y.length); !fault.ok()) {
      return fault;
    }
    if (Status fault = select_kernels(options.isa, table); !fault.ok()) return fault;
    if (y.length == 0) return {};
    const SoftmaxGradientRows rows{y.data,    dy.data, dx.data,  y.stride,      dy.stride,
                                   dx.stride, y.rows,  y.length, setting.factor};
    return run_rows(table->*kernel, rows, setting.workers, options.executor);
  });
}

}  // namespace
}  // namespace detail

Status softmax(const ConstRows& x, const Rows& y, const SoftmaxOptions& options) noexcept {
  return detail::run_softmax(&kernels::KernelTable::softmax, x, {"y", detail::read_only(y)}, y.data,
                             options, x.length);
}

Status log_softmax(const ConstRows& x, const Rows& y, const SoftmaxOptions& options) noexcept {
  return detail::run_softmax(&kernels::KernelTable::log_softmax, x, {"y", detail::read_only(y)},
                             y.data, options, x.length);
}

Status log_sum_exp(const ConstRows& x, float* lse, const SoftmaxOptions& options) noexcept {
  return detail::run_softmax(&kernels::KernelTable::log_sum_exp, x, {"lse", {lse, x.rows, 1, 1}},
                             lse, options, 1);
}

Status softmax_gradient(const ConstRows& y, const ConstRows& dy, const Rows& dx,
                        const SoftmaxOptions& options) noexcept {
  return detail::run_gradient(&kernels::KernelTable::softmax_gradient, y, dy, dx, options);
}

Status log_softmax_gradient(const ConstRows& y, const ConstRows& dy, const Rows& dx,
                            const SoftmaxOptions& options) noexcept {
  return detail::run_gradient(&kernels::KernelTable::log_softmax_gradient, y, dy, dx, options);
}

}  // namespace heed
