// Softmax over the rows of a matrix: checked, then cut into chunks of rows that workers take.
#include "heed/softmax.h"

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "kernels/abi.h"
#include "runtime/dispatch.h"
#include "runtime/executor.h"
#include "runtime/float_environment.h"
#include "runtime/message.h"
#include "runtime/softmax_validate.h"

namespace heed {
namespace detail {
namespace {

using kernels::KernelTable;
using kernels::SoftmaxGradientRows;
using kernels::SoftmaxRows;

// Elements of work that pay for waking another worker: it takes some ten microseconds, and a core
// does one to three elements per nanosecond.
constexpr std::int64_t kElementsPerWorker = 32768;

// Elements of a chunk, at least: taking one costs less than a thousandth of computing it.
constexpr std::int64_t kElementsPerChunk = 8192;

// Chunks per worker, where there is work enough: a worker that is held up then delays the end by
// little.
constexpr std::int64_t kChunksPerWorker = 8;

// What a row costs besides its elements: two reductions across lanes and a division.
constexpr std::int64_t kElementsPerRow = 32;

// A result of so many elements, 32 MiB, is written around the caches: with its input as large again
// it fills the last cache that most processors have, so that its beginning would be gone from there
// by the time its end is written.
constexpr std::int64_t kElementsAroundCache = std::int64_t{1} << 23;

SoftmaxRows part_of(SoftmaxRows rows, std::int64_t first, std::int64_t count) {
  rows.x += first * rows.x_stride;
  rows.y += first * rows.y_stride;
  rows.rows = count;
  return rows;
}

SoftmaxGradientRows part_of(SoftmaxGradientRows rows, std::int64_t first, std::int64_t count) {
  rows.y += first * rows.y_stride;
  rows.dy += first * rows.dy_stride;
  rows.dx += first * rows.dx_stride;
  rows.rows = count;
  return rows;
}

/// A kernel and its rows, from which shares take chunks until none is left.
template <class KernelRows>
struct RowWork {
  void (*kernel)(const KernelRows& rows);
  KernelRows rows;
  std::int64_t chunk = 1;
  std::atomic<std::int64_t> next = 0;

  static void share(void* context, int) {
    auto& work = *static_cast<RowWork*>(context);
    const FloatEnvironment environment;
    for (;;) {
      const std::int64_t first = work.next.fetch_add(work.chunk, std::memory_order_relaxed);
      if (first >= work.rows.rows) return;
      work.kernel(part_of(work.rows, first, std::min(work.chunk, work.rows.rows - first)));
    }
  }
};

/// Runs the kernel over all rows. Rows are never cut, so a result depends on its row alone.
template <class KernelRows>
Status spread(void (*kernel)(const KernelRows&), const KernelRows& rows, int workers,
              Executor* executor) {
  RowWork<KernelRows> work{kernel, rows};
  const std::int64_t row = rows.length + kElementsPerRow;
  const std::int64_t elements = rows.rows > INT64_MAX / row ? INT64_MAX : rows.rows * row;
  const std::int64_t useful = std::min(rows.rows, elements / kElementsPerWorker);
  const std::int64_t shares = std::clamp<std::int64_t>(useful, 1, workers);
  work.chunk = shares == 1 ? std::max<std::int64_t>(rows.rows, 1)
                           : std::max({std::int64_t{1}, rows.rows / (shares * kChunksPerWorker),
                                       kElementsPerChunk / row});
  return run_shares(static_cast<int>(shares), executor, &RowWork<KernelRows>::share, &work);
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
    SoftmaxRows rows{x.data, y,        x.stride,       output.rows.stride,
                     x.rows, x.length, setting.factor, setting.rule};
    rows.around_cache =
        y != x.data && output_length > 0 && x.rows >= kElementsAroundCache / output_length;
    return spread(table->*kernel, rows, setting.workers, options.executor);
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
    const SoftmaxGradientRows rows{y.data,    dy.data, dx.data,  y.stride,      dy.stride,
                                   dx.stride, y.rows,  y.length, setting.factor};
    return spread(table->*kernel, rows, setting.workers, options.executor);
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
