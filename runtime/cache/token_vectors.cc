#include "runtime/cache/token_vectors.h"

#include "runtime/base/element_types.h"
#include "runtime/base/message.h"
#include "runtime/base/strides.h"

namespace heed::detail {
namespace {

using kernels::RotaryRule;
using kernels::Strides;
using kernels::TokenVectors;

Layout layout_of(const TokenTensor& t) {
  return t.layout.value_or(Layout{0, t.heads * t.dims, t.dims});
}

Axes axes_of(const TokenTensor& t, const Layout& layout) {
  return {{{"sequence_stride", layout.sequence_stride, 1},
           {"token_stride", layout.token_stride, t.tokens},
           {"head_stride", layout.head_stride, t.heads}}};
}

Status check_positions(std::span<const std::int64_t> positions, std::int64_t end,
                       const TokenVectors& vectors) {
  if (static_cast<std::int64_t>(positions.size()) != vectors.tokens) {
    return invalid("positions has ", positions.size(), " entries; it must have one for each of ",
                   vectors.tokens, " tokens");
  }
  for (std::size_t i = 0; i < positions.size(); ++i) {
    const bool skipped = vectors.slots != nullptr && vectors.slots[i] < 0;
    if (!skipped && (positions[i] < 0 || positions[i] >= end)) {
      return invalid("positions[", i, "] (", positions[i], ") must be from 0 to ", end - 1,
                     ", the last position of rotary");
    }
  }
  return {};
}

}  // namespace

Region region_of(const TokenTensor& t) {
  return {{t.name}, t.data.data(), StridedShape{axes_of(t, layout_of(t)), t.dims}, t.data.type()};
}

Status check_input(const TokenTensor& t, Strides& strides) {
  const Layout layout = layout_of(t);
  if (t.tokens > 0 && t.data == nullptr) return invalid(t.name, " must not be null");
  HEED_RETURN_IF_ERROR(check_type_of(t.name, t.data.type(), true));
  HEED_RETURN_IF_ERROR(check_reach(t.name, axes_of(t, layout), t.dims));
  const DTypeInfo& type = dtype_info(t.data.type());
  strides = {stride_bytes(layout.token_stride, type), stride_bytes(layout.head_stride, type)};
  return {};
}

Status check_output(const TokenTensor& t, Strides& strides) {
  HEED_RETURN_IF_ERROR(check_input(t, strides));
  return check_apart(t.name, axes_of(t, layout_of(t)), t.dims);
}

Status set_rotation(const Rotary& rotary, std::span<const std::int64_t> positions,
                    TokenVectors& vectors) {
  const RotaryConfig& config = rotary.config();
  if (config.rotary_dim == 0) return invalid("rotary must be made by Rotary::create first");
  if (config.rotary_dim > vectors.dims) {
    return invalid("head_dim (", vectors.dims, ") must be at least rotary_dim (", config.rotary_dim,
                   ")");
  }
  HEED_RETURN_IF_ERROR(check_positions(positions, config.positions, vectors));
  vectors.rule = config.pairs == RotaryPairs::adjacent ? RotaryRule::adjacent : RotaryRule::halves;
  vectors.rotary_dim = static_cast<std::int32_t>(config.rotary_dim);
  vectors.positions = positions.data();
  vectors.rotations = rotary.data();
  return {};
}

TokenVectors contiguous_rows(const InputData& from, const OutputData& to, std::int64_t rows,
                             std::int64_t dims) {
  TokenVectors v;
  v.x = static_cast<const std::byte*>(from.data());
  v.y = static_cast<std::byte*>(to.data());
  v.x_type = from.type();
  v.y_type = to.type();
  v.x_stride.token = dtype_info(from.type()).bytes(dims);
  v.y_stride.token = dtype_info(to.type()).bytes(dims);
  v.page_tokens = rows;
  v.tokens = rows;
  v.heads = 1;
  v.dims = static_cast<std::int32_t>(dims);
  return v;
}

TokenVectors rows_from(TokenVectors vectors, std::int64_t first, std::int64_t count) {
  vectors.x += first * vectors.x_stride.token;
  if (vectors.slots == nullptr) {
    vectors.y += first * vectors.y_stride.token;
  } else {
    vectors.slots += first;
  }
  if (vectors.positions != nullptr) vectors.positions += first;
  vectors.tokens = count;
  return vectors;
}

}  // namespace heed::detail
