// Matrix products: the only door to OpenBLAS.
#pragma once

#include <cstdint>

#include "heed/layer.h"

namespace heed::detail {

/// Fails where a map lacks its weights or has sizes that OpenBLAS cannot count; `name` is what the
/// caller calls it.
Status check_linear(const char* name, const Linear& linear);

/// y = x Wᵀ + b, for what was checked; tokens ≥ 0. Where OpenBLAS is set to one thread the workers
/// of `options` share it.
Status multiply(const Linear& linear, std::int64_t tokens, const float* x, float* y,
                const RunOptions& options);

}  // namespace heed::detail
