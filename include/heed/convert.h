// Numbers of one element type as those of another.
#pragma once

#include <cstdint>

#include "heed/executor.h"
#include "heed/export.h"
#include "heed/status.h"
#include "heed/tensor_data.h"

namespace heed {

/// Writes `elements` numbers, which lie one after the other, as numbers of another type: as floats
/// exactly, as others rounded or quantised in the way of heed::append (heed/kv_cache.h); numbers of
/// the same type are copied. Any type but int8 and int4, which have scales of their own, may become
/// any other; of types that are stored in blocks, `elements` must be whole ones. `to` may not
/// overlap `from`. Allocates nothing; fails before anything is written.
HEED_API Status convert(const InputData& from, const OutputData& to, std::int64_t elements,
                        const RunOptions& options = {}) noexcept;

}  // namespace heed
