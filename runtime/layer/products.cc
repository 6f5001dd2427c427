#include "runtime/layer/products.h"

#include <cblas.h>

#include <algorithm>
#include <atomic>

#include "heed/cpu.h"
#include "runtime/base/check_executor.h"
#include "runtime/base/float_environment.h"
#include "runtime/base/message.h"
#include "runtime/layer/call_gate.h"

namespace heed {
namespace detail {
namespace {

/// Of all calls of this process that come from heed. Never destroyed: they may come late.
CallGate& gate() {
  static auto* const gate = new CallGate(calls_at_once(openblas_get_config()));
  return *gate;
}

// Multiply-adds that pay for waking another worker: it takes some ten microseconds, in which a core
// does so many, or reads half as many weights.
constexpr std::int64_t kMultiplyAddsPerWorker = std::int64_t{1} << 18;

// What the kernels of OpenBLAS compute together is at most so many outputs wide.
constexpr std::int64_t kOutputsTogether = 64;

/// A product is cut into about this many pieces, whoever computes them: their sums are the same
/// bits on any number of threads.
constexpr std::int64_t kPieces = 16;

std::int64_t outputs_of_piece(const Linear& linear) {
  const std::int64_t blocks = (linear.outputs - 1) / (kPieces * kOutputsTogether) + 1;
  return blocks * kOutputsTogether;
}

/// A product, of which workers take pieces.
struct Product {
  const Linear& linear;
  std::int64_t tokens;
  const float* x;
  float* y;
  std::int64_t piece = 0;  ///< outputs of one
  std::atomic<std::int64_t> next = 0;

  int useful_workers(int workers) const {
    const std::int64_t most = workers == 0 ? cpu_info().default_workers : workers;
    const std::int64_t row = linear.inputs * tokens;
    const std::int64_t useful = linear.outputs > kMultiplyAddsPerWorker * most / row
                                    ? most
                                    : linear.outputs * row / kMultiplyAddsPerWorker;
    const std::int64_t pieces = (linear.outputs - 1) / piece + 1;
    return static_cast<int>(std::clamp<std::int64_t>(std::min(useful, pieces), 1, most));
  }

  static void work(void* pointer, int /*index*/) {
    auto& product = *static_cast<Product*>(pointer);
    const FloatEnvironment environment;
    for (;;) {
      const std::int64_t first = product.next.fetch_add(product.piece, std::memory_order_relaxed);
      if (first >= product.linear.outputs) return;
      product.compute(first, std::min(product.piece, product.linear.outputs - first));
    }
  }

  /// Outputs first … first + count − 1.
  void compute(std::int64_t first, std::int64_t count) const {
    const auto rows = static_cast<blasint>(tokens), columns = static_cast<blasint>(count),
               inputs = static_cast<blasint>(linear.inputs),
               stride = static_cast<blasint>(linear.outputs);
    const float* const weight = linear.weight + first * linear.inputs;
    float* const out = y + first;
    if (linear.bias != nullptr) {
      for (std::int64_t t = 0; t < tokens; ++t) {
        std::copy_n(linear.bias + first, count, out + t * linear.outputs);
      }
    }
    const CallGate::Place place(gate());
    const float keep = linear.bias != nullptr ? 1.0F : 0.0F;
    if (tokens == 1) {
      cblas_sgemv(CblasRowMajor, CblasNoTrans, columns, inputs, 1, weight, inputs, x, 1, keep, out,
                  1);
    } else {
      cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, columns, inputs, 1, x, inputs,
                  weight, inputs, keep, out, stride);
    }
  }
};

}  // namespace

Status check_linear(const char* name, const Linear& linear) {
  if (linear.weight == nullptr) return invalid(name, " must not be null");
  HEED_RETURN_IF_ERROR(check_range("outputs", linear.outputs, 1, kMaxCount));
  return check_range("inputs", linear.inputs, 1, kMaxCount);
}

Status multiply(const Linear& linear, std::int64_t tokens, const float* x, float* y,
                const RunOptions& options) {
  if (tokens == 0) return {};
  Product product{linear, tokens, x, y};
  if (openblas_get_num_threads() != 1) {
    product.compute(0, linear.outputs);
    return {};
  }
  product.piece = outputs_of_piece(linear);
  return parallel_for(product.useful_workers(options.workers), Product::work, &product,
                      options.executor);
}

}  // namespace detail

Status project(const Linear& linear, std::int64_t tokens, const float* x, float* y,
               const RunOptions& options) noexcept {
  return detail::guarded([&]() -> Status {
    HEED_RETURN_IF_ERROR(detail::check_linear("weight", linear));
    HEED_RETURN_IF_ERROR(detail::check_range("tokens", tokens, 0, detail::kMaxCount));
    if (tokens > 0 && x == nullptr) return detail::invalid("x must not be null");
    if (tokens > 0 && y == nullptr) return detail::invalid("y must not be null");
    HEED_RETURN_IF_ERROR(detail::check_workers(options.workers));
    HEED_RETURN_IF_ERROR(detail::check_executor(options.executor));
    return detail::multiply(linear, tokens, x, y, options);
  });
}

}  // namespace heed
