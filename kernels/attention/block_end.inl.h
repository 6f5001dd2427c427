// What the prefill kernel does with the states of a block of query rows once keys have been added
// to them: partitions are merged into sections and these into the result, or are written for a
// later merge, and at the end rows leave as outputs. Memory traffic: states stay in L1 and L2;
// outputs are written once.
#pragma once

#include "kernels/attention/block.inl.h"
#include "kernels/attention/rows.inl.h"
#include "kernels/attention/states.inl.h"
#include "kernels/attention/temperatures.inl.h"
#include "kernels/attention/tile.inl.h"
#include "kernels/attention/weights.inl.h"
#include "kernels/interface.h"

namespace heed::kernels {
namespace {

/// The ends of partitions and of rows, of blocks of at most `Widest` vectors.
template <class Arch, int Widest>
class BlockEnd {
 public:
  BlockEnd(const AttentionShape& shape, const AttentionItem& item) : shape_(shape), item_(item) {}

  void clear_output(State state, std::ptrdiff_t width) const {
    for (std::ptrdiff_t x = 0; x < width * shape_.value_head_dim; x += kLanes<Arch>) {
      store<Arch>(state.o + x, splat<Arch>(0.0F));
    }
  }

  /// Writes a block's state as rows.
  void write_states(const Block& b, const State& state, std::int32_t partition) const {
    const StateRows<Arch> states(shape_, item_);
    alignas(kAlignment) float unwanted[kMaxHeadDim];  // NOLINT: rows of another rule; never read
    for (std::int32_t v = 0; v < b.vectors; ++v) {
      const std::int32_t first = v * kLanes<Arch>, left = b.rows - first;
      const std::int32_t count = left < kLanes<Arch> ? left : kLanes<Arch>;
      float* row[kLanes<Arch>];
      for (std::int32_t lane = 0; lane < count; ++lane) {
        const std::int32_t own = b.first_row + first + lane;
        row[lane] = states.writes(own) ? states.o(partition, own) : unwanted;
      }
      write_rows<Arch>(state.o + first, b.width, shape_.value_head_dim, row, count,
                       [](Vec<Arch> o) { return o; });
    }
    for (std::int32_t i = 0; i < b.rows; ++i) {
      states.write_sums(partition, b.first_row + i, state.m[i], state.l[i]);
    }
  }

  /// Writes empty states for the partitions before `end` that no row of a block has seen.
  void write_unseen_states(const Block& b, std::int32_t end) const {
    const StateRows<Arch> states(shape_, item_);
    for (std::int32_t p = b.next_state; p < end; ++p) {
      states.write_unseen(p, b.first_row, b.rows);
    }
  }

  /// Merges the state of the partition into that of its section, which the first one becomes as it
  /// is.
  void merge_partition(Block& b) const {
    if (b.has_total && shape_.sections && !item_.merge_partitions) close_sections(b);
    b.last_partition = b.partition;
    if (b.has_total) {
      merge_states<Arch>(shape_.rule, b.total, b.partition_state, b.width, shape_.value_head_dim);
    } else {
      const State first = b.partition_state;
      b.partition_state = b.total;
      b.total = first;
      b.has_total = true;
    }
  }

  /// Whether l and O of the partition are finite.
  bool all_finite(const Block& b) const {
    return kernels::all_finite<Arch>(b.partition_state.l,
                                     std::int64_t{b.width} * (shape_.value_head_dim + 1));
  }

  /// Writes outputs and log-sum-exps of a block's rows; where outputs are not of floats, by way of
  /// `buffer`, which has room for a tile. The state of all keys becomes `total`.
  void finish(Block& b, float* buffer) const {
    finish_total(b);
    const State& state = b.total;
    if (item_.sinks != nullptr) add_sinks(b, state);
    if (item_.out == nullptr) return;
    for (std::int32_t v = 0; v < b.vectors; ++v) write_outputs_of(b, state, v, buffer);
    if (item_.lse != nullptr) {
      write_lse(shape_.rule, state, item_.lse, RowMap{shape_.group, item_.lse_stride},
                item_.row_begin + b.first_row, b.rows,
                [&](std::int32_t row) { return writes_row(shape_, item_, row); });
    }
  }

 private:
  /// Merges the sections that ended before the partition into those before. Rows that have seen no
  /// key of them have empty states, which change nothing.
  void close_sections(Block& b) const {
    alignas(kAlignment) float closing[Widest * kLanes<Arch>];
    bool any = false;
    for (std::int32_t i = 0; i < b.width; ++i) {
      const bool ends = ends_section(b.keys.partition[i], b.last_partition, b.partition);
      closing[i] = ends ? 1.0F : 0.0F;
      any |= ends;
    }
    if (!any) return;
    if (!b.has_sections) clear_state(b.sections, b.width);
    b.has_sections = true;
    close_lanes<Arch>(shape_.rule, b.sections, b.total, closing, b.width, shape_.value_head_dim);
  }

  /// Makes the states of a block's rows empty.
  void clear_state(State state, std::ptrdiff_t width) const {
    clear_sums<Arch>(state, width);
    clear_output(state, width);
  }

  /// Makes `total` the state of all keys that a block's rows see.
  void finish_total(Block& b) const {
    if (!b.has_total) clear_sums<Arch>(b.total, b.width);  // without weight, O does not matter
    if (!b.has_sections) return;
    merge_states<Arch>(shape_.rule, b.sections, b.total, b.width, shape_.value_head_dim);
    const State last = b.total;
    b.total = b.sections;
    b.sections = last;
  }

  void add_sinks(const Block& b, const State& state) const {
    for (std::int32_t first = 0; first < b.width; first += kLanes<Arch>) {
      alignas(kAlignment) float sinks[kLanes<Arch>];
      for (std::int32_t lane = 0; lane < kLanes<Arch>; ++lane) {
        const std::int32_t row = item_.row_begin + b.first_row + first + lane;
        sinks[lane] = item_.sinks[row % shape_.group];
      }
      const bool own_units = item_.temperatures != nullptr;
      const Vec<Arch> unit =
          own_units ? load<Arch>(b.terms.unit + first) : splat<Arch>(shape_.unit);
      add_sinks_to<Arch>(shape_.rule, state.from(first), load<Arch>(sinks), unit, b.width,
                         shape_.value_head_dim);
    }
  }

  /// Writes the outputs of vector v's rows.
  void write_outputs_of(const Block& b, const State& state, std::int32_t v, float* floats) const {
    const RowMap map{shape_.group, item_.out_stride};
    const std::ptrdiff_t stride = tile_copy_stride(shape_.value_head_dim);
    const std::int32_t first = v * kLanes<Arch>, left = b.rows - first;
    const std::int32_t count = left < kLanes<Arch> ? left : kLanes<Arch>;
    std::byte* out[kLanes<Arch>];
    float* row[kLanes<Arch>];
    for (std::int32_t lane = 0; lane < count; ++lane) {
      const std::int32_t own = item_.row_begin + b.first_row + first + lane;
      float* const buffer = floats + lane * stride;
      const bool writes = writes_row(shape_, item_, own);
      out[lane] = writes ? item_.out + map.offset(own) : nullptr;
      row[lane] = writes ? output_floats(shape_.out_type, out[lane], buffer) : buffer;
    }
    write_outputs<Arch>(state.o + first, load<Arch>(state.l + first), b.width,
                        shape_.value_head_dim, row, count);
    for (std::int32_t lane = 0; lane < count; ++lane) {
      if (out[lane] == nullptr) continue;
      write_narrow<Arch>(shape_.out_type, row[lane], shape_.value_head_dim, out[lane]);
    }
  }

  const AttentionShape& shape_;
  const AttentionItem& item_;
};

}  // namespace
}  // namespace heed::kernels
