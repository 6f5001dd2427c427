// How many pieces of one size something takes.
#pragma once

#include <cstdint>

namespace heed::detail {

constexpr std::int64_t ceil_div(std::int64_t count, std::int64_t size) {
  return (count + size - 1) / size;
}

}  // namespace heed::detail
