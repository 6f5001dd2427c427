// Checks of a PagedLayout, for whoever is given one.
#pragma once

#include <cstdint>

#include "heed/paged_layout.h"
#include "heed/status.h"
#include "runtime/base/strides.h"

namespace heed::detail {

/// Whether every element of keys and of values has a place of its own in the address space.
Status check_paged_layout(const PagedLayout& layout);

/// The pool of keys, or of values.
StridedShape pool_shape(const PagedLayout& layout, const PageStrides& strides, std::int64_t dims);

/// Elements from the first of a pool to one past its last. The layout must be valid.
std::int64_t pool_elements(const PagedLayout& layout, const PageStrides& strides,
                           std::int64_t dims);

}  // namespace heed::detail
