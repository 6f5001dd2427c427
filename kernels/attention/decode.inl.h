// The decode kernel: attention of few query rows against many keys, where reading keys and values
// is the work.
//
// Every row of keys and of values is read once for all query rows of the item
// (kernels/attention/decode_products.inl.h). The order of operations of every single row is that of
// kernels/attention/prefill.inl.h, so its bits are the same.
//
// Per cache line of 16 floats: two loads and 4 shuffles for K, two loads for V, and rows
// multiply-adds each; a line from memory takes longer than that up to about eight rows. Narrow
// elements take about as many instructions for as many elements, which are a half to an eighth of a
// line, so that a group of four rows is bound by them: about 3 cycles for 16 elements on Zen 5.
#pragma once

#include <type_traits>

#include "kernels/attention/decode_products.inl.h"
#include "kernels/attention/merge.inl.h"
#include "kernels/attention/rows.inl.h"
#include "kernels/attention/states.inl.h"
#include "kernels/attention/tile.inl.h"
#include "kernels/attention/visible.inl.h"
#include "kernels/attention/weights.inl.h"
#include "kernels/interface.h"
#include "kernels/scratch.h"
#include "kernels/vector/lanes.inl.h"

namespace heed::kernels {
namespace {

/// Keys whose weights are summed for each chunk that is prefetched meanwhile: those of a partition
/// prefetch a block of rows of 128.
inline constexpr std::int32_t kKeysPerChunk = 4;

template <class T, WeightRule Rule>
class DecodeKernel {
 public:
  using Arch = typename T::Arch;
  using W = Weights<Arch, Rule>;
  static constexpr int kWidth = kLanes<Arch>;
  static constexpr int kMaxRows = max_decode_rows(kWidth);
  static constexpr std::ptrdiff_t kWeightsStride = kDecodeWeightsStride;

  DecodeKernel(const AttentionShape& shape, const AttentionItem& item, float* scratch)
      : shape_(shape), item_(item) {
    head_dim_ = static_cast<std::int32_t>(decode_query_floats(shape.head_dim, kWidth));
    dims_ = static_cast<std::int32_t>(padded(shape.value_head_dim, kWidth));
    const ScratchLayout layout = decode_scratch(shape, item.rows, kWidth);
    const auto at = [&](const ScratchRegion& region) { return scratch + region.begin; };
    q_ = at(layout.queries);
    partition_ = State::at(at(layout.partition), padded_rows());
    total_ = State::at(at(layout.total), padded_rows());
    sections_ = State::at(at(layout.sections), padded_rows());
    weights_ = at(layout.weights);
    k_copy_ = at(layout.copies[0]);
    v_copy_ = k_copy_ + shape.tile_keys * tile_copy_stride(shape.head_dim);
    if (is_scaled(shape.k_type)) {
      k_scales_ = {item.k_scales, shape.k_group, shape.head_dim, at(layout.scales[0])};
    }
    if (is_scaled(shape.v_type)) {
      v_scales_ = {item.v_scales, shape.v_group, shape.value_head_dim, at(layout.scales[1])};
    }
    chunks_ = chunks_of_keys();
  }

  void attend() {
    pack();
    std::int32_t partition = -1;
    const std::int32_t step = copies() ? shape_.tile_keys : kPartitionKeys;
    for (std::int32_t tile = item_.key_begin / step * step; tile < item_.key_end;) {
      const std::int32_t next = item_.key_end - tile > step ? tile + step : item_.key_end;
      if (tile / kPartitionKeys != partition) {
        close_partition(partition);
        partition = tile / kPartitionKeys;
        clear(partition_);
      }
      attend_tile(load_tile(tile > item_.key_begin ? tile : item_.key_begin, next));
      tile = next;
    }
    close_partition(partition);
    if (item_.states.m == nullptr) return finish();
    item_.merge_partitions ? write_states(total_, item_.first_partition) : mark_unseen_partitions();
  }

 private:
  std::ptrdiff_t padded_rows() const {
    return static_cast<std::ptrdiff_t>(padded(item_.rows, kWidth));
  }

  /// Of no more rows than lie a stride apart: that of a single row may be anything.
  ChunkOffsets chunks_of_keys() const {
    const DType type = copies() ? DType::f32 : shape_.k_type;
    const std::ptrdiff_t stride = copies() ? tile_copy_bytes(shape_.head_dim) : item_.k_stride;
    const std::int32_t keys = item_.key_end - item_.key_begin, most = block_keys(type);
    std::int32_t rows = keys < most ? keys : most;
    if (!copies() && item_.pages != nullptr && item_.page_tokens < rows) rows = item_.page_tokens;
    return {stride, row_bytes(type, shape_.head_dim), rows};
  }

  /// Packs the query rows: widens them, pads them with zeros and scales them.
  void pack() const {
    const RowMap map{shape_.group, item_.q_stride};
    for (std::int32_t r = 0; r < item_.rows; ++r) {
      float* const to = q_ + r * head_dim_;
      widen_row<Arch>(shape_.q_type, item_.q + map.offset(item_.row_begin + r), shape_.head_dim,
                      to);
      const float factor = shape_.pairs ? 1.0F : shape_.query_factor;
      for (std::int32_t x = 0; x < shape_.head_dim; ++x) to[x] *= factor;
      for (std::int32_t x = shape_.head_dim; x < head_dim_; ++x) to[x] = 0.0F;
    }
  }

  void clear(State state) const {
    clear_sums<Arch>(state, padded_rows());
    for (std::ptrdiff_t x = 0; x < std::ptrdiff_t{item_.rows} * dims_; x += kWidth) {
      store<Arch>(state.o + x, splat<Arch>(0.0F));
    }
  }

  void close_partition(std::int32_t partition) {
    if (partition < 0) return;
    item_.states.m == nullptr || item_.merge_partitions ? merge_partition(partition)
                                                        : write_states(partition_, partition);
  }

  void write_states(const State& state, std::int32_t partition) const {
    const StateRows<Arch> states(shape_, item_);
    for (std::int32_t r = 0; r < item_.rows; ++r) {
      states.write_sums(partition, r, state.m[r], state.l[r]);
      const float* from = state.o + r * dims_;
      float* to = states.o(partition, r);
      for_each_vector<Arch, 1>(shape_.value_head_dim, [&](auto access, int, std::int64_t x) {
        access.store(to + x, access.load(from + x, 0.0F));
      });
    }
  }

  /// Writes empty states for the partitions of which the item has no keys.
  void mark_unseen_partitions() const {
    const StateRows<Arch> states(shape_, item_);
    for (std::int32_t p = states.begin(); p < states.end(); ++p) {
      const std::int64_t begin = std::int64_t{p} * kPartitionKeys, end = begin + kPartitionKeys;
      const std::int64_t first = begin > item_.key_begin ? begin : item_.key_begin;
      const std::int64_t last = end < item_.key_end ? end : item_.key_end;
      if (first >= last) states.write_unseen(p, 0, item_.rows);
    }
  }

  /// Merges the state of a partition into that of its section, which the first one becomes as it
  /// is. The steps are those of PrefillKernel::merge_partition, whose states have rows as lanes:
  /// the two share no line that does not depend on how states lie.
  void merge_partition(std::int32_t partition) {
    if (has_total_) {
      for (std::int32_t r = 0; r < item_.rows; ++r) merge_row_of(total_, partition_, r);
    } else {
      const State first = partition_;
      partition_ = total_;
      total_ = first;
      has_total_ = true;
    }
    if (shape_.sections && !item_.merge_partitions) close_sections(partition);
  }

  void merge_row_of(const State& total, const State& state, std::int32_t r) const {
    merge_row<Arch, Rule>({total.m[r], total.l[r], total.o + r * dims_},
                          {state.m[r], state.l[r], state.o + r * dims_}, dims_);
  }

  /// Merges the sections that end with the partition into those before.
  void close_sections(std::int32_t partition) {
    for (std::int32_t r = 0; r < item_.rows; ++r) {
      const KeyInterval keys =
          visible_keys(shape_, item_, (item_.row_begin + r) / shape_.group, {0, item_.keys});
      const std::int32_t partitions = partition + 1 - keys.first / kPartitionKeys;
      if (partitions <= 0 || partitions % kSectionPartitions != 0) continue;
      if (!has_sections_) clear(sections_);
      has_sections_ = true;
      merge_row_of(sections_, total_, r);
      total_.m[r] = kNoMaximum;
      total_.l[r] = 0.0F;
      for (std::int32_t x = 0; x < dims_; x += kWidth) {
        store<Arch>(total_.o + r * dims_ + x, splat<Arch>(0.0F));
      }
    }
  }

  /// The state of all keys that the rows see.
  const State& final_state() {
    if (!has_total_) clear_sums<Arch>(total_, padded_rows());  // without weight, O does not matter
    if (!has_sections_) return total_;
    for (std::int32_t r = 0; r < item_.rows; ++r) merge_row_of(sections_, total_, r);
    return sections_;
  }

  /// Rows of keys or of values, in place or copied. Row 0 is key `first`.
  struct Source {
    Storage rows;
    std::int32_t first;
  };

  struct Tile {
    Source k, v;
    std::int32_t begin, end;
  };

  /// Whether keys and values are copied: pages shorter than a block would give a block each, and
  /// those of an odd number of tokens would part pairs.
  bool copies() const {
    return item_.pages != nullptr &&
           (item_.page_tokens < kBlockKeys || (shape_.pairs && item_.page_tokens % 2 == 1));
  }

  /// Loads the keys and values of a partition, or of as much of it as there is room for copies: the
  /// longer the streams of keys and of values, the better prefetchers follow them.
  Tile load_tile(std::int32_t begin, std::int32_t end) const {
    const auto load = [&](const Storage& from, float* copy) -> Source {
      if (!copies()) return {from, 0};
      TileLoader<Arch> loader(from, begin, end - begin, 1, copy);
      loader.prefetch_step();
      const Rows rows = loader.finish();
      Storage copied;
      copied.dims = rows.dims;
      copied.data = reinterpret_cast<const std::byte*>(rows.data);
      copied.stride = tile_copy_bytes(rows.dims);
      return {copied, begin};
    };
    return {load(keys_of(shape_, item_), k_copy_), load(values_of(shape_, item_), v_copy_), begin,
            end};
  }

  /// Applies the masks: rows that see the same keys of the tile, as those of one token do, are
  /// computed together against just these keys.
  void attend_tile(const Tile& tile) {
    score_tile(tile);
    for (std::int32_t row = 0; row < item_.rows;) {
      const KeyInterval keys = visible_to(row, tile);
      std::int32_t end = row + 1;
      while (end < item_.rows && visible_to(end, tile) == keys) ++end;
      if (keys.first < keys.last) {
        attend_rows(row, end, {tile.k, tile.v, keys.first, keys.last}, keys.first - tile.begin);
      }
      row = end;
    }
  }

  KeyInterval visible_to(std::int32_t row, const Tile& tile) const {
    return visible_keys(shape_, item_, (item_.row_begin + row) / shape_.group,
                        {tile.begin, tile.end});
  }

  /// Computes the logits of all rows: weights_[row][key].
  void score_tile(const Tile& tile) {
    for (std::int32_t j = tile.begin; j < tile.end;) {
      const KeyBlock keys = block(tile.k, j, tile.end, k_scales_);
      const DecodeQueries queries{q_, head_dim_, weights_ + (j - tile.begin), kWeightsStride};
      if (shape_.pairs || several_scales(keys)) {
        score_in_fours(queries, keys);
      } else {
        score_rows<kMaxRows>(queries, keys);
      }
      j += keys.count;
    }
  }

  /// Codes that have one scale for each key or value, other types as they are.
  template <class E>
  using OfDecode = std::conditional_t<E::kPacking == Packing::codes, OneScale<E>, E>;

  static bool several_scales(const KeyBlock& block) {
    return is_scaled(block.rows.type) && !block.rows.scales.one_for_each();
  }

  /// Calls body(element) for what is computed in fours: codes that have several scales or zero
  /// points, and pairs, of bf16 or copied.
  template <class Body>
  static void for_fours(DType type, Body body) {
    switch (type) {
      case DType::int8:
        return body(Element<DType::int8>());
      case DType::int4:
        return body(Element<DType::int4>());
      case DType::bf16:
        return body(InPairs<Element<DType::bf16>>());
      default:
        return body(InPairs<Element<DType::f32>>());
    }
  }

  /// The block of rows from j on, at most to `end`.
  template <class Scales>
  KeyBlock block(const Source& from, std::int32_t j, std::int32_t end, Scales& scales) const {
    const std::int32_t count = run(from, j, end);
    const ComingRows next = coming(from, j + count, end);
    const Storage& rows = from.rows;
    const std::ptrdiff_t stride = count > 1 ? rows.stride : 0;  // one row's may be anything
    BlockScales of_block;
    if (is_scaled(rows.type)) {
      of_block = scales.of(rows.scale_offset(j - from.first), count);
      prefetch_scales(rows, j + kPartitionKeys, count);
    }
    return {{rows.type, rows.dims, rows.row(j - from.first), stride, of_block},
            count,
            next,
            coming(from, j + count + next.count, end),
            &chunks_};
  }

  /// Prefetches the scales of keys from j on: a stream of its own beside that of the codes, too
  /// short and too slow for hardware prefetchers.
  HEED_INLINE void prefetch_scales(const Storage& rows, std::int32_t j, std::int32_t count) const {
    constexpr auto line = static_cast<std::ptrdiff_t>(kAlignment / sizeof(float));
    const std::ptrdiff_t token = rows.scales.token;
    const auto keys = static_cast<std::int32_t>(token > 0 && token < line ? line / token : 1);
    const std::int32_t last = j + count < item_.key_end ? j + count : item_.key_end;
    for (; j < last; j += keys) {
      const std::ptrdiff_t offset = rows.scale_offset(j);
      __builtin_prefetch(rows.scales.scale + offset);
      if (rows.scales.zero_point != nullptr) __builtin_prefetch(rows.scales.zero_point + offset);
    }
  }

  /// How many keys of a type a block has at most.
  static std::int32_t block_keys(DType type) {
    return for_element_type(type,
                            [](auto element) { return kBlockKeysOf<Arch, decltype(element)>; });
  }

  /// How many rows a block from j on has: pairs are not parted.
  std::int32_t run(const Source& from, std::int32_t j, std::int32_t end) const {
    const std::int32_t left = end - j;
    const std::int32_t most = shape_.pairs && j % 2 == 1 ? 1 : block_keys(from.rows.type);
    return from.rows.run(j - from.first, left < most ? left : most);
  }

  /// The rows of the block from j on, to be prefetched: those of a copy to its end, others to the
  /// end of the item.
  ComingRows coming(const Source& from, std::int32_t j, std::int32_t end) const {
    const std::int32_t last = copies() || j < end ? end : item_.key_end;
    if (j >= last) return {};
    const Storage& rows = from.rows;
    return {rows.row(j - from.first), run(from, j, last), rows.stride,
            row_bytes(rows.type, rows.dims)};
  }

  template <int Queries>
  void score_rows(const DecodeQueries& queries, const KeyBlock& k) const {
    if constexpr (Queries > 1) {
      if (item_.rows < Queries) return score_rows<Queries - 1>(queries, k);
    }
    for_element_type(k.rows.type, [&](auto element) {
      score_block<Arch, OfDecode<decltype(element)>, Queries>(queries, k);
    });
  }

  /// The same four rows or one at a time, where kernels for all numbers of rows would be larger
  /// than they are worth.
  void score_in_fours(const DecodeQueries& queries, const KeyBlock& k) const {
    for_fours(k.rows.type, [&](auto element) {
      using E = decltype(element);
      for (std::int32_t r = 0; r < item_.rows;) {
        const DecodeQueries own{queries.q + r * queries.stride, queries.stride,
                                queries.logits + r * queries.logits_stride, queries.logits_stride};
        const bool four = item_.rows - r >= 4;
        four ? score_block<Arch, E, 4>(own, k) : score_block<Arch, E, 1>(own, k);
        r += four ? 4 : 1;
      }
    });
  }

  /// Computes rows [row, end), which see exactly the keys of `keys`, the logits of the first of
  /// which are at weights_[row][offset].
  void attend_rows(std::int32_t row, std::int32_t end, const Tile& keys, std::int32_t offset) {
    const std::int32_t count = keys.end - keys.begin;
    float* weights = weights_ + row * kWeightsStride + offset;
    for (std::int32_t r = row; r < end; ++r) {
      exponentiate_row(weights + (r - row) * kWeightsStride, count, r);
    }
    const std::int32_t second = keys.begin + run(keys.v, keys.begin, keys.end);
    Chunks<Cache::l2> ahead(coming(keys.v, second, keys.end));
    std::int32_t r = row;
    for (; r + 4 <= end; r += 4) {
      sum_rows<4>(weights + (r - row) * kWeightsStride, count, r, ahead);
    }
    for (; r < end; ++r) sum_rows<1>(weights + (r - row) * kWeightsStride, count, r, ahead);
    for (std::int32_t j = keys.begin; j < keys.end;) {
      const KeyBlock values = block(keys.v, j, keys.end, v_scales_);
      const DecodeOutputs out{weights + (j - keys.begin), kWeightsStride,
                              partition_.o + row * dims_, dims_};
      if (shape_.pairs || several_scales(values)) {
        add_in_fours(end - row, out, values);
      } else {
        add_rows<kMaxRows>(end - row, out, values);
      }
      j += values.count;
    }
  }

  template <int Queries>
  static void add_rows(std::int32_t queries, const DecodeOutputs& out, const KeyBlock& v) {
    if constexpr (Queries > 1) {
      if (queries < Queries) return add_rows<Queries - 1>(queries, out, v);
    }
    for_element_type(v.rows.type, [&](auto element) {
      add_values<Arch, OfDecode<decltype(element)>, Queries>(out, v);
    });
  }

  /// The same as score_in_fours does.
  static void add_in_fours(std::int32_t rows, const DecodeOutputs& out, const KeyBlock& v) {
    for_fours(v.rows.type, [&](auto element) {
      using E = decltype(element);
      for (std::int32_t r = 0; r < rows;) {
        const DecodeOutputs own{out.weights + r * out.weights_stride, out.weights_stride,
                                out.o + r * out.stride, out.stride};
        const bool four = rows - r >= 4;
        four ? add_values<Arch, E, 4>(own, v) : add_values<Arch, E, 1>(own, v);
        r += four ? 4 : 1;
      }
    });
  }

  /// Turns a row's logits into weights. Where m moves, l and O are rescaled before.
  void exponentiate_row(float* t, std::int32_t count, std::int32_t r) {
    // The lanes of the last vector that are past the end of the row have no weight.
    store<Arch>(t + count, splat<Arch>(-__builtin_inff()));
    Vec<Arch> top = splat<Arch>(-__builtin_inff());
    if (shape_.pairs) {
      const Vec<Arch> factor = splat<Arch>(shape_.query_factor);
      for (std::int32_t j = 0; j < count; j += kWidth) {
        store<Arch>(t + j, load<Arch>(t + j) * factor);
      }
      store<Arch>(t + count, splat<Arch>(-__builtin_inff()));  // the factor may be 0 or negative
    }
    for (std::int32_t j = 0; j < count; j += kWidth) top = Ops<Arch>::max(load<Arch>(t + j), top);
    alignas(kAlignment) float lane[kWidth];
    store<Arch>(lane, top);
    float highest = lane[0];
    for (int i = 1; i < kWidth; ++i) highest = lane[i] > highest ? lane[i] : highest;
    const Vec<Arch> candidate = W::candidate(splat<Arch>(highest));
    Vec<Arch> m = splat<Arch>(partition_.m[r]);
    if (Ops<Arch>::any(W::moves(candidate, m))) {
      const Vec<Arch> factor = W::rescale(m, candidate);
      m = candidate;
      partition_.m[r] = first_lane<Arch>(m);
      partition_.l[r] *= first_lane<Arch>(factor);
      scale_output<Arch>(partition_.o + r * dims_, kWidth, dims_ / kWidth, factor);
    }
    for (std::int32_t j = 0; j < count; j += kWidth) {
      const Vec<Arch> p = W::weight(load<Arch>(t + j), m);
      store<Arch>(t + j, shape_.pairs ? nearest_bf16<Arch>(p) : p);
    }
  }

  /// l += the weights, key by key. Each row is a chain of additions, so several rows are summed
  /// side by side, and values are prefetched meanwhile.
  template <int Rows>
  void sum_rows(const float* weights, std::int32_t count, std::int32_t row,
                Chunks<Cache::l2>& coming) {
    float l[Rows];
#pragma GCC unroll 4
    for (int r = 0; r < Rows; ++r) l[r] = partition_.l[row + r];
    for (std::int32_t j = 0; j < count; ++j) {
      if (j % kKeysPerChunk == 0) coming.prefetch();
#pragma GCC unroll 4
      for (int r = 0; r < Rows; ++r) l[r] += weights[r * kWeightsStride + j];
    }
#pragma GCC unroll 4
    for (int r = 0; r < Rows; ++r) partition_.l[row + r] = l[r];
  }

  void finish() {
    const State& state = final_state();
    const RowMap map{shape_.group, item_.out_stride};
    for (std::int32_t r = 0; r < item_.rows; ++r) {
      std::byte* const out = item_.out + map.offset(item_.row_begin + r);
      float* const o = state.o + r * dims_;
      float* const row = output_floats(shape_.out_type, out, o);
      write_output<Arch>(o, state.l[r], shape_.value_head_dim, row);
      write_narrow<Arch>(shape_.out_type, row, shape_.value_head_dim, out);
    }
    if (item_.lse != nullptr) {
      write_lse<Rule>(state, item_.lse, RowMap{shape_.group, item_.lse_stride}, item_.row_begin,
                      item_.rows);
    }
  }

  const AttentionShape& shape_;
  const AttentionItem& item_;
  std::int32_t head_dim_, dims_;  ///< padded
  float* q_;                      ///< rows × head_dim_
  State partition_, total_;       ///< of the partition and of the section being summed: m and l per
                                  ///< row; O is rows × dims_
  State sections_;                ///< of the sections before
  bool has_total_ = false;        ///< total_ holds a state
  bool has_sections_ = false;     ///< sections_ holds a state
  float* weights_;                ///< logits, then weights: rows × kWeightsStride
  float* k_copy_;                 ///< of a tile, as floats
  float* v_copy_;
  ChunkOffsets chunks_;  ///< of a block of keys
  BlockScalesOf<Arch, InLanes::keys> k_scales_;
  BlockScalesOf<Arch, InLanes::dims> v_scales_;
};

}  // namespace
}  // namespace heed::kernels
