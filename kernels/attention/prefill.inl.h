// Attention, streamed: a block of query rows stays, tiles of keys and values pass by.
//
//   pack Q once → for each key tile: scores → mask → exponentiate → accumulate → finish
//
// Source: online softmax (Milakov & Gimelshein 2018), tiled as in FlashAttention (Dao et al. 2022),
// computed transposed (lanes are query rows) with sums that start afresh at every partition of
// kPartitionKeys keys, so that the order of operations, and with it every bit, depends on nothing
// but the row. Memory traffic: each tile of K and V is read once per item and shared by its blocks.
#pragma once

#include "kernels/attention/block.inl.h"
#include "kernels/attention/register_tile.inl.h"
#include "kernels/attention/rows.inl.h"
#include "kernels/attention/scores.inl.h"
#include "kernels/attention/states.inl.h"
#include "kernels/attention/tile.inl.h"
#include "kernels/attention/visible.inl.h"
#include "kernels/attention/weights.inl.h"
#include "kernels/interface.h"

namespace heed::kernels {
namespace {

/// A guess of m for rows that have seen no key: right for a tile of n keys whose weights relative
/// to it sum to n … kLargestSum. For n = 128 that is a log-sum-exp between 4 and 13 (base 2), and
/// 128 logits that are normal and of variance 1 have 7.7.
inline constexpr float kFirstGuess = -4.0F;

/// Right guesses in a row after which the next one is made again. A wrong one costs half a tile, a
/// right one saves a twentieth, and outliers come together.
inline constexpr std::int32_t kRightGuessesNeeded = 2;

template <class T, WeightRule Rule>
class PrefillKernel {
 public:
  using Arch = typename T::Arch;
  static constexpr int kWidest = T::kVectors;

  PrefillKernel(const AttentionShape& shape, const AttentionItem& item, float* scratch)
      : shape_(shape), item_(item) {
    lay_out(scratch);
    for (float& m : first_guess_) m = kFirstGuess;
  }

  /// Computes the item. Where a mask was applied in a block that ends non-finite, weights of 0 may
  /// have met infinite or NaN values that their rows do not see: the item is done again, in the
  /// same order, with the masked products left out.
  void attend() {
    for (int b = 0; b < blocks_; ++b) pack(block_[b]);
    if (!stream<false>()) stream<true>();
    if (item_.states.m != nullptr && !item_.merge_partitions) mark_unseen_partitions();
  }

 private:
  std::int32_t vectors() const { return (item_.rows + kLanes<Arch> - 1) / kLanes<Arch>; }

  /// Cuts the rows into blocks, none of a single vector where two of two will do, and places their
  /// data.
  void lay_out(float* scratch) {
    const std::ptrdiff_t lanes = kLanes<Arch>, rows = vectors() * lanes;
    const std::ptrdiff_t dims = shape_.value_head_dim;
    float* q = scratch;
    float* part = q + rows * shape_.head_dim;
    float* total = part + rows * (dims + 2);
    auto* keys = reinterpret_cast<std::int32_t*>(total + rows * (dims + 2));
    weights_ = reinterpret_cast<float*>(keys + 2 * rows);
    copy_[0] = weights_ + static_cast<std::ptrdiff_t>(shape_.tile_keys) * kWidest * lanes;
    copy_[1] = copy_[0] + tile_copy_floats(shape_);
    blocks_ = 0;
    for (std::int32_t first = 0, left = vectors(); left > 0; ++blocks_) {
      Block& b = block_[blocks_];
      b.vectors = left <= kWidest                      ? left
                  : left == kWidest + 1 && kWidest > 2 ? kWidest - 1
                                                       : kWidest;
      left -= b.vectors;
      b.width = b.vectors * static_cast<std::int32_t>(lanes);
      b.first_row = first;
      b.rows = item_.rows - first < b.width ? item_.rows - first : b.width;
      b.q = q + static_cast<std::ptrdiff_t>(first) * shape_.head_dim;
      b.first_key = keys + first;
      b.last_key = keys + rows + first;
      b.partition_state = State::at(part + first * (dims + 2), b.width);
      b.total = State::at(total + first * (dims + 2), b.width);
      find_visible_keys(b);
      first += b.width;
    }
  }

  /// The keys that each row sees: an interval around its position, moving up with the token.
  void find_visible_keys(Block& b) const {
    for (std::int32_t i = 0; i < b.width; ++i) {
      const std::int32_t row = item_.row_begin + b.first_row + (i < b.rows ? i : b.rows - 1);
      const KeyInterval keys = visible_keys(shape_, item_, row / shape_.group, {0, item_.keys});
      b.first_key[i] = keys.first;
      b.last_key[i] = keys.last;
    }
    b.key_begin = b.first_key[0];
    b.key_end = b.last_key[b.width - 1];
    b.full_begin = b.first_key[b.width - 1];
    b.full_end = b.last_key[0];
  }

  void pack(const Block& b) const {
    const RowMap map{shape_.group, item_.q_stride};
    for (std::int32_t v = 0; v < b.vectors; ++v) {
      const std::int32_t first = v * kLanes<Arch>, left = b.rows - first;
      pack_queries<Arch>(item_.q, map, item_.row_begin + b.first_row + first,
                         left < kLanes<Arch> ? left : kLanes<Arch>, shape_.head_dim,
                         shape_.query_factor, b.q + first, b.width);
    }
  }

  /// False when the item must be done again carefully.
  template <bool SkipHidden>
  bool stream() {
    finite_ = true;
    for (int b = 0; b < blocks_; ++b) {
      block_[b].partition = -1;
      block_[b].has_total = false;
      block_[b].right_guesses = kRightGuessesNeeded;
    }
    start_tile(item_.key_begin, 0, 0);
    while (next_begin_ < item_.key_end) {
      const TileView tile = finish_tile();
      for (int b = 0; b < blocks_; ++b) attend_tile<SkipHidden>(block_[b], tile);
    }
    for (int b = 0; b < blocks_; ++b) {
      close_partition(block_[b]);
      if (item_.states.m == nullptr) {
        finish(block_[b]);
      } else if (item_.merge_partitions) {
        write_states(block_[b], block_[b].total, item_.first_partition);
      }
    }
    return SkipHidden || finite_;
  }

  /// Turns to the tile that begins at key `begin`: it will be fetched in so many slices of keys and
  /// of values, and copied where that is better for the blocks that will read it.
  void start_tile(std::int32_t begin, std::int32_t k_slices, std::int32_t v_slices) {
    next_begin_ = begin;
    next_end_ = begin / shape_.tile_keys * shape_.tile_keys + shape_.tile_keys;
    if (next_end_ > item_.key_end) next_end_ = item_.key_end;
    copies_ = copies_ == copy_[0] ? copy_[1] : copy_[0];
    const std::int32_t count = next_end_ - begin;
    const auto loader = [&](const Storage& from, std::int32_t slices, float* copy) {
      return TileLoader<Arch>(from, begin, count, slices,
                              wants_copy(from, begin, count, blocks_) ? copy : nullptr);
    };
    next_k_ = loader(keys_of(shape_, item_), k_slices, copies_);
    next_v_ = loader(values_of(shape_, item_), v_slices,
                     copies_ + shape_.tile_keys * tile_copy_stride(shape_.head_dim));
  }

  /// The expected tile; the one after it will be fetched by all blocks that see this one, a slice
  /// with each register tile.
  TileView finish_tile() {
    const TileView tile{next_k_.finish(), next_v_.finish(), next_begin_, next_end_};
    std::int32_t k_slices = 0, v_slices = 0;
    for (int b = 0; b < blocks_; ++b) {
      if (block_[b].key_begin >= tile.end || block_[b].key_end <= tile.begin) continue;
      const std::int32_t rows = T::rows(block_[b].vectors);
      const std::int32_t slices = slices_per_tile(block_[b].vectors);
      k_slices += slices * ((tile.end - tile.begin + rows - 1) / rows);
      v_slices += slices * ((shape_.value_head_dim + rows - 1) / rows);
    }
    start_tile(tile.end, k_slices, v_slices);
    return tile;
  }

  template <bool SkipHidden>
  void attend_tile(Block& b, const TileView& tile) {
    const std::int32_t begin = tile.begin > b.key_begin ? tile.begin : b.key_begin;
    const std::int32_t end = tile.end < b.key_end ? tile.end : b.key_end;
    if (begin >= end) return;
    open_partition(b, begin / kPartitionKeys);
    if (begin >= b.full_begin && end <= b.full_end) {
      return attend_keys<SkipHidden, kWidest>(b, {0, b.vectors, true}, tile.slice(begin, end));
    }
    attend_edge<SkipHidden>(b, tile.slice(begin, end));
  }

  /// Keys that a mask hides from some of the rows: each stretch of them meets just the vectors of
  /// rows that see any, and is masked only where that hides something.
  template <bool SkipHidden>
  void attend_edge(Block& b, const TileView& keys) {
    for (std::int32_t begin = keys.begin; begin < keys.end;) {
      // Stretches end where a register tile does.
      const auto step = [&](std::int32_t key) {
        return keys.end - key > T::kRows ? key + T::kRows : keys.end;
      };
      std::int32_t end = step(begin);
      const Vectors seeing = vectors_that_see<Arch>(b, begin, end);
      while (end < keys.end && vectors_that_see<Arch>(b, end, step(end)) == seeing) end = step(end);
      if (seeing.count > 0) attend_keys<SkipHidden, kWidest>(b, seeing, keys.slice(begin, end));
      begin = end;
    }
  }

  template <bool SkipHidden, int Count>
  void attend_keys(Block& b, Vectors vectors, const TileView& keys) {
    if constexpr (Count > 1) {
      if (vectors.count < Count) return attend_keys<SkipHidden, Count - 1>(b, vectors, keys);
    }
    if (b.overwrite && Count < b.vectors) {  // what the others will see comes later, or never
      clear_output(b.partition_state, b.width);
      b.overwrite = false;
    }
    const ActiveRows rows = rows_of(b, vectors);
    if (!vectors.all) {
      weigh<Count>(rows, keys, true);
    } else if (!may_guess(b) || !weigh_by_guess<Count>(b, rows, keys)) {
      b.right_guesses = weigh<Count>(rows, keys, false) ? b.right_guesses + 1 : 0;
    }
    if (SkipHidden && !vectors.all) {
      add_visible_values<Count>(rows, keys);
    } else {
      add_values<Count>(rows, keys);
    }
    b.overwrite = false;
    b.masked |= !vectors.all;
  }

  /// Whether a guess of m will probably be right. Of a block's first keys others' first keys tell.
  bool may_guess(const Block& b) const {
    return b.overwrite && !b.has_total ? first_guess_held_ : b.right_guesses >= kRightGuessesNeeded;
  }

  ActiveRows rows_of(const Block& b, Vectors vectors) const {
    const std::int32_t first = vectors.first * kLanes<Arch>;
    const float* const guess = !b.overwrite  ? b.partition_state.m
                               : b.has_total ? b.total.m
                                             : first_guess_;
    return {b.q + first,
            b.width,
            b.first_key + first,
            b.last_key + first,
            {b.partition_state.from(first), b.width, shape_.value_head_dim, b.overwrite,
             guess + first}};
  }

  void clear_output(State state, std::ptrdiff_t width) const {
    for (std::ptrdiff_t x = 0; x < width * shape_.value_head_dim; x += kLanes<Arch>) {
      store<Arch>(state.o + x, splat<Arch>(0.0F));
    }
  }

  /// The weights of keys that all rows see. False, and nothing is changed but the tile, where the
  /// guess of m was wrong, or there are too few keys to make it worth while.
  template <int Count>
  __attribute__((noinline)) bool weigh_by_guess(const Block& b, const ActiveRows& rows,
                                                const TileView& keys) {
    const std::int32_t count = keys.end - keys.begin;
    if (Rule == WeightRule::argmax || count < 2 * T::rows(Count)) return false;
    const bool first = b.overwrite && !b.has_total;
    GuessedWeights<Arch, Count> weights(rows.state);
    score_and_weigh<Arch, T::rows(Count), Count>(scores<Count>(rows, keys), next_k_, weights);
    // A first guess must not be above the row's largest logit: it is not where weights are 1 on
    // average.
    if (weights.commit(rows.state, first ? static_cast<float>(count) : 0.0F)) return true;
    if (first) first_guess_held_ = false;
    return false;
  }

  /// The weights of any keys. Returns whether the guess of m would have been right.
  template <int Count>
  __attribute__((noinline)) bool weigh(const ActiveRows& rows, const TileView& keys, bool masked) {
    multiply_rows<Arch, Broadcast::along_steps, T::rows(Count), Count>(scores<Count>(rows, keys),
                                                                       next_k_);
    const std::int32_t count = keys.end - keys.begin;
    if (masked) mask<Count>(rows, keys.begin, count);
    return exponentiate<Arch, Rule, Count>(weights_, count, rows.state);
  }

  /// Sᵀ = K·Qᵀ.
  template <int Count>
  Product scores(const ActiveRows& rows, const TileView& keys) const {
    return {keys.k.data,          keys.k.stride,         rows.q,
            rows.q_stride,        shape_.head_dim,       weights_,
            Count * kLanes<Arch>, keys.end - keys.begin, true};
  }

  /// Oᵀ += Vᵀ·Pᵀ, while the next tile's values come nearer.
  template <int Count>
  __attribute__((noinline)) void add_values(const ActiveRows& rows, const TileView& keys) {
    multiply_rows<Arch, Broadcast::along_rows, T::rows(Count), Count>(
        {keys.v.data, keys.v.stride, weights_, Count * kLanes<Arch>, keys.end - keys.begin,
         rows.state.state.o, rows.state.stride, shape_.value_head_dim, rows.state.overwrite},
        next_v_);
  }

  /// Hides from each row the keys outside its interval: a logit of −∞ has weight 0.
  template <int Count>
  __attribute__((noinline)) void mask(const ActiveRows& rows, std::int32_t begin,
                                      std::int32_t count) {
    constexpr int lanes = kLanes<Arch>;
    for (int v = 0; v < Count; ++v) {
      const auto [first, last] = interval<Arch>(rows, begin, v);
      for (std::int32_t j = 0; j < count; ++j) {
        float* const t = weights_ + (j * Count + v) * lanes;
        const Vec<Arch> key = splat<Arch>(static_cast<float>(j));
        store<Arch>(t, Ops<Arch>::select((key >= first) & (key < last), load<Arch>(t),
                                         splat<Arch>(-__builtin_inff())));
      }
    }
  }

  /// add_values() for values that rows must not touch where they do not see them.
  template <int Count>
  __attribute__((noinline)) void add_visible_values(const ActiveRows& rows, const TileView& keys) {
    constexpr int lanes = kLanes<Arch>;
    for (int v = 0; v < Count; ++v) {
      const auto [first, last] = interval<Arch>(rows, keys.begin, v);
      for (std::int32_t x = 0; x < shape_.value_head_dim; ++x) {
        float* const o = rows.state.state.o + x * rows.state.stride + v * lanes;
        Vec<Arch> sum = rows.state.overwrite ? splat<Arch>(0.0F) : load<Arch>(o);
        for (std::int32_t j = 0; j < keys.end - keys.begin; ++j) {
          const Vec<Arch> key = splat<Arch>(static_cast<float>(j));
          const Vec<Arch> next =
              Ops<Arch>::fma(load<Arch>(weights_ + (j * Count + v) * lanes),
                             splat<Arch>(keys.v.data[j * keys.v.stride + x]), sum);
          sum = Ops<Arch>::select((key >= first) & (key < last), next, sum);
        }
        store<Arch>(o, sum);
      }
    }
  }

  void open_partition(Block& b, std::int32_t partition) {
    if (b.partition == partition) return;
    close_partition(b);
    b.partition = partition;
    b.overwrite = true;
    b.masked = false;
    clear_sums<Arch>(b.partition_state, b.width);
  }

  void close_partition(Block& b) {
    if (b.partition < 0) return;
    if (b.masked && finite_) finite_ = all_finite(b);
    if (item_.states.m == nullptr || item_.merge_partitions) {
      merge_partition(b);
    } else {
      write_states(b, b.partition_state, b.partition);
    }
    b.partition = -1;
  }

  /// Writes a block's state as rows.
  void write_states(const Block& b, const State& state, std::int32_t partition) const {
    const StateRows<Arch> states(shape_, item_);
    for (std::int32_t v = 0; v < b.vectors; ++v) {
      const std::int32_t first = v * kLanes<Arch>, left = b.rows - first;
      const std::int32_t count = left < kLanes<Arch> ? left : kLanes<Arch>;
      float* row[kLanes<Arch>];
      for (std::int32_t lane = 0; lane < count; ++lane) {
        row[lane] = states.o(partition, b.first_row + first + lane);
      }
      write_rows<Arch>(state.o + first, b.width, shape_.value_head_dim, row, count,
                       [](Vec<Arch> o) { return o; });
    }
    for (std::int32_t i = 0; i < b.rows; ++i) {
      states.write_sums(partition, b.first_row + i, state.m[i], state.l[i]);
    }
  }

  /// The partitions that no row of a block sees.
  void mark_unseen_partitions() const {
    const StateRows<Arch> states(shape_, item_);
    for (int b = 0; b < blocks_; ++b) {
      for (std::int32_t p = states.begin(); p < states.end(); ++p) {
        if (!sees_partition(block_[b], p)) {
          states.write_unseen(p, block_[b].first_row, block_[b].rows);
        }
      }
    }
  }

  /// Merges the state of the partition into the total; the first one becomes the total as it is.
  void merge_partition(Block& b) {
    if (b.has_total) {
      merge_states<Arch, Rule>(b.total, b.partition_state, b.width, shape_.value_head_dim);
      return;
    }
    const State first = b.partition_state;
    b.partition_state = b.total;
    b.total = first;
    b.has_total = true;
  }

  /// Sums 0 · x, which is 0 for every finite x and else NaN.
  bool all_finite(const Block& b) const {
    Vec<Arch> traces = splat<Arch>(0.0F);
    for (std::ptrdiff_t x = 0; x < b.width * (shape_.value_head_dim + 1); x += kLanes<Arch>) {
      traces = Ops<Arch>::fma(load<Arch>(b.partition_state.l + x), splat<Arch>(0.0F), traces);
    }
    return !Ops<Arch>::any(Ops<Arch>::not_less(traces, splat<Arch>(1.0F)));
  }

  void finish(Block& b) {
    if (!b.has_total) clear_sums<Arch>(b.total, b.width);  // without weight, O does not matter
    const RowMap map{shape_.group, item_.out_stride};
    for (std::int32_t v = 0; v < b.vectors; ++v) {
      const std::int32_t first = v * kLanes<Arch>, left = b.rows - first;
      write_outputs<Arch>(b.total.o + first, load<Arch>(b.total.l + first), b.width,
                          shape_.value_head_dim, item_.out, map,
                          item_.row_begin + b.first_row + first,
                          left < kLanes<Arch> ? left : kLanes<Arch>);
    }
    if (item_.lse != nullptr) {
      write_lse<Rule>(b.total, item_.lse, RowMap{shape_.group, item_.lse_stride},
                      item_.row_begin + b.first_row, b.rows);
    }
  }

  const AttentionShape& shape_;
  const AttentionItem& item_;
  Block block_[kMaxItemRows / kLanes<Arch>];
  int blocks_ = 0;
  std::int32_t next_begin_ = 0, next_end_ = 0;  ///< the tile that is expected
  TileLoader<Arch> next_k_, next_v_;
  float first_guess_[kWidest * kLanes<Arch>];
  bool finite_ = true;
  bool first_guess_held_ = true;  ///< of all blocks so far, from their first keys
  float* weights_ = nullptr;      ///< the tile of logits, then weights: tile_keys × width
  float* copy_[2] = {};      ///< of a tile of keys and values: one is used, one is being written
  float* copies_ = nullptr;  ///< that of the expected tile
};

}  // namespace
}  // namespace heed::kernels
