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

TypedBuffer narrow_keys(const Geometry& g, const InputData& floats, DType type) {
  return narrow_side(g, g.keys(), g.k_layout(), g.config().kv_heads, g.config().head_dim, floats,
                     type);
}

TypedBuffer narrow_values(const Geometry& g, const InputData& floats, DType type) {
  return narrow_side(g, g.keys(), g.v_layout(), g.config().kv_heads, g.value_head_dim(), floats,
                     type);
}

}  // namespace heed::proof
