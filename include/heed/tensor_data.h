// Pointers to the elements of a tensor that know their type, and how each type lies in memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string_view>
#include <type_traits>

#include "heed/dtype.h"

namespace heed {

/// A type's name, and how its elements lie in memory.
struct DTypeInfo {
  std::string_view name;
  std::int64_t block_elements;  ///< elements that are stored together; else 1
  std::int64_t block_bytes;     ///< of these
  std::int64_t alignment;       ///< of a tensor's first byte
  DType type;
  bool computes;  ///< queries and outputs may have it
  bool scaled;    ///< codes, which need scales in a tensor of their own (heed/scales.h)

  /// Bytes of so many elements, of whole blocks.
  constexpr std::int64_t bytes(std::int64_t elements) const {
    return elements / block_elements * block_bytes;
  }
};

/// All types, in the order of DType.
inline constexpr DTypeInfo kDTypes[] = {
    {"f32", 1, 4, 4, DType::f32, true, false},
    {"f16", 1, 2, 2, DType::f16, true, false},
    {"bf16", 1, 2, 2, DType::bf16, true, false},
    {"int8", 1, 1, 1, DType::int8, false, true},
    {"int4", 2, 1, 1, DType::int4, false, true},
    {"fp8_e4m3", 1, 1, 1, DType::fp8_e4m3, false, false},
    {"fp8_e5m2", 1, 1, 1, DType::fp8_e5m2, false, false},
    {"q8_0", 32, 34, 2, DType::q8_0, false, false},
    {"q4_0", 32, 18, 2, DType::q4_0, false, false},
};

/// Whether `type` is one of DType.
constexpr bool is_dtype(DType type) noexcept {
  return type >= DType::f32 && static_cast<std::size_t>(type) < std::size(kDTypes);
}

/// Of one of DType.
constexpr const DTypeInfo& dtype_info(DType type) noexcept {
  return kDTypes[static_cast<std::size_t>(type)];
}

namespace detail {

template <class Element>
struct DTypeOf;
template <>
struct DTypeOf<float> : std::integral_constant<DType, DType::f32> {};
template <>
struct DTypeOf<Float16> : std::integral_constant<DType, DType::f16> {};
template <>
struct DTypeOf<BFloat16> : std::integral_constant<DType, DType::bf16> {};
template <>
struct DTypeOf<std::int8_t> : std::integral_constant<DType, DType::int8> {};
template <>
struct DTypeOf<Int4Pair> : std::integral_constant<DType, DType::int4> {};
template <>
struct DTypeOf<Float8E4M3> : std::integral_constant<DType, DType::fp8_e4m3> {};
template <>
struct DTypeOf<Float8E5M2> : std::integral_constant<DType, DType::fp8_e5m2> {};
template <>
struct DTypeOf<BlockQ8> : std::integral_constant<DType, DType::q8_0> {};
template <>
struct DTypeOf<BlockQ4> : std::integral_constant<DType, DType::q4_0> {};

}  // namespace detail

/// A pointer to elements of a type that heed knows, made from `float*`, `const BFloat16*` and so on
/// as they are. Void is const void where elements are only read. Null has a type, too, which nobody
/// looks at.
template <class Void>
class TypedData {
 public:
  constexpr TypedData() noexcept = default;
  constexpr TypedData(std::nullptr_t) noexcept {}
  template <class Element, DType Type = detail::DTypeOf<std::remove_const_t<Element>>::value>
  requires std::is_convertible_v<Element*, Void*>
  constexpr TypedData(Element* elements) noexcept : data_(elements), type_(Type) {}
  /// For types that are known at run time only.
  constexpr TypedData(Void* data, DType type) noexcept : data_(data), type_(type) {}
  /// What may be written may be read.
  template <class Other>
  requires(std::is_const_v<Void>&& std::is_same_v<Other, void>) constexpr TypedData(
      const TypedData<Other>& other) noexcept
      : data_(other.data()), type_(other.type()) {}

  constexpr Void* data() const noexcept { return data_; }
  constexpr DType type() const noexcept { return type_; }
  /// The elements; null where they are of another type.
  template <class Element>
  constexpr auto as() const noexcept {
    using Pointer = std::conditional_t<std::is_const_v<Void>, const Element*, Element*>;
    return type_ == detail::DTypeOf<Element>::value ? static_cast<Pointer>(data_) : nullptr;
  }

  /// The same tensor from a later element on, of blocks the first of one.
  TypedData operator+(std::int64_t elements) const noexcept {
    using Byte = std::conditional_t<std::is_const_v<Void>, const std::byte, std::byte>;
    return {static_cast<Byte*>(data_) + dtype_info(type_).bytes(elements), type_};
  }
  TypedData& operator+=(std::int64_t elements) noexcept { return *this = *this + elements; }

  friend constexpr bool operator==(const TypedData&, const TypedData&) noexcept = default;
  friend constexpr bool operator==(const TypedData& data, std::nullptr_t) noexcept {
    return data.data_ == nullptr;
  }

 private:
  Void* data_ = nullptr;
  DType type_ = DType::f32;
};

/// Elements that heed reads.
using InputData = TypedData<const void>;
/// Elements that heed writes.
using OutputData = TypedData<void>;

}  // namespace heed
