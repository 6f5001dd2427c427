// The prefill kernel: attention of many query rows. Blocks of query rows stay in registers and
// cache while tiles of keys and values stream past them.
//
//   pack Qᵀ → for each tile: scores → mask → weights → add values → merge partitions → outputs
//
// Source: online softmax (Milakov & Gimelshein 2018), tiled as in FlashAttention (Dao et al. 2022),
// computed transposed (lanes are query rows) with sums that start afresh at every partition of
// kPartitionKeys keys, so that the order of operations, and with it every bit, depends on nothing
// but the row. Memory traffic: each tile of K and V is read once per item and shared by its blocks.
#pragma once

#include <utility>

#include "kernels/attention/block.inl.h"
#include "kernels/attention/block_end.inl.h"
#include "kernels/attention/explain.inl.h"
#include "kernels/attention/register_tile.inl.h"
#include "kernels/attention/rows.inl.h"
#include "kernels/attention/scores.inl.h"
#include "kernels/attention/states.inl.h"
#include "kernels/attention/tile.inl.h"
#include "kernels/attention/tile_walk.inl.h"
#include "kernels/attention/visible.inl.h"
#include "kernels/attention/weights.inl.h"
#include "kernels/interface.h"
#include "kernels/scratch.h"

namespace heed::kernels {
namespace {

/// A guess of m for rows that have seen no key: right for a tile of n keys whose weights relative
/// to it sum to n … kLargestSum. For n = 128 that is a log-sum-exp between 4 and 13 (base 2), and
/// 128 logits that are normal and of variance 1 have 7.7.
inline constexpr float kFirstGuess = -4.0F;

/// Right guesses in a row after which the next one is made again. A wrong one costs half a tile, a
/// right one saves a twentieth, and outliers come together.
inline constexpr std::int32_t kRightGuessesNeeded = 2;

/// Keys of a gap at least, for a block not to compute those of the gap, too: those of a register
/// tile and more.
inline constexpr std::int32_t kNearKeys = 16;

template <class T>
class PrefillKernel {
 public:
  using Arch = typename T::Arch;
  using Products = typename T::Products;
  static constexpr int kWidest = T::kVectors;
  /// Pairs are multiplied as they are; else as floats, in their order.
  static constexpr bool kPacked = Products::kPairs;

  PrefillKernel(const AttentionShape& shape, const AttentionItem& item, float* scratch)
      : shape_(shape),
        item_(item),
        end_(shape, item),
        explainer_(shape, item),
        modified_(modifies(shape, item)),
        walk_(shape, item) {
    lay_out(scratch);
    for (float& m : first_guess_) m = kFirstGuess;
  }

  /// Computes the item. Where a mask was applied in a block that ends non-finite, weights of 0 may
  /// have met infinite or NaN values that their rows do not see: the item is done again, in the
  /// same order, with the masked products left out.
  void attend() {
    for (int b = 0; b < blocks_; ++b) pack(block_[b]);
    if (!stream<false>()) stream<true>();
  }

 private:
  std::int32_t vectors() const { return (item_.rows + kLanes<Arch> - 1) / kLanes<Arch>; }

  /// Vectors of the next block and of those after it, of `left`, from row `first` of the item on:
  /// as many as meet the same row of the mask, where that is of several vectors, so that each block
  /// sees all of a tile's stretch or none.
  std::int32_t vectors_alike(std::int32_t first, std::int32_t left) const {
    const MaskRows& mask = item_.mask;
    if (mask.words == nullptr || mask.heads > 1) return left;
    const std::int64_t alike = std::int64_t{mask.query_block} * shape_.group;
    const std::int64_t rows = alike - (item_.row_begin + first) % alike;
    if (alike < 2 * kLanes<Arch> || rows >= std::int64_t{left} * kLanes<Arch>) return left;
    return rows > kLanes<Arch> ? static_cast<std::int32_t>(rows / kLanes<Arch>) : 1;
  }

  /// Divides the rows into blocks and places their data. Where a block of one vector would be left
  /// over, the last two blocks share their vectors.
  void lay_out(float* scratch) {
    const ScratchLayout layout = prefill_scratch(shape_, item_.rows, kLanes<Arch>, T::kVectors);
    const std::ptrdiff_t row_floats = std::ptrdiff_t{shape_.value_head_dim} + 2;
    const auto at = [&](const ScratchRegion& region) { return scratch + region.begin; };
    const std::int32_t width = vectors() * kLanes<Arch>;
    weights_ = at(layout.weights);
    buffer_ = at(layout.copies[0]);
    walk_.set_copies(at(layout.copies[0]), at(layout.copies[1]));
    blocks_ = 0;
    for (std::int32_t first = 0, left = vectors(); left > 0; ++blocks_) {
      Block& b = block_[blocks_];
      const std::int32_t alike = vectors_alike(first, left);
      b.vectors = alike <= kWidest                      ? alike
                  : alike == kWidest + 1 && kWidest > 2 ? kWidest - 1
                                                        : kWidest;
      left -= b.vectors;
      b.width = b.vectors * kLanes<Arch>;
      b.first_row = first;
      b.rows = item_.rows - first < b.width ? item_.rows - first : b.width;
      b.q = at(layout.queries) + static_cast<std::ptrdiff_t>(first) * shape_.head_dim;
      b.keys = KeyLanes::at(at(layout.visible), width).from(first);
      b.terms = TermLanes::at(at(layout.terms), width).from(first);
      const auto state = [&](const ScratchRegion& region) {
        return State::at(at(region) + first * row_floats, b.width);
      };
      b.partition_state = state(layout.partition);
      b.total = state(layout.total);
      b.sections = state(layout.sections);
      find_visible_keys(b);
      first += b.width;
    }
  }

  /// The keys that each row sees: those of an interval around its position, moving up with the
  /// token, and of one that begins with the first key.
  void find_visible_keys(Block& b) const {
    for (std::int32_t i = 0; i < b.width; ++i) {
      const std::int32_t row = item_.row_begin + b.first_row + (i < b.rows ? i : b.rows - 1);
      const RowKeys keys = keys_of_row(shape_, item_, row);
      b.keys.set(i, keys);
      if (shape_.sections) b.keys.partition[i] = first_partition(item_, keys);
      if (modified_ || item_.temperatures != nullptr) {
        b.terms.set(i, terms_of(shape_, item_, row, factors_of(shape_, item_, row)));
      }
    }
    const std::int32_t last = b.width - 1;
    b.head_end = b.keys.head[last];
    b.key_begin = b.keys.first[0];
    b.key_end = b.keys.last[last];
    b.full_begin = b.keys.first[last];
    b.full_end = b.keys.last[0];
    if (b.key_begin >= b.head_end + kNearKeys) return;
    b.key_begin = b.head_end > 0 ? 0 : b.key_begin;
    b.head_end = 0;
  }

  /// Rows that are not of floats are widened first, to where tiles will be copied later, and so are
  /// rows scaled that have factors of their own.
  void pack(const Block& b) const {
    const RowMap map{shape_.group, item_.q_stride};
    const std::ptrdiff_t stride = tile_copy_stride(shape_.head_dim);
    const bool scales = item_.temperatures != nullptr && !shape_.pairs;
    for (std::int32_t v = 0; v < b.vectors; ++v) {
      const std::int32_t first = v * kLanes<Arch>, left = b.rows - first;
      const std::int32_t count = left < kLanes<Arch> ? left : kLanes<Arch>;
      const float* row[kLanes<Arch>];
      for (std::int32_t lane = 0; lane < count; ++lane) {
        const std::byte* q = item_.q + map.offset(item_.row_begin + b.first_row + first + lane);
        if constexpr (kPacked) {
          row[lane] = reinterpret_cast<const float*>(q);
        } else {
          float* const buffer = buffer_ + lane * stride;
          row[lane] = as_floats<Arch>(shape_.q_type, q, shape_.head_dim, buffer);
          if (shape_.pairs) swap_neighbours(buffer, shape_.head_dim);
          if (scales) row[lane] = scaled(row[lane], b.terms.query[first + lane], buffer);
        }
      }
      if (shape_.pairs || scales) {
        pack_queries<Arch, false>(row, count, steps_of_scores(), 1.0F, b.q + first, b.width);
      } else {
        pack_queries<Arch>(row, count, shape_.head_dim, shape_.query_factor, b.q + first, b.width);
      }
    }
  }

  /// A query times its factor, in a buffer where it may be already.
  const float* scaled(const float* row, float factor, float* buffer) const {
    for (std::int32_t x = 0; x < shape_.head_dim; ++x) buffer[x] = row[x] * factor;
    return buffer;
  }

  /// Products of a logit.
  std::int32_t steps_of_scores() const { return kPacked ? shape_.head_dim / 2 : shape_.head_dim; }

  /// Returns false when the item must be done again without the products of hidden keys.
  template <bool SkipHidden>
  bool stream() {
    finite_ = true;
    explainer_.clear();
    for (int b = 0; b < blocks_; ++b) {
      block_[b].partition = -1;
      block_[b].next_state = item_.first_partition;
      block_[b].has_total = block_[b].has_sections = false;
      block_[b].right_guesses = kRightGuessesNeeded;
    }
    walk_.start(block_, blocks_);
    while (walk_.has_tile()) {
      const TileView tile = walk_.next();
      for (int b = 0; b < blocks_; ++b) attend_tile<SkipHidden>(block_[b], tile);
    }
    for (int b = 0; b < blocks_; ++b) {
      close_partition(block_[b]);
      if (item_.states.m == nullptr) {
        end_.finish(block_[b], buffer_);
      } else if (item_.merge_partitions) {
        end_.write_states(block_[b], block_[b].total, item_.first_partition);
      } else {
        end_.write_unseen_states(block_[b], item_.first_partition + item_.states.partitions);
      }
    }
    const bool done = SkipHidden || finite_;
    for (int b = 0; done && item_.explanation != nullptr && b < blocks_; ++b) {
      explainer_.tell(block_[b], block_[b].total);
    }
    return done;
  }

  template <bool SkipHidden>
  void attend_tile(Block& b, const TileView& tile) {
    if (tile.begin < b.head_end) attend_tile<SkipHidden>(b, tile, {0, b.head_end});
    attend_tile<SkipHidden>(b, tile, {b.key_begin, b.key_end});
  }

  /// Attends to the keys of a tile that are among these of the block.
  template <bool SkipHidden>
  void attend_tile(Block& b, const TileView& tile, KeyInterval keys) {
    std::int32_t begin = tile.begin > keys.first ? tile.begin : keys.first;
    std::int32_t end = tile.end < keys.last ? tile.end : keys.last;
    if (begin >= end) return;
    if (shape_.pairs) begin -= begin % 2, end += end % 2;
    const Sight masked = look_at_mask(b, begin, end);
    if (masked == Sight::none) return;
    open_partition(b, begin / kPartitionKeys);
    if (masked == Sight::all && begin >= b.full_begin && end <= b.full_end) {
      return attend_keys<SkipHidden, kWidest>(b, {0, b.vectors, true}, tile.slice(begin, end));
    }
    attend_edge<SkipHidden>(b, tile.slice(begin, end));
  }

  /// What the mask shows of keys to all rows of a block.
  Sight look_at_mask(const Block& b, std::int32_t begin, std::int32_t end) {
    if (item_.mask.words == nullptr || begin < item_.mask.first_key) return Sight::all;
    mask_.look(item_.mask, b, begin, end);
    const Sight first = mask_.of(0, begin, end);
    for (std::int32_t v = 1; v < b.vectors; ++v) {
      if (mask_.of(v, begin, end) != first) return Sight::some;
    }
    return first;
  }

  /// What the rows of a vector see of keys that the mask has been looked at for.
  Sight sight_of(const Block& b, std::int32_t v, std::int32_t begin, std::int32_t end) const {
    const Sight own = sight<Arch>(b, v, begin, end);
    const bool masked = item_.mask.words != nullptr && begin >= item_.mask.first_key;
    if (own == Sight::none || !masked) return own;
    const Sight shown = mask_.of(v, begin, end);
    return own == Sight::all || shown == Sight::none ? shown : own;
  }

  /// Whether a word of the mask begins with a key, of which each vector's rows see all or nothing.
  bool is_word_of_all(const Block& b, std::int32_t key) const {
    if (item_.mask.words == nullptr || key < item_.mask.first_key || key % kWordKeys != 0) {
      return false;
    }
    if (key < b.full_begin || key + kWordKeys > b.full_end) return false;
    for (std::int32_t v = 0; v < b.vectors; ++v) {
      if (mask_.of(v, key, key + kWordKeys) == Sight::some) return false;
    }
    return true;
  }

  /// Attends to keys that are hidden from some of the rows: each stretch of keys is computed for
  /// just the vectors of rows that see any of it, and masked only where it is hidden from a row.
  template <bool SkipHidden>
  void attend_edge(Block& b, const TileView& keys) {
    // Stretches end where a register tile of a whole block does; of a word that each vector sees
    // whole or not at all, where the word does.
    const std::int32_t rows = shape_.pairs ? T::kRows + T::kRows % 2 : T::kRows;
    const auto step = [&](std::int32_t key) {
      const std::int32_t count = is_word_of_all(b, key) ? kWordKeys : rows;
      return keys.end - key > count ? key + count : keys.end;
    };
    for (std::int32_t begin = keys.begin; begin < keys.end;) {
      std::int32_t end = step(begin);
      Sight seen[kWidest];
      for (std::int32_t v = 0; v < b.vectors; ++v) seen[v] = sight_of(b, v, begin, end);
      const auto same = [&](std::int32_t first, std::int32_t last) {
        for (std::int32_t v = 0; v < b.vectors; ++v) {
          if (sight_of(b, v, first, last) != seen[v]) return false;
        }
        return true;
      };
      while (end < keys.end && same(end, step(end))) end = step(end);
      attend_stretch<SkipHidden>(b, seen, keys.slice(begin, end));
      begin = end;
    }
  }

  /// Attends to keys of which each vector's rows see what `seen` says: neighbours are computed
  /// together.
  template <bool SkipHidden>
  void attend_stretch(Block& b, const Sight (&seen)[kWidest], const TileView& keys) {
    Vectors together{0, 0, true};
    for (std::int32_t v = 0; v <= b.vectors; ++v) {
      if (v < b.vectors && seen[v] != Sight::none) {
        ++together.count;
        together.all &= seen[v] == Sight::all;
        continue;
      }
      if (together.count > 0) attend_keys<SkipHidden, kWidest>(b, together, keys);
      together = {v + 1, 0, true};
    }
  }

  template <bool SkipHidden, int Count>
  void attend_keys(Block& b, Vectors vectors, const TileView& keys) {
    if constexpr (Count > 1) {
      if (vectors.count < Count) return attend_keys<SkipHidden, Count - 1>(b, vectors, keys);
    }
    if (b.overwrite && Count < b.vectors) {  // the other vectors see later keys, or none
      end_.clear_output(b.partition_state, b.width);
      b.overwrite = false;
    }
    ActiveRows rows = rows_of(b, vectors);
    if (item_.explanation != nullptr) {
      weigh_piece<Count>(b, vectors.first, rows, keys, !vectors.all);
    } else if (!vectors.all) {
      weigh<Count>(rows, keys, true);
    } else if (!may_guess(b)) {
      b.right_guesses = weigh<Count>(rows, keys, false) ? b.right_guesses + 1 : 0;
    } else if (!weigh_by_guess<Count>(b, rows, keys)) {
      weigh<Count>(rows, keys, false);
      b.right_guesses = 0;
    }
    if (SkipHidden && !vectors.all) {
      add_visible_values<Count>(rows, keys);
    } else {
      add_values<Count>(rows, keys);
    }
    b.overwrite = false;
    b.masked |= !vectors.all;
  }

  /// Computes weights that stay where they are made.
  template <int Count>
  void weigh_piece(const Block& b, std::int32_t vector, ActiveRows& rows, const TileView& keys,
                   bool masked) {
    Piece& piece = explainer_.begin(b.first_row + vector * kLanes<Arch>, Count * kLanes<Arch>,
                                    keys.begin, keys.end - keys.begin);
    rows.state.told = piece.told();
    weights_ = piece.weights();
    weigh<Count>(rows, keys, masked);
    explainer_.keep(piece);
  }

  /// Whether a guess of m will probably be right: for a block's first keys where it was for those
  /// of the item's other blocks, else where it has been for the last tiles.
  bool may_guess(const Block& b) const {
    // ALiBi moves the largest logits with the keys, and a pass over biases wants more of these than
    // a register tile has.
    if (item_.slopes != nullptr || item_.bias != nullptr) return false;
    return b.overwrite && !b.has_total ? first_guess_held_ : b.right_guesses >= kRightGuessesNeeded;
  }

  ActiveRows rows_of(const Block& b, Vectors vectors) const {
    const std::int32_t first = vectors.first * kLanes<Arch>;
    const float* const guess = !b.overwrite  ? b.partition_state.m
                               : b.has_total ? b.total.m
                                             : first_guess_;
    return {b.q + first,
            b.width,
            b.keys.from(first),
            b.terms.from(first),
            {b.partition_state.from(first), b.width, shape_.value_head_dim, b.overwrite,
             guess + first}};
  }

  /// Computes the weights of keys that all rows see, with a guess of m. Returns false, and has
  /// changed nothing but the tile of weights, where the guess was wrong or there are too few keys.
  template <int Count>
  __attribute__((noinline)) bool weigh_by_guess(const Block& b, const ActiveRows& rows,
                                                const TileView& keys) {
    const std::int32_t count = keys.end - keys.begin;
    if (shape_.rule == WeightRule::argmax || count < 2 * T::rows(Count)) return false;
    if (!kPacked && shape_.pairs) return false;
    const bool first = b.overwrite && !b.has_total;
    GuessedWeights<Products, Arch, Count> weights(rows.state,
                                                  modified_ ? 1.0F : shape_.query_factor);
    score_and_weigh<Products, Arch, T::rows(Count), Count>(
        scores<Count>(rows, keys), walk_.keys(), weights,
        [&](std::ptrdiff_t key, std::ptrdiff_t more) {
          if (!modified_) return;
          const std::int32_t own = keys.begin + static_cast<std::int32_t>(key);
          modify(rows, {own, own + static_cast<std::int32_t>(more)}, Count,
                 weights_ + key * Count * kLanes<Arch>, kPacked ? shape_.query_factor : 1.0F);
        });
    if constexpr (kPacked) weights.pack(weights_, count);
    // A first guess must not be above the row's largest logit: it is not where weights are 1 on
    // average.
    if (weights.commit(rows.state, first ? static_cast<float>(count) : 0.0F)) return true;
    if (first) first_guess_held_ = false;
    return false;
  }

  /// Computes the weights of any keys. Returns whether the guess of m would have been right.
  template <int Count>
  __attribute__((noinline)) bool weigh(const ActiveRows& rows, const TileView& keys, bool masked) {
    multiply_rows<Products, Arch, Broadcast::along_steps, T::rows(Count), Count>(
        scores<Count>(rows, keys), walk_.keys());
    const std::int32_t count = keys.end - keys.begin;
    float factor = shape_.pairs ? shape_.query_factor : 1.0F;
    if (modified_) {
      modify(rows, {keys.begin, keys.end}, Count, weights_, std::exchange(factor, 1.0F));
    }
    if (masked) mask<Count>(rows, keys.begin, count, std::exchange(factor, 1.0F));
    constexpr WeightRows pairs = kPacked ? WeightRows::packed : WeightRows::swapped;
    return kPacked || shape_.pairs
               ? exponentiate<pairs, Count>(count, rows.state, factor)
               : exponentiate<WeightRows::floats, Count>(count, rows.state, factor);
  }

  /// Multiplies the logits of these keys, `vectors` for each, by `factor`, and applies the
  /// modifiers.
  __attribute__((noinline)) void modify(const ActiveRows& rows, KeyInterval keys,
                                        std::int32_t vectors, float* logits, float factor) const {
    const std::int32_t width = vectors * kLanes<Arch>, count = keys.last - keys.first;
    const bool own_factors = item_.temperatures != nullptr;
    if (!own_factors && factor != 1.0F) scale_logits<Arch>(logits, count * width, factor);
    if (!own_factors && shape_.softcap > 0.0F) {
      cap_logits<Arch>(logits, count * width, shape_.softcap);
    }
    const KeyInterval own{keys.first > item_.key_begin ? keys.first : item_.key_begin,
                          keys.last < item_.key_end ? keys.last : item_.key_end};
    for (std::int32_t v = 0; v < width; v += kLanes<Arch>) {
      const LogitColumns<Arch> own_logits{logits + v, width, keys.first, count, key_of_row(0) == 1};
      const TermLanes terms = rows.terms.from(v);
      if (own_factors) apply_factors<Arch>(shape_, own_logits, terms);
      add_terms<Arch>(shape_, item_, own_logits, own, terms);
    }
  }

  template <WeightRows Form, int Count>
  bool exponentiate(std::int32_t count, const RunningState& state, float factor) {
    return shape_.rule == WeightRule::argmax
               ? kernels::exponentiate<Arch, WeightRule::argmax, Count, Form, Products>(
                     weights_, count, state, factor)
               : kernels::exponentiate<Arch, WeightRule::exponential, Count, Form, Products>(
                     weights_, count, state, factor);
  }

  /// Sᵀ = K·Qᵀ.
  template <int Count>
  Product scores(const ActiveRows& rows, const TileView& keys) const {
    return {keys.k.data,          keys.k.stride,         rows.q,
            rows.q_stride,        steps_of_scores(),     weights_,
            Count * kLanes<Arch>, keys.end - keys.begin, true};
  }

  /// Oᵀ += Vᵀ·Pᵀ, prefetching the next tile's values.
  template <int Count>
  __attribute__((noinline)) void add_values(const ActiveRows& rows, const TileView& keys) {
    const std::int32_t count = keys.end - keys.begin;
    multiply_rows<Products, Arch, Broadcast::along_rows, T::rows(Count), Count>(
        {keys.v.data, keys.v.stride, weights_, Count * kLanes<Arch>, kPacked ? count / 2 : count,
         rows.state.state.o, rows.state.stride, shape_.value_head_dim, rows.state.overwrite},
        walk_.values());
  }

  /// Applies the masks: hides from each row the keys outside its interval of visible keys by a
  /// logit of −∞, which has weight 0. Logits are multiplied by `factor` before.
  template <int Count>
  __attribute__((noinline)) void mask(const ActiveRows& rows, std::int32_t begin,
                                      std::int32_t count, float factor) {
    constexpr int lanes = kLanes<Arch>;
    for (int v = 0; v < Count; ++v) {
      const VisibleLanes<Arch> visible(item_.mask, rows.keys.from(v * lanes), begin, count);
      for (std::int32_t j = 0; j < count; ++j) {
        float* const t = weights_ + (j * Count + v) * lanes;
        store<Arch>(
            t, Ops<Arch>::select(visible.at(key_of_row(j)), load<Arch>(t) * splat<Arch>(factor),
                                 splat<Arch>(-__builtin_inff())));
      }
    }
  }

  /// The key of row j of a tile of logits, counted from the first one.
  std::int32_t key_of_row(std::int32_t j) const { return !kPacked && shape_.pairs ? j ^ 1 : j; }

  /// The weights and the value of the jth key in the order of additions: those of dimension x.
  struct Term {
    Vec<Arch> weights, value;
    std::int32_t key;
  };
  template <int Count>
  Term term(const TileView& keys, std::int32_t j, int v, std::int32_t x) const {
    constexpr int lanes = kLanes<Arch>;
    if constexpr (!kPacked) {
      return {load<Arch>(weights_ + (j * Count + v) * lanes),
              splat<Arch>(keys.v.data[j * keys.v.stride + x]), key_of_row(j)};
    } else {
      const auto half = [&](Vec<Arch> pairs) {
        const auto bits = Ops<Arch>::as_integers(pairs);
        return Ops<Arch>::as_floats(j % 2 == 0 ? bits & Integers<Arch>(-0x10000) : bits << 16);
      };
      return {half(load<Arch>(weights_ + (j / 2 * Count + v) * lanes)),
              half(splat<Arch>(keys.v.data[j / 2 * keys.v.stride + x])), j ^ 1};
    }
  }

  /// add_values() where values may be infinite or NaN: rows do not multiply those of keys that they
  /// do not see.
  template <int Count>
  __attribute__((noinline)) void add_visible_values(const ActiveRows& rows, const TileView& keys) {
    constexpr int lanes = kLanes<Arch>;
    const std::int32_t count = keys.end - keys.begin;
    for (int v = 0; v < Count; ++v) {
      const VisibleLanes<Arch> visible(item_.mask, rows.keys.from(v * lanes), keys.begin, count);
      for (std::int32_t x = 0; x < shape_.value_head_dim; ++x) {
        float* const o = rows.state.state.o + x * rows.state.stride + v * lanes;
        Vec<Arch> sum = rows.state.overwrite ? splat<Arch>(0.0F) : load<Arch>(o);
        for (std::int32_t j = 0; j < count; ++j) {
          const Term own = term<Count>(keys, j, v, x);
          const Vec<Arch> next = Ops<Arch>::fma(own.weights, own.value, sum);
          sum = Ops<Arch>::select(visible.at(own.key), next, sum);
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
    // A mask may show keys of it that are outside of all rows' windows.
    if (b.overwrite) end_.clear_output(b.partition_state, b.width);
    if (b.masked && finite_) finite_ = end_.all_finite(b);
    if (item_.states.m == nullptr || item_.merge_partitions) {
      end_.merge_partition(b);
    } else {
      end_.write_unseen_states(b, b.partition);
      end_.write_states(b, b.partition_state, b.partition);
      b.next_state = b.partition + 1;
    }
    b.partition = -1;
  }

  const AttentionShape& shape_;
  const AttentionItem& item_;
  const BlockEnd<Arch, kWidest> end_;
  Explainer<Arch, Products, kWidest> explainer_;
  const bool modified_;  ///< logits change before they become weights
  MaskSummary<Arch, kWidest> mask_;
  Block block_[kMaxItemRows / kLanes<Arch>];
  int blocks_ = 0;
  TileWalk<T> walk_;
  float first_guess_[kWidest * kLanes<Arch>];
  bool finite_ = true;
  bool first_guess_held_ = true;  ///< the guess for first keys was right in all blocks so far
  float* weights_ = nullptr;      ///< the tile of logits, then weights: tile_keys × width
  float* buffer_ = nullptr;  ///< floats of a tile, free before the first and after the last one
};

}  // namespace
}  // namespace heed::kernels
