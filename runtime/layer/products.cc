#include "runtime/layer/products.h"

#include <cblas.h>

#include <algorithm>

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

}  // namespace

Status check_linear(const char* name, const Linear& linear) {
  if (linear.weight == nullptr) return invalid(name, " must not be null");
  HEED_RETURN_IF_ERROR(check_range("outputs", linear.outputs, 1, kMaxCount));
  return check_range("inputs", linear.inputs, 1, kMaxCount);
}

void multiply(const Linear& linear, std::int64_t tokens, const float* x, float* y) {
  if (tokens == 0) return;
  const auto rows = static_cast<blasint>(tokens), outputs = static_cast<blasint>(linear.outputs),
             inputs = static_cast<blasint>(linear.inputs);
  if (linear.bias != nullptr) {
    for (std::int64_t t = 0; t < tokens; ++t) {
      std::copy_n(linear.bias, outputs, y + t * linear.outputs);
    }
  }
  const CallGate::Place place(gate());
  const float keep = linear.bias != nullptr ? 1.0F : 0.0F;
  if (tokens == 1) {
    cblas_sgemv(CblasRowMajor, CblasNoTrans, outputs, inputs, 1, linear.weight, inputs, x, 1, keep,
                y, 1);
  } else {
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, outputs, inputs, 1, x, inputs,
                linear.weight, inputs, keep, y, outputs);
  }
}

}  // namespace detail

Status project(const Linear& linear, std::int64_t tokens, const float* x, float* y) noexcept {
  return detail::guarded([&]() -> Status {
    HEED_RETURN_IF_ERROR(detail::check_linear("weight", linear));
    HEED_RETURN_IF_ERROR(detail::check_range("tokens", tokens, 0, detail::kMaxCount));
    if (tokens > 0 && x == nullptr) return detail::invalid("x must not be null");
    if (tokens > 0 && y == nullptr) return detail::invalid("y must not be null");
    detail::multiply(linear, tokens, x, y);
    return {};
  });
}

}  // namespace heed
