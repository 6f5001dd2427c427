#include "runtime/base/scale_layout.h"

#include "runtime/base/element_types.h"
#include "runtime/base/message.h"

namespace heed::detail {

ScaleLayout complete_scales(const std::optional<ScaleLayout>& given, DType type,
                            const ScaledVectors& v) {
  if (!dtype_info(type).scaled) return {};
  ScaleLayout layout = given.value_or(v.outer == 0 || v.tokens == 0
                                          ? ScaleLayout()
                                          : ScaleLayout::per_token(v.tokens, v.heads, v.dims));
  if (layout.group == 0) layout.group = v.dims;
  return layout;
}

StridedShape scale_shape(const ScaleLayout& layout, DType type, const ScaledVectors& v) {
  if (!dtype_info(type).scaled) return {};
  return {{{{"sequence_stride", layout.sequence_stride, v.outer},
            {"token_stride", layout.token_stride, v.tokens},
            {"head_stride", layout.head_stride, v.heads}}},
          v.dims / layout.group};
}

Status check_groups(const char* name, const std::optional<ScaleLayout>& given, std::int64_t dims) {
  if (!given || given->group == 0) return {};
  if (given->group > 0 && dims % given->group == 0) return {};
  return invalid(name, ".group (", given->group, ") must divide the head dimension (", dims, ")");
}

Status check_scale_layout(const char* name, const std::optional<ScaleLayout>& given, DType type,
                          const ScaledVectors& vectors) {
  if (!dtype_info(type).scaled) {
    if (!given) return {};
    return invalid(name, " are for int8 and int4; elements of ", name_of(type),
                   " have no scales of their own");
  }
  HEED_RETURN_IF_ERROR(check_groups(name, given, vectors.dims));
  const ScaleLayout layout = complete_scales(given, type, vectors);
  const StridedShape shape = scale_shape(layout, type, vectors);
  return check_reach(name, shape.axes, shape.dims);
}

Status check_given_scales(const char* name, const Scales& scales, DType type, bool needed) {
  if (!dtype_info(type).scaled) {
    if (scales.scales == nullptr && scales.zero_points == nullptr) return {};
    return invalid(name, " must be null: elements of ", name_of(type),
                   " have no scales of their own");
  }
  if (scales.scales != nullptr || !needed) return {};
  return invalid(name, ".scales is null; elements of ", name_of(type), " need scales");
}

bool has_own_scales(const ScaleLayout& layout, std::int64_t page_tokens) {
  return (page_tokens == 1 ? layout.sequence_stride : layout.token_stride) != 0;
}

}  // namespace heed::detail
