// Checks of element types, and of what is stored in blocks.
#pragma once

#include <cstdint>
#include <string_view>

#include "heed/status.h"
#include "heed/tensor_data.h"
#include "runtime/base/message.h"
#include "runtime/base/strides.h"

namespace heed::detail {

inline std::string_view name_of(DType type) {
  return is_dtype(type) ? dtype_info(type).name : "no type that heed knows";
}

/// Whether a tensor that is there has the type that it was described with.
template <class Void>
Status check_given_type(const char* name, const TypedData<Void>& data, DType type) {
  if (data == nullptr || data.type() == type) return {};
  return invalid(name, " is of ", name_of(data.type()), "; the plan was made for ", name_of(type));
}

/// Whether `type` is one of DType; `computes` where it must be one for queries and outputs.
/// Allocates only on failure.
Status check_type(const char* name, DType type, bool computes);
/// The same for the type of a tensor's pointer.
Status check_type_of(const char* tensor, DType type, bool computes);

/// A stride in bytes. One that is not used may be anything, so that it may wrap around.
inline std::int64_t stride_bytes(std::int64_t elements, const DTypeInfo& type) {
  const auto blocks = static_cast<std::uint64_t>(elements / type.block_elements);
  return static_cast<std::int64_t>(blocks * static_cast<std::uint64_t>(type.block_bytes));
}

/// The same shape in bytes.
StridedShape in_bytes(StridedShape shape, const DTypeInfo& type);

/// Whether rows and strides of a tensor are whole blocks of its type.
Status check_blocks(const char* tensor, DType type, const StridedShape& shape);

}  // namespace heed::detail
