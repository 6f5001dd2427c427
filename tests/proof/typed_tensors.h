// Tensors of a case in other element types.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "heed/tensor_data.h"
#include "tests/proof/geometry.h"
#include "tests/proof/guarded_buffer.h"

namespace heed::proof {

/// Elements of a type with guard pages around them, the end at one. All bits are set, which is NaN
/// in every type.
class TypedBuffer {
 public:
  TypedBuffer(DType type, std::int64_t elements);
  OutputData data() const { return data_; }
  /// All of its memory.
  std::span<std::byte> bytes() const;

 private:
  GuardedBuffer memory_;
  OutputData data_;
  std::size_t size_ = 0;
};

/// The nearest elements to a description's queries, keys or values, which are floats; as they lie.
TypedBuffer narrow_queries(const Geometry& geometry, const InputData& floats, DType type);

/// Keys or values, and the scales of codes.
struct TypedSide {
  TypedBuffer elements, scales, zero_points;  ///< the last ones empty where there are none

  /// Null where there are none.
  Scales scale_data() const;
};
TypedSide narrow_keys(const Geometry& geometry, const InputData& floats, DType type,
                      bool zero_points);
TypedSide narrow_values(const Geometry& geometry, const InputData& floats, DType type,
                        bool zero_points);

}  // namespace heed::proof
