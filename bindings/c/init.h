// How the init function of a struct that may grow is defined.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "bindings/c/arguments.h"

namespace heed::c {

template <class Struct, class Member>
constexpr std::size_t size_of(Member Struct::* /*member*/) {
  return sizeof(Member);  // NOLINT(bugprone-sizeof-expression): of pointers, too
}

template <class Struct>
heed_status init(Struct* value, std::size_t struct_size) {
  return call([&] {
    Struct& struct_of_caller = needed("value", value);
    check_struct_size("value", struct_size);
    auto defaults = c::defaults<Struct>();
    defaults.struct_size = struct_size;
    std::memset(static_cast<void*>(&struct_of_caller), 0, struct_size);
    std::memcpy(&struct_of_caller, &defaults, std::min(struct_size, sizeof defaults));
  });
}

}  // namespace heed::c

// A struct with its last member, behind which there is no padding: a member that is added there
// would be read from callers that do not have it. NOLINTBEGIN(bugprone-macro-parentheses)
#define HEED_C_DEFINE_INIT(type, last)                                                 \
  static_assert(offsetof(type, last) + heed::c::size_of(&type::last) == sizeof(type)); \
  static_assert(alignof(type) == sizeof(size_t));                                      \
  heed_status type##_init_sized(type* value, size_t struct_size) {                     \
    return heed::c::init(value, struct_size);                                          \
  }                                                                                    \
  static_assert(offsetof(type, struct_size) == 0)
// NOLINTEND(bugprone-macro-parentheses)
