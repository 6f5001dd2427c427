// Reading what C functions are given, and writing what they give. Whatever cannot be used is
// refused with a sentence that names it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "bindings/c/defaults.h"
#include "bindings/c/status.h"

namespace heed::c {

template <class T>
T& needed(const Path& path, T* pointer) {
  if (pointer == nullptr) refuse(path, " must not be null");
  return *pointer;
}

template <class T>
std::span<T> elements(const Path& path, T* data, std::size_t count) {
  if (data == nullptr && count > 0) {
    refuse(path, " must not be null: ", count, " elements are asked for");
  }
  return {data, count};
}

/// Refuses what cannot be the size of any version of a struct.
void check_struct_size(const Path& path, std::size_t size);
/// Refuses a struct that says more than this heed knows.
void check_unknown_members(const Path& path, const void* given, std::size_t size,
                           std::size_t known);

/// A struct as this heed knows it, whatever the version that the caller was compiled with.
template <class Struct>
Struct read(const Path& path, const Struct* given) {
  const std::size_t size = needed(path, given).struct_size;
  check_struct_size(path, size);
  check_unknown_members(path, given, size, sizeof(Struct));
  Struct c = defaults<Struct>();
  std::memcpy(&c, given, std::min(size, sizeof c));
  if constexpr (requires { c.reserved; }) {
    if (c.reserved != 0) refuse(path.member("reserved"), " (", c.reserved, ") must be 0");
  }
  return c;
}

/// Writes as much of a struct as the caller, who has said so in it, knows.
template <class Struct>
void write(const Path& path, Struct value, Struct* out) {
  value.struct_size = needed(path, out).struct_size;
  check_struct_size(path, value.struct_size);
  std::memcpy(out, &value, std::min(value.struct_size, sizeof value));
}

/// As snprintf does: cut off where there is too little room, and how long it would be.
void write_text(std::string_view text, char* out, std::size_t size, std::size_t* length);

/// What a null pointer means nothing by: an optional struct, converted by its to_cpp.
template <class Struct>
auto optional(const Path& path, const Struct* given) {
  using Cpp = decltype(to_cpp(path, given));
  return given == nullptr ? std::optional<Cpp>() : std::optional<Cpp>(to_cpp(path, given));
}

/// A struct of which null means all defaults, likewise.
template <class Struct>
auto or_defaults(const Path& path, const Struct* given) {
  using Cpp = decltype(to_cpp(path, given));
  return given == nullptr ? Cpp() : to_cpp(path, given);
}

/// An array of structs, which lie as far apart as the first one says that it is large.
template <class Struct>
auto array(const Path& path, const Struct* given, std::size_t count) {
  std::vector<decltype(to_cpp(path, given))> values(elements(path, given, count).size());
  const auto* bytes = reinterpret_cast<const std::byte*>(given);
  for (std::size_t i = 0; i < count; ++i) {
    const auto* element = reinterpret_cast<const Struct*>(bytes + i * given->struct_size);
    if (element->struct_size != given->struct_size) {
      refuse(path.element(i), ".struct_size (", element->struct_size,
             ") must be that of the first (", given->struct_size, ")");
    }
    values[i] = to_cpp(path.element(i), element);
  }
  return values;
}

/// Makes a handle, which `make` fills, and hands it out where that has worked.
template <class Handle, class Make>
Status create(const Path& path, Handle** out, const Make& make) {
  Handle*& place = needed(path, out);
  auto handle = std::make_unique<Handle>();
  Status status = make(*handle);
  if (status.ok()) place = handle.release();
  return status;
}

/// The same for what needs nothing.
template <class Handle>
Status create(const Path& path, Handle** out) {
  return create(path, out, [](Handle&) { return Status(); });
}

}  // namespace heed::c
