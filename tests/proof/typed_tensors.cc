#include "tests/proof/typed_tensors.h"

#include <cstring>

#include "tests/proof/elements.h"

namespace heed::proof {
namespace {

std::size_t bytes_of(DType type, std::int64_t elements) {
  return static_cast<std::size_t>(dtype_info(type).bytes(elements));
}

/// Narrows the vectors of all tokens and heads of one side.
TypedBuffer narrow_side(const Geometry& geometry, const Tokens& tokens, const Layout& layout,
                        std::int64_t heads, std::int64_t dims, const InputData& floats,
                        DType type) {
  TypedBuffer typed(type, extent(tokens, layout, geometry.sequences(), heads, dims));
  for (std::int64_t b = 0; b < geometry.sequences(); ++b) {
    for (std::int64_t i = 0; i < tokens.length(b); ++i) {
      for (std::int64_t h = 0; h < heads; ++h) {
        const std::int64_t offset = tokens.offset(layout, b, i, h);
        narrow({floats.as<float>() + offset, static_cast<std::size_t>(dims)},
               typed.data() + offset);
      }
    }
  }
  return typed;
}

/// Scales that tokens share, any numbers that codes of normal numbers need, and zero points.
void fill_shared(DType type, const TypedSide& side) {
  const float step = type == DType::int4 ? 0.25F : 0.02F;
  const auto count = side.scales.bytes().size() / sizeof(float);
  for (std::size_t i = 0; i < count; ++i) {
    side.scales.data().as<float>()[i] = step * static_cast<float>(1 + i % 3);
    if (side.zero_points.bytes().empty()) continue;
    side.zero_points.data().as<float>()[i] = static_cast<float>(i % 5) - 2.0F;
  }
}

/// Narrows keys or values to codes. Scales of a token alone are those of its vectors.
TypedSide quantise(const Geometry& g, const Layout& layout, const ScaleLayout& scales,
                   std::int64_t dims, const InputData& floats, DType type, bool zero_points) {
  const std::int64_t heads = g.config().kv_heads;
  const std::int64_t count =
      extent(g.keys(), {scales.sequence_stride, scales.token_stride, scales.head_stride},
             g.sequences(), heads, dims / scales.group);
  TypedSide side{{type, extent(g.keys(), layout, g.sequences(), heads, dims)},
                 {DType::f32, count},
                 {DType::f32, zero_points ? count : 0}};
  const bool own = scales.token_stride != 0;
  if (!own) fill_shared(type, side);
  for (std::int64_t b = 0; b < g.sequences(); ++b) {
    for (std::int64_t i = 0; i < g.keys().length(b); ++i) {
      for (std::int64_t h = 0; h < heads; ++h) {
        const std::int64_t offset = g.keys().offset(layout, b, i, h);
        const std::int64_t scale = g.keys().offset(
            {scales.sequence_stride, scales.token_stride, scales.head_stride}, b, i, h);
        narrow({floats.as<float>() + offset, static_cast<std::size_t>(dims)},
               side.elements.data() + offset,
               {side.scales.data().as<float>() + scale,
                zero_points ? side.zero_points.data().as<float>() + scale : nullptr, scales.group},
               own);
      }
    }
  }
  return side;
}

}  // namespace

TypedBuffer::TypedBuffer(DType type, std::int64_t elements)
    : memory_((bytes_of(type, elements) + sizeof(float) - 1) / sizeof(float)),
      size_(bytes_of(type, elements)) {
  auto* const memory = reinterpret_cast<std::byte*>(memory_.data());
  const std::size_t room = memory_.size() * sizeof(float);
  if (room > 0) std::memset(memory, 0xFF, room);
  data_ = {memory + (room - size_), type};
}

std::span<std::byte> TypedBuffer::bytes() const {
  return {static_cast<std::byte*>(data_.data()), size_};
}

TypedBuffer narrow_queries(const Geometry& g, const InputData& floats, DType type) {
  return narrow_side(g, g.queries(), g.q_layout(), g.config().query_heads, g.config().head_dim,
                     floats, type);
}

Scales TypedSide::scale_data() const {
  const auto floats = [](const TypedBuffer& buffer) -> const float* {
    return buffer.bytes().empty() ? nullptr : buffer.data().as<float>();
  };
  return {floats(scales), floats(zero_points)};
}

TypedSide narrow_keys(const Geometry& g, const InputData& floats, DType type, bool zero_points) {
  const std::int64_t dims = g.config().head_dim;
  if (!dtype_info(type).scaled) {
    return {narrow_side(g, g.keys(), g.k_layout(), g.config().kv_heads, dims, floats, type),
            {DType::f32, 0},
            {DType::f32, 0}};
  }
  return quantise(g, g.k_layout(), g.k_scale_layout(), dims, floats, type, zero_points);
}

TypedSide narrow_values(const Geometry& g, const InputData& floats, DType type, bool zero_points) {
  const std::int64_t dims = g.value_head_dim();
  if (!dtype_info(type).scaled) {
    return {narrow_side(g, g.keys(), g.v_layout(), g.config().kv_heads, dims, floats, type),
            {DType::f32, 0},
            {DType::f32, 0}};
  }
  return quantise(g, g.v_layout(), g.v_scale_layout(), dims, floats, type, zero_points);
}

}  // namespace heed::proof
