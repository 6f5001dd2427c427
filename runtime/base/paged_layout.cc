#include "runtime/base/paged_layout.h"

#include "heed/attention.h"
#include "runtime/base/message.h"
#include "runtime/base/scale_layout.h"

namespace heed::detail {
namespace {

Axes axes_of(const PagedLayout& layout, const PageStrides& strides) {
  return {{{"page", strides.page, layout.pages},
           {"token", strides.token, layout.page_tokens},
           {"head", strides.head, layout.kv_heads}}};
}

Status check_pool(const char* name, const PagedLayout& layout, const PageStrides& strides,
                  std::int64_t dims) {
  const Axes axes = axes_of(layout, strides);
  for (const Axis& axis : axes) {
    if (axis.stride < 0) {
      return invalid("layout.", name, ".", axis.name, " (", axis.stride, ") must be 0 or more");
    }
  }
  HEED_RETURN_IF_ERROR(check_reach(name, axes, dims));
  return check_apart(name, axes, dims);
}

Status check_scales(const char* name, const std::optional<ScaleLayout>& scales, std::int64_t dims) {
  if (!scales) return {};
  if (scales->sequence_stride < 0 || scales->token_stride < 0 || scales->head_stride < 0) {
    return invalid(name, ": strides (", scales->sequence_stride, ", ", scales->token_stride, ", ",
                   scales->head_stride, ") must be 0 or more");
  }
  return check_groups(name, scales, dims);
}

}  // namespace

StridedShape pool_shape(const PagedLayout& layout, const PageStrides& strides, std::int64_t dims) {
  return {axes_of(layout, strides), dims};
}

Status check_paged_layout(const PagedLayout& layout) {
  HEED_RETURN_IF_ERROR(check_range("layout.pages", layout.pages, 1, kMaxCount));
  HEED_RETURN_IF_ERROR(check_range("layout.page_tokens", layout.page_tokens, 1, kMaxCount));
  HEED_RETURN_IF_ERROR(check_range("layout.kv_heads", layout.kv_heads, 1, kMaxCount));
  HEED_RETURN_IF_ERROR(check_range("layout.head_dim", layout.head_dim, 1, kMaxHeadDim));
  HEED_RETURN_IF_ERROR(check_range("layout.value_head_dim", layout.value_head_dim, 1, kMaxHeadDim));
  HEED_RETURN_IF_ERROR(check_pool("k", layout, layout.k, layout.head_dim));
  HEED_RETURN_IF_ERROR(check_pool("v", layout, layout.v, layout.value_head_dim));
  HEED_RETURN_IF_ERROR(check_scales("layout.k_scales", layout.k_scales, layout.head_dim));
  return check_scales("layout.v_scales", layout.v_scales, layout.value_head_dim);
}

std::int64_t pool_elements(const PagedLayout& layout, const PageStrides& strides,
                           std::int64_t dims) {
  return (layout.pages - 1) * strides.page + (layout.page_tokens - 1) * strides.token +
         (layout.kv_heads - 1) * strides.head + dims;
}

}  // namespace heed::detail
