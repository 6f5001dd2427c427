#include "runtime/base/element_types.h"

#include <string>

namespace heed::detail {
namespace {

/// "f32, f16, bf16"
std::string names(bool computes) {
  std::string list;
  for (const DTypeInfo& info : kDTypes) {
    if (computes && !info.computes) continue;
    list.append(list.empty() ? "" : ", ").append(info.name);
  }
  return list;
}

Status check(const char* what, const char* name, DType type, bool computes) {
  if (!is_dtype(type)) {
    return invalid(what, name, " (", static_cast<std::int32_t>(type), ") must be one of ",
                   names(computes));
  }
  if (!computes || dtype_info(type).computes) return {};
  return invalid(what, name, " (", dtype_info(type).name, ") must be one of ", names(true));
}

}  // namespace

Status check_type(const char* name, DType type, bool computes) {
  return check("", name, type, computes);
}

Status check_type_of(const char* tensor, DType type, bool computes) {
  return check("the type of ", tensor, type, computes);
}

StridedShape in_bytes(StridedShape shape, const DTypeInfo& type) {
  for (Axis& axis : shape.axes) axis.stride = stride_bytes(axis.stride, type);
  shape.dims = type.bytes(shape.dims);
  return shape;
}

Status check_blocks(const char* tensor, DType type, const StridedShape& shape) {
  const DTypeInfo& info = dtype_info(type);
  const std::int64_t block = info.block_elements;
  if (shape.dims % block != 0) {
    return invalid("the head dimension of ", tensor, " (", shape.dims, ") must be a multiple of ",
                   block, ", the elements of a block of ", info.name);
  }
  for (const Axis& axis : shape.axes) {
    if (axis.count > 1 && axis.stride % block != 0) {
      return invalid("the ", axis.name, " of ", tensor, " (", axis.stride,
                     ") must be a multiple of ", block, ", the elements of a block of ", info.name);
    }
  }
  return {};
}

}  // namespace heed::detail
