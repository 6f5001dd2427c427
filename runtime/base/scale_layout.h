// Scales of int8 and int4: where they lie, and whether they are there.
#pragma once

#include <cstdint>
#include <optional>

#include "heed/dtype.h"
#include "heed/scales.h"
#include "heed/status.h"
#include "runtime/base/regions.h"
#include "runtime/base/strides.h"

namespace heed::detail {

/// The vectors of one side of a batch, or of a pool: `outer` sequences or pages.
struct ScaledVectors {
  std::int64_t outer = 0, tokens = 0, heads = 0, dims = 0;
};

/// Of elements of a type: as given, with the group that 0 means, or one scale per token and head;
/// nothing for types that have no scales.
ScaleLayout complete_scales(const std::optional<ScaleLayout>& given, DType type,
                            const ScaledVectors& vectors);

/// The places of scales; none for types that have no scales. `layout` is complete.
StridedShape scale_shape(const ScaleLayout& layout, DType type, const ScaledVectors& vectors);

/// Whether a layout fits vectors of `dims` elements; of any number of heads and tokens.
Status check_groups(const char* name, const std::optional<ScaleLayout>& given, std::int64_t dims);

/// Whether scales are described for a type that has them only, and fit the address space.
Status check_scale_layout(const char* name, const std::optional<ScaleLayout>& given, DType type,
                          const ScaledVectors& vectors);

/// Whether scales are there, where they are needed, and nowhere else.
Status check_given_scales(const char* name, const Scales& scales, DType type, bool needed);

/// Whether a token has scales of its own, in pages of so many tokens.
bool has_own_scales(const ScaleLayout& layout, std::int64_t page_tokens);

}  // namespace heed::detail
