// What a worker's scratch holds while it computes an item: the one description that the planner
// sizes the workspace by and both attention kernels place their data by.
#pragma once

#include "kernels/interface.h"

namespace heed::kernels {

/// Floats of what modifiers of logits know of a row: a position, a slope, a pointer, and three
/// factors.
inline constexpr std::size_t kTermsFloats = 7;

/// Floats of what is known of the keys that a row sees: four numbers and a pointer.
inline constexpr std::size_t kVisibleFloats = 6;

/// Floats between two regions that nobody writes: a cache line, in which a test (and a debug build)
/// sees a kernel that writes past the end of a region.
inline constexpr std::size_t kScratchGuard = kAlignment / sizeof(float);

/// Floats [begin, begin + size) of scratch. Every region begins at a multiple of kAlignment.
struct ScratchRegion {
  std::size_t begin = 0, size = 0;
};

/// The regions of one item. State regions hold m, l and O of each row: in prefill block by block
/// with rows as lanes, in decode each row padded to whole vectors. In decode the regions of
/// queries, states and weights are as many equal parts, in whole lines, as the item has KV heads.
struct ScratchLayout {
  ScratchRegion queries;    ///< the queries times the query factor: prefill Qᵀ, decode Q
  ScratchRegion partition;  ///< the states of the partition that is being summed
  ScratchRegion total;      ///< the states of the section that is being summed
  ScratchRegion sections;   ///< the states of the sections before; empty without shape.sections
  ScratchRegion visible;    ///< prefill: kVisibleFloats of each row, for the keys that it sees
  ScratchRegion terms;      ///< prefill: kTermsFloats of each row, for modifiers of logits
  ScratchRegion weights;    ///< logits, then weights: prefill a tile's, decode a partition's
  /// Copies of tiles: prefill has two of keys and values, one of which is read while the other is
  /// written; decode has one of keys or of values.
  ScratchRegion copies[2];
  /// Decode: vectors of scales and of zero points of a block of keys, and of a block of values;
  /// empty where these have none.
  ScratchRegion scales[2];
  std::size_t floats = 0;  ///< of all regions and their guards

  static constexpr int kRegions = 11;

  /// Region i, in the order in which they lie.
  constexpr const ScratchRegion& region(int i) const {
    const ScratchRegion* const all[kRegions] = {&queries,   &partition, &total,    &sections,
                                                &visible,   &terms,     &weights,  &copies[0],
                                                &copies[1], &scales[0], &scales[1]};
    return *all[i];
  }

  /// The first float of the guard that follows region i.
  constexpr std::size_t guard(int i) const { return region(i).begin + whole_lines(region(i).size); }

  /// Places a region of `size` floats after those that are placed already.
  constexpr ScratchRegion place(std::size_t size) {
    const ScratchRegion region{floats, size};
    floats += whole_lines(size) + kScratchGuard;
    return region;
  }
  /// Places a region of `count` parts of `size` floats.
  constexpr ScratchRegion place_parts(std::int32_t count, std::size_t size) {
    return place(static_cast<std::size_t>(count) * whole_lines(size));
  }

 private:
  static constexpr std::size_t whole_lines(std::size_t size) {
    constexpr std::size_t line = kAlignment / sizeof(float);
    return (size + line - 1) / line * line;
  }
};

/// The layout of an item of `rows` rows for the prefill kernel of an ISA with `lanes` lanes.
[[maybe_unused]] static constexpr ScratchLayout prefill_scratch(const AttentionShape& shape,
                                                                std::int32_t rows,
                                                                std::int32_t lanes,
                                                                std::int32_t block_vectors) {
  const std::size_t width = padded(rows, lanes);
  const std::size_t state = width * (static_cast<std::size_t>(shape.value_head_dim) + 2);
  const auto tile = static_cast<std::size_t>(shape.tile_keys);
  ScratchLayout layout;
  layout.queries = layout.place(width * static_cast<std::size_t>(shape.head_dim));
  layout.partition = layout.place(state);
  layout.total = layout.place(state);
  layout.sections = layout.place(shape.sections ? state : 0);
  layout.visible = layout.place(kVisibleFloats * width);
  layout.terms = layout.place(kTermsFloats * width);
  layout.weights = layout.place(tile * static_cast<std::size_t>(block_vectors * lanes));
  layout.copies[0] = layout.place(tile_copy_floats(shape));
  layout.copies[1] = layout.place(tile_copy_floats(shape));
  for (ScratchRegion& scales : layout.scales) scales = layout.place(0);
  return layout;
}

/// Floats in front of what an explained item keeps of its weights for some keys: a line.
inline constexpr std::size_t kPieceFloats = kAlignment / sizeof(float);

/// Floats of what is known of a row beside its weights: m, l and a sum of logits.
inline constexpr std::size_t kToldFloats = 3;

/// Floats that an explained item of `rows` rows and of keys of a sequence of `keys` keeps at most
/// (kernels/attention/explain.inl.h): a weight of each row for each key, and one piece in front of
/// those of each vector of rows for each register tile of a whole block's keys that some see. Of a
/// tile of keys the rows may see an interval and first keys, each of which may end within a
/// register tile; a tile may have a key more than the item, where keys go in pairs.
[[maybe_unused]] static constexpr std::size_t explanation_floats(std::int32_t keys,
                                                                 std::int32_t rows,
                                                                 std::int32_t tile_keys,
                                                                 const KernelTable& table) {
  const auto vectors = padded(rows, table.lanes) / static_cast<std::size_t>(table.lanes);
  const auto lanes = static_cast<std::size_t>(table.lanes);
  const auto all = static_cast<std::size_t>(keys);
  const std::size_t intervals = 2 * (all / static_cast<std::size_t>(tile_keys) + 3);
  const std::size_t tiles = all / static_cast<std::size_t>(table.tile_rows) + intervals;
  const std::size_t weights = (all + 2 * intervals) * lanes;
  return vectors * (weights + tiles * (kPieceFloats + kToldFloats * lanes));
}

/// The layout of an item of `rows` rows, at most max_decode_rows(lanes), of each of `heads` KV
/// heads, for the decode kernel.
[[maybe_unused]] static constexpr ScratchLayout decode_scratch(const AttentionShape& shape,
                                                               std::int32_t rows,
                                                               std::int32_t heads,
                                                               std::int32_t lanes) {
  const auto count = static_cast<std::size_t>(rows);
  const std::size_t state = 2 * padded(rows, lanes) + count * padded(shape.value_head_dim, lanes);
  ScratchLayout layout;
  const std::int32_t longest =
      shape.head_dim > shape.value_head_dim ? shape.head_dim : shape.value_head_dim;
  layout.queries = layout.place_parts(heads, count * decode_query_floats(shape.head_dim, lanes));
  layout.partition = layout.place_parts(heads, state);
  layout.total = layout.place_parts(heads, state);
  layout.sections = layout.place_parts(heads, shape.sections ? state : 0);
  layout.visible = layout.place(0);
  layout.terms = layout.place(0);
  layout.weights = layout.place_parts(heads, count * kDecodeWeightsStride);
  layout.copies[0] = layout.place(static_cast<std::size_t>(shape.tile_keys) *
                                  static_cast<std::size_t>(tile_copy_stride(longest)));
  layout.copies[1] = layout.place(0);
  const auto scales = [&](DType type, std::int32_t group, std::int32_t dims) {
    return layout.place(is_scaled(type) ? 2 * scale_vector_floats(group, dims) : 0);
  };
  layout.scales[0] = scales(shape.k_type, shape.k_group, shape.head_dim);
  layout.scales[1] = scales(shape.v_type, shape.v_group, shape.value_head_dim);
  return layout;
}

/// Floats of scratch that a worker needs for the items of a plan, of shape.item_rows rows and
/// shape.item_heads heads or less.
[[maybe_unused]] static constexpr std::size_t attention_scratch_floats(const AttentionShape& shape,
                                                                       const KernelTable& table) {
  const std::int32_t most = max_decode_rows(table.lanes);
  const std::size_t prefill =
      prefill_scratch(shape, shape.item_rows, table.lanes, table.block_vectors).floats;
  const std::size_t decode = decode_scratch(shape, shape.item_rows < most ? shape.item_rows : most,
                                            shape.item_heads, table.lanes)
                                 .floats;
  return prefill > decode ? prefill : decode;
}

}  // namespace heed::kernels
