#include "heed/head_norm.h"

#include <cmath>

#include "runtime/base/check_executor.h"
#include "runtime/base/message.h"
#include "runtime/base/regions.h"
#include "runtime/cache/token_vectors.h"
#include "runtime/cpu/dispatch.h"
#include "runtime/threads/parallel_for_rows.h"

namespace heed {
namespace {

using detail::guarded;
using detail::invalid;
using detail::Region;
using detail::TokenTensor;
using kernels::Strides;

/// In the order of heed/head_norm.h. Products of floats are exact in double.
double sum_of_squares(const float* x, std::int64_t dims) {
  constexpr int kSums = 8;
  double sums[kSums] = {};
  std::int64_t i = 0;
  for (; i + kSums <= dims; i += kSums) {
    for (int s = 0; s < kSums; ++s) sums[s] += double{x[i + s]} * double{x[i + s]};
  }
  for (int s = 0; i < dims; ++i, ++s) sums[s] += double{x[i]} * double{x[i]};
  for (int half = kSums / 2; half > 0; half /= 2) {
    for (int s = 0; s < half; ++s) sums[s] += sums[s + half];
  }
  return sums[0];
}

void normalise(const RmsNorm& norm, std::int64_t dims, const float* x, float* y) {
  const double mean = sum_of_squares(x, dims) / static_cast<double>(dims);
  const double factor = 1 / std::sqrt(mean + norm.epsilon);
  const double offset = norm.weight_offset;
  for (std::int64_t i = 0; i < dims; ++i) {
    const double weight = norm.weight == nullptr ? 1 : double{norm.weight[i]};
    y[i] = static_cast<float>(double{x[i]} * factor * (weight + offset));
  }
}

/// A tensor of heads, where they lie.
template <class Void>
struct Heads {
  TypedData<Void> data;
  Strides stride = {};  ///< in bytes

  TypedData<Void> of(std::int64_t token, std::int64_t head) const {
    using Byte = std::conditional_t<std::is_const_v<Void>, const std::byte, std::byte>;
    auto* const first = static_cast<Byte*>(data.data());
    return {first + token * stride.token + head * stride.head, data.type()};
  }
};

/// A head of any type, by way of floats.
void normalise(const kernels::KernelTable& table, const RmsNorm& norm, std::int64_t dims,
               const InputData& x, const OutputData& y) {
  float wide[kMaxHeadDim];
  const float* from = x.as<float>();
  float* const to = y.as<float>() == nullptr ? wide : y.as<float>();
  if (from == nullptr) {
    table.write_kv_slots(detail::contiguous_rows(x, wide, 1, dims));
    from = wide;
  }
  normalise(norm, dims, from, to);
  if (to == wide) table.write_kv_slots(detail::contiguous_rows(wide, y, 1, dims));
}

Status check_norm(const RmsNorm& norm) {
  if (!std::isfinite(norm.weight_offset)) {
    return invalid("weight_offset (", norm.weight_offset, ") must be finite");
  }
  if (norm.epsilon > 0 && std::isfinite(norm.epsilon)) return {};
  return invalid("epsilon (", norm.epsilon, ") must be above 0 and finite");
}

/// Whether y is x, or shares no element with it; and none with the weights.
Status check_places(const RmsNorm& norm, std::int64_t dims, const Region& x, const Region& y,
                    bool same_type) {
  const auto weights = static_cast<std::size_t>(norm.weight == nullptr ? 0 : dims);
  const Region weight({"weight"}, std::span(norm.weight, weights));
  const Region in_place[] = {weight}, apart[] = {x, weight};
  if (same_type && x.same_place(y)) return detail::check_regions({&y, 1}, in_place);
  return detail::check_regions({&y, 1}, apart);
}

Status describe(const RmsNorm& norm, const HeadTensors& t, Strides& x_stride, Strides& y_stride) {
  HEED_RETURN_IF_ERROR(check_norm(norm));
  HEED_RETURN_IF_ERROR(detail::check_range("tokens", t.tokens, 0, detail::kMaxCount));
  HEED_RETURN_IF_ERROR(detail::check_range("heads", t.heads, 1, detail::kMaxCount));
  HEED_RETURN_IF_ERROR(detail::check_range("head_dim", t.head_dim, 1, kMaxHeadDim));
  const TokenTensor x{"x", t.x, t.x_layout, t.tokens, t.heads, t.head_dim};
  const TokenTensor y{"y", t.y, t.y_layout, t.tokens, t.heads, t.head_dim};
  HEED_RETURN_IF_ERROR(detail::check_input(x, x_stride));
  HEED_RETURN_IF_ERROR(detail::check_output(y, y_stride));
  return check_places(norm, t.head_dim, detail::region_of(x), detail::region_of(y),
                      t.x.type() == t.y.type());
}

}  // namespace

Status normalise_heads(const RmsNorm& norm, const HeadTensors& tensors,
                       const RunOptions& options) noexcept {
  return guarded([&]() -> Status {
    Heads<const void> x{tensors.x};
    Heads<void> y{tensors.y};
    int workers = 1;
    const kernels::KernelTable* table = nullptr;
    HEED_RETURN_IF_ERROR(describe(norm, tensors, x.stride, y.stride));
    HEED_RETURN_IF_ERROR(detail::check_executor(options.executor));
    HEED_RETURN_IF_ERROR(detail::complete_workers(options.workers, workers));
    HEED_RETURN_IF_ERROR(detail::select_kernels(options.isa, table));
    return detail::parallel_for_rows(tensors.tokens, tensors.heads * tensors.head_dim, workers,
                                     options.executor, [&](std::int64_t first, std::int64_t count) {
                                       for (std::int64_t t = first; t < first + count; ++t) {
                                         for (std::int64_t h = 0; h < tensors.heads; ++h) {
                                           normalise(*table, norm, tensors.head_dim, x.of(t, h),
                                                     y.of(t, h));
                                         }
                                       }
                                     });
  });
}

}  // namespace heed
