// Softmax of matrices, and its gradients.
#include "bindings/c/convert.h"
#include "bindings/c/handles.h"

namespace heed::c {

ConstRows to_cpp(const Path& path, const heed_const_rows* given) {
  const heed_const_rows c = read(path, given);
  return {to_cpp(c.data), c.rows, c.length, c.stride};
}

Rows to_cpp(const Path& path, const heed_rows* given) {
  const heed_rows c = read(path, given);
  return {to_cpp(c.data), c.rows, c.length, c.stride};
}

SoftmaxOptions to_cpp(const Path& path, const heed_softmax_options* given) {
  const heed_softmax_options c = read(path, given);
  return {
      .scale = c.scale,
      .temperature = c.temperature,
      .temperatures = elements(path.member("temperatures"), c.temperatures, c.temperatures_count),
      .mask = {c.mask.visible, c.mask.stride},
      .isa = name_of(c.isa),
      .workers = c.workers,
      .executor = value_of(c.executor)};
}

namespace {

using Gradient = Status (*)(const ConstRows&, const ConstRows&, const Rows&, float*,
                            const SoftmaxOptions&) noexcept;

heed_status gradient(Gradient gradient_of, const heed_const_rows* y, const heed_const_rows* dy,
                     const heed_rows* dx, float* dt, const heed_softmax_options* options) {
  return call([&] {
    return gradient_of(to_cpp("y", y), to_cpp("dy", dy), to_cpp("dx", dx), dt,
                       or_defaults("options", options));
  });
}

}  // namespace
}  // namespace heed::c

using heed::c::call;
using heed::c::or_defaults;
using heed::c::to_cpp;

heed_status heed_softmax(const heed_const_rows* x, const heed_rows* y,
                         const heed_softmax_options* options) {
  return call([&] {
    return heed::softmax(to_cpp("x", x), to_cpp("y", y), or_defaults("options", options));
  });
}

heed_status heed_log_softmax(const heed_const_rows* x, const heed_rows* y,
                             const heed_softmax_options* options) {
  return call([&] {
    return heed::log_softmax(to_cpp("x", x), to_cpp("y", y), or_defaults("options", options));
  });
}

heed_status heed_log_sum_exp(const heed_const_rows* x, float* lse,
                             const heed_softmax_options* options) {
  return call(
      [&] { return heed::log_sum_exp(to_cpp("x", x), lse, or_defaults("options", options)); });
}

heed_status heed_softmax_gradient(const heed_const_rows* y, const heed_const_rows* dy,
                                  const heed_rows* dx, float* dt,
                                  const heed_softmax_options* options) {
  return heed::c::gradient(heed::softmax_gradient, y, dy, dx, dt, options);
}

heed_status heed_log_softmax_gradient(const heed_const_rows* y, const heed_const_rows* dy,
                                      const heed_rows* dx, float* dt,
                                      const heed_softmax_options* options) {
  return heed::c::gradient(heed::log_softmax_gradient, y, dy, dx, dt, options);
}
