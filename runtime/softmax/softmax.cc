// Softmax over the rows of a matrix: checked, then spread over workers by rows.
#include "heed/softmax.h"

#include <cstddef>
#include <cstdint>
#include <span>

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

void skip_rows(kernels::SoftmaxTemperatures& temperatures, std::int64_t rows) {
  if (temperatures.each != nullptr) temperatures.each += rows;
}

SoftmaxRows rows_from(SoftmaxRows rows, std::int64_t first, std::int64_t count) {
  rows.x += first * rows.x_stride;
  rows.y += first * rows.y_stride;
  if (rows.visible != nullptr) rows.visible += first * rows.visible_stride;
  skip_rows(rows.temperatures, first);
  rows.rows = count;
  return rows;
}

SoftmaxGradientRows rows_from(SoftmaxGradientRows rows, std::int64_t first, std::int64_t count) {
  rows.y += first * rows.y_stride;
  rows.dy += first * rows.dy_stride;
  rows.dx += first * rows.dx_stride;
  if (rows.dt != nullptr) rows.dt += first;
  if (rows.visible != nullptr) rows.visible += first * rows.visible_stride;
  skip_rows(rows.temperatures, first);
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

std::ptrdiff_t stride_in_bytes(const ConstRows& m) {
  // Rows without elements may be null, which is no place to count from.
  return m.length == 0 ? 0 : dtype_info(m.data.type()).bytes(m.stride);
}

const std::byte* bytes_of(const ConstRows& m) {
  return static_cast<const std::byte*>(m.data.data());
}

const std::byte* bytes_of(const EntryMask& mask) {
  return reinterpret_cast<const std::byte*>(mask.visible);
}

Status run_softmax(SoftmaxKernel kernel, const ConstRows& x, const NamedRows& output,
                   const OutputData& y, const SoftmaxOptions& options,
                   std::int64_t output_length) noexcept {
  return guarded([&]() -> Status {
    const FloatEnvironment environment;
    SoftmaxSetting setting;
    const KernelTable* table = nullptr;
    const NamedRows inputs[] = {{"x", x}};
    HEED_RETURN_IF_ERROR(check_options(options, setting));
    HEED_RETURN_IF_ERROR(check_matrices(inputs, output, output_length, options));
    HEED_RETURN_IF_ERROR(check_temperatures(options, x.rows, false, setting));
    HEED_RETURN_IF_ERROR(select_kernels(options.isa, table));
    if (output_length == 0) return {};  // however many rows there are
    SoftmaxRows rows;
    rows.x = bytes_of(x);
    rows.y = static_cast<std::byte*>(y.data());
    rows.x_stride = stride_in_bytes(x);
    rows.y_stride = stride_in_bytes(output.rows);
    rows.rows = x.rows;
    rows.length = x.length;
    rows.temperatures = setting.temperatures;
    rows.x_type = x.data.type();
    rows.y_type = y.type();
    rows.visible = bytes_of(options.mask);
    rows.visible_stride = options.mask.stride;
    rows.nontemporal = rows.y != rows.x && x.rows >= kNontemporalElements / output_length;
    return run_rows(table->*kernel, rows, setting.workers, options.executor);
  });
}

Status run_gradient(GradientKernel kernel, const ConstRows& y, const ConstRows& dy, const Rows& dx,
                    float* dt, const SoftmaxOptions& options) noexcept {
  return guarded([&]() -> Status {
    const FloatEnvironment environment;
    SoftmaxSetting setting;
    const KernelTable* table = nullptr;
    const NamedRows matrices[] = {{"y", y}, {"dy", dy}, {"dx", read_only(dx)}};
    HEED_RETURN_IF_ERROR(check_options(options, setting));
    HEED_RETURN_IF_ERROR(
        check_matrices(std::span(matrices).first(2), matrices[2], y.length, options));
    HEED_RETURN_IF_ERROR(check_temperatures(options, y.rows, true, setting));
    if (dt != nullptr) HEED_RETURN_IF_ERROR(check_temperature_gradient(dt, matrices, options));
    HEED_RETURN_IF_ERROR(select_kernels(options.isa, table));
    if (y.length == 0 && dt == nullptr) return {};
    SoftmaxGradientRows rows;
    rows.y = bytes_of(y);
    rows.dy = bytes_of(dy);
    rows.dx = static_cast<std::byte*>(dx.data.data());
    rows.dt = dt;
    rows.y_stride = stride_in_bytes(y);
    rows.dy_stride = stride_in_bytes(dy);
    rows.dx_stride = stride_in_bytes(matrices[2].rows);
    rows.rows = y.rows;
    rows.length = y.length;
    rows.temperatures = setting.temperatures;
    rows.y_type = y.data.type();
    rows.dy_type = dy.data.type();
    rows.dx_type = dx.data.type();
    rows.visible = bytes_of(options.mask);
    rows.visible_stride = options.mask.stride;
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
  return softmax_gradient(y, dy, dx, nullptr, options);
}

Status log_softmax_gradient(const ConstRows& y, const ConstRows& dy, const Rows& dx,
                            const SoftmaxOptions& options) noexcept {
  return log_softmax_gradient(y, dy, dx, nullptr, options);
}

Status softmax_gradient(const ConstRows& y, const ConstRows& dy, const Rows& dx, float* dt,
                        const SoftmaxOptions& options) noexcept {
  return detail::run_gradient(&kernels::KernelTable::softmax_gradient, y, dy, dx, dt, options);
}

Status log_softmax_gradient(const ConstRows& y, const ConstRows& dy, const Rows& dx, float* dt,
                            const SoftmaxOptions& options) noexcept {
  return detail::run_gradient(&kernels::KernelTable::log_softmax_gradient, y, dy, dx, dt, options);
}

}  // namespace heed
