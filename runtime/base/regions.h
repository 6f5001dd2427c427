// Where callers' tensors lie: whether they share memory, and begin where elements can.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "heed/dtype.h"
#include "heed/status.h"
#include "runtime/base/strides.h"

namespace heed::detail {

/// The caller's name for a tensor: "q", "states.o", or "shards[3].o".
struct RegionName {
  const char* name = "";
  const char* field = "";
  std::int64_t index = -1;  ///< printed where it is not negative

  std::string text() const;
};

/// The elements of a tensor in memory. Null has none.
class Region {
 public:
  Region() = default;
  /// `shape`, in elements, has passed check_reach.
  Region(const RegionName& name, const void* data, const StridedShape& shape,
         DType type = DType::f32);
  /// Floats that lie one after the other.
  Region(const RegionName& name, const void* data, std::int64_t floats);
  /// The numbers of a list, of 4 or 8 bytes each.
  template <class Number>
  Region(const RegionName& name, std::span<Number> list)
      : Region(name, list.data(), static_cast<std::int64_t>(list.size_bytes() / sizeof(float))) {}

  bool empty() const { return begin_ >= end_; }
  /// All lie in the addresses from begin to end, as far as these are addresses.
  std::int64_t begin() const { return begin_; }
  std::int64_t end() const { return end_; }
  const RegionName& name() const { return name_; }
  const StridedShape& shape() const { return shape_; }  ///< in bytes
  /// Whether data is where an element may begin, or null.
  bool aligned() const {
    return reinterpret_cast<std::uintptr_t>(data_) % static_cast<std::uintptr_t>(alignment_) == 0;
  }
  std::int64_t alignment() const { return alignment_; }
  /// Whether each element is in the same place as that of the other one, of the same shape.
  bool same_place(const Region& other) const;

 private:
  RegionName name_;
  const void* data_ = nullptr;
  StridedShape shape_{};
  std::int64_t alignment_ = 1;
  std::int64_t begin_ = 0, end_ = 0;
};

/// Whether an element of the one is one of the other. Regions may interleave, as queries and
/// outputs do that lie in one buffer token by token. Takes a few comparisons where they lie apart
/// or interleave with common strides; else perhaps a step for each vector of `any`. The elements of
/// `apart` have passed check_apart.
bool share_elements(const Region& any, const Region& apart);

/// Whether tensors of these shapes are certain to share no element where the first element of b in
/// memory lies `distance` after that of a, for they repeat themselves in common steps and keep to
/// other parts of these.
bool interleave(const StridedShape& a, const StridedShape& b, std::int64_t distance);

Status check_aligned(const Region& region);

/// Whether all are aligned, and no element of an output, whose elements lie apart, is one of an
/// input or of another output.
Status check_regions(std::span<const Region> outputs, std::span<const Region> inputs);

}  // namespace heed::detail
