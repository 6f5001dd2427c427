// Rows that have temperatures of their own: their factors, and which of them an item writes.
#pragma once

#include "kernels/interface.h"
#include "kernels/temperature.h"
#include "kernels/vector/simd.inl.h"

namespace heed::kernels {
namespace {

/// What the logits of a row are multiplied with.
HEED_INLINE LogitFactors factors_of(const AttentionShape& shape, const AttentionItem& item,
                                    std::int32_t row) {
  if (item.temperatures == nullptr) return {shape.query_factor, shape.unit, shape.softcap};
  return factors_at(temperature_of(shape.group, item, row), shape.scale, shape.softcap,
                    shape.pairs);
}

/// Whether an item writes a row: whether the row's weights are of the rule that it computes. The
/// others it computes beside them, to no purpose.
HEED_INLINE bool writes_row(const AttentionShape& shape, const AttentionItem& item,
                            std::int32_t row) {
  return item.temperatures == nullptr ||
         rule_at(temperature_of(shape.group, item, row)) == shape.rule;
}

}  // namespace
}  // namespace heed::kernels
