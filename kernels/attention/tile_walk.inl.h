// Which tiles of keys the blocks of an item see, one after the other, and their loading: while one
// is computed, the next one is prefetched and copied where it must be, and beside the last one what
// follows the item is prefetched. Memory traffic: that of TileLoader.
#pragma once

#include "kernels/attention/block.inl.h"
#include "kernels/attention/register_tile.inl.h"
#include "kernels/attention/tile.inl.h"
#include "kernels/attention/tile_loader.inl.h"
#include "kernels/attention/visible.inl.h"
#include "kernels/interface.h"

namespace heed::kernels {
namespace {

/// Tiles of an item that may all be in L2 when it is done: where the next item has the same keys,
/// they are not prefetched then. Prefetches that find their lines cost 1.5% of short prompts.
inline constexpr std::int32_t kTilesKept = 4;

/// The tiles of an item for a kernel with register tiles T.
template <class T>
class TileWalk {
 public:
  using Arch = typename T::Arch;
  /// Pairs are multiplied as they are; else as floats, in their order.
  static constexpr bool kPacked = T::Products::kPairs;
  using Loader = TileLoader<Arch, kPacked>;

  TileWalk(const AttentionShape& shape, const AttentionItem& item)
      : shape_(shape), item_(item), gap_(gap_of(shape, item)) {}

  /// Where copies of two tiles go: one is read while the other is written.
  void set_copies(float* first, float* second) { copy_[0] = first, copy_[1] = second; }

  /// Begins with the first tile that any of these blocks sees.
  void start(Block* blocks, int count) {
    blocks_ = blocks, count_ = count;
    start_tile(item_.key_begin, 0, 0);
  }

  bool has_tile() const { return next_begin_ < item_.key_end; }

  /// The tile that was being loaded. The next one is started: all blocks that see this one will
  /// prefetch it, a step with each register tile that they compute.
  TileView next() {
    const TileView tile{next_k_.finish(), next_v_.finish(), next_begin_, next_end_,
                        kPacked ? 2 : 1};
    std::int32_t k_slices = 0, v_slices = 0;
    for (int b = 0; b < count_; ++b) {
      const std::int32_t seen = keys_seen(blocks_[b], tile);
      const std::int32_t keys = blocks_[b].shown_keys < seen ? blocks_[b].shown_keys : seen;
      if (keys <= 0) continue;
      const std::int32_t rows = T::rows(blocks_[b].vectors);
      const std::int32_t slices = slices_per_tile(blocks_[b].vectors);
      k_slices += slices * ((keys + rows - 1) / rows);
      v_slices += slices * ((shape_.value_head_dim + rows - 1) / rows);
    }
    start_tile(tile.end, k_slices, v_slices);
    return tile;
  }

  /// The loaders of the next tile, which work on the present one prefetches with.
  HEED_INLINE Loader& keys() { return next_k_; }
  HEED_INLINE Loader& values() { return next_v_; }

 private:
  /// How many keys of a tile rows of a block see, but for masks: none where that is not above zero.
  static std::int32_t keys_seen(const Block& b, const TileView& tile) {
    if (b.head_end > tile.begin) return tile.end - tile.begin;
    const std::int32_t first = b.key_begin > tile.begin ? b.key_begin : tile.begin;
    const std::int32_t last = b.key_end < tile.end ? b.key_end : tile.end;
    return last - first;
  }

  /// The end of the tile that begins at key `begin`.
  std::int32_t end_of_tile(std::int32_t begin) const {
    const std::int32_t rest = shape_.tile_keys - begin % shape_.tile_keys;
    const std::int32_t last =
        begin < gap_.first && gap_.first < gap_.last ? gap_.first : item_.key_end;
    return last - begin > rest ? begin + rest : last;
  }

  /// Keys of a tile, from the first to the last that the mask shows to any row, in whole words, and
  /// how many blocks see any of them.
  struct ShownKeys {
    KeyInterval keys;
    int blocks;
  };

  /// The first from key `begin` on of which rows of the item see any: those between the first keys
  /// and the rows' windows are left out, and tiles that the mask hides from all rows.
  ShownKeys next_visible_tile(std::int32_t begin) {
    if (begin >= gap_.first && begin < gap_.last) begin = gap_.last;
    while (begin < item_.key_end) {
      const std::int32_t end = end_of_tile(begin);
      const ShownKeys shown = shown_of({begin, end});
      if (shown.blocks > 0) return shown;
      begin = end == gap_.first && end < gap_.last ? gap_.last : end;
    }
    const std::int32_t none = shape_.pairs ? item_.key_end + item_.key_end % 2 : item_.key_end;
    return {{none, none}, 0};
  }

  /// What the mask shows of these keys of a partition, to all blocks and to each.
  ShownKeys shown_of(KeyInterval keys) {
    const MaskRows& mask = item_.mask;
    if (mask.words == nullptr || keys.first < mask.first_key) {
      for (int b = 0; b < count_; ++b) blocks_[b].shown_keys = keys.last - keys.first;
      return {keys, count_};
    }
    const std::int32_t lowest = keys.first - keys.first % kWordKeys;
    ShownKeys shown{{keys.last, keys.first}, 0};
    for (int b = 0; b < count_; ++b) {
      bool shows[kPartitionWords] = {};
      const std::uint32_t* previous = nullptr;
      for (std::int32_t i = 0; i < blocks_[b].rows; ++i) {
        const std::uint32_t* const words = blocks_[b].keys.words[i];
        if (words == previous) continue;
        previous = words;
        for (std::int32_t word = lowest; word < keys.last; word += kWordKeys) {
          const std::uint32_t own = words[(word - mask.first_key) / kWordKeys];
          if ((own & bits_of(word, keys.first, keys.last)) == 0) continue;
          shows[word % kPartitionKeys / kWordKeys] = true;
          if (word < shown.keys.first) shown.keys.first = word;
          if (word + kWordKeys > shown.keys.last) shown.keys.last = word + kWordKeys;
        }
      }
      std::int32_t words = 0;
      for (const bool shows_word : shows) words += shows_word ? 1 : 0;
      blocks_[b].shown_keys = words * kWordKeys;
      shown.blocks += words > 0 ? 1 : 0;
    }
    if (shown.keys.first < keys.first) shown.keys.first = keys.first;
    if (shown.keys.last > keys.last) shown.keys.last = keys.last;
    return shown;
  }

  /// Starts loading the first visible tile from key `begin` on, its keys in k_slices steps and its
  /// values in v_slices.
  void start_tile(std::int32_t begin, std::int32_t k_slices, std::int32_t v_slices) {
    const ShownKeys shown = next_visible_tile(begin);
    begin = shown.keys.first;
    if (begin >= item_.key_end) {
      next_begin_ = begin;
      return look_beyond(k_slices, v_slices);
    }
    if (shape_.pairs) return start_pairs(shown.keys, k_slices, v_slices);
    next_begin_ = begin;
    next_end_ = shown.keys.last;
    copies_ = copies_ == copy_[0] ? copy_[1] : copy_[0];
    const std::int32_t count = next_end_ - begin;
    const auto loader = [&](const Storage& from, std::int32_t slices, float* copy) {
      return Loader(from, begin, count, slices,
                    wants_copy<T::kRows>(from, begin, count, shown.blocks) ? copy : nullptr);
    };
    next_k_ = loader(keys_of(shape_, item_), k_slices, copies_);
    if (shape_.value_head_dim == 0) return;
    next_v_ = loader(values_of(shape_, item_), v_slices,
                     copies_ + shape_.tile_keys * tile_copy_stride(shape_.head_dim));
  }

  /// The same for pairs: tiles begin and end with whole ones.
  void start_pairs(KeyInterval keys, std::int32_t k_slices, std::int32_t v_slices) {
    const std::int32_t begin = keys.first, end = keys.last, lead = begin % 2;
    next_begin_ = begin - lead;
    next_end_ = end + end % 2;
    copies_ = copies_ == copy_[0] ? copy_[1] : copy_[0];
    constexpr TileForm k_form = kPacked ? TileForm::packed : TileForm::swapped_all;
    constexpr TileForm v_form = kPacked ? TileForm::interleaved : TileForm::swapped;
    next_k_ = Loader(keys_of(shape_, item_), begin, end - begin, k_slices, copies_, k_form, lead);
    if (shape_.value_head_dim == 0) return;
    next_v_ = Loader(values_of(shape_, item_), begin, end - begin, v_slices,
                     copies_ + shape_.tile_keys * tile_copy_stride(shape_.head_dim), v_form, lead);
  }

  /// Beside the last tile there is none to load. What the core needs after it is prefetched, where
  /// it would wait for every line: the first tile and the queries of the next item, and the lines
  /// that this item's outputs will be written to.
  void look_beyond(std::int32_t k_slices, std::int32_t v_slices) {
    next_k_ = next_v_ = Loader();
    if (k_slices == 0) return;
    KeyInterval keys{0, 0};
    RowsAfter queries, outputs;
    if (item_.next != nullptr) {
      if (!shares_near_keys(*item_.next)) keys = first_tile_of(*item_.next);
      queries = queries_of(shape_, *item_.next);
    }
    if (item_.out != nullptr && item_.states.m == nullptr) outputs = outputs_of(shape_, item_);
    const AttentionItem& next = item_.next != nullptr ? *item_.next : item_;
    const std::int32_t count = keys.last - keys.first;
    next_k_ = Loader(keys_of(shape_, next), keys.first, count, queries, k_slices);
    if (v_slices == 0) return;
    next_v_ = Loader(values_of(shape_, next), keys.first, count, outputs, v_slices);
  }

  KeyInterval first_tile_of(const AttentionItem& item) const {
    const std::int32_t begin = item.key_begin;
    const std::int32_t end = begin - begin % shape_.tile_keys + shape_.tile_keys;
    return {begin, end < item.key_end ? end : item.key_end};
  }

  /// Whether the first keys of an item are among those of this one, of which all tiles may be in L2
  /// still.
  bool shares_near_keys(const AttentionItem& item) const {
    return item.k == item_.k && item.pages == item_.pages && item.key_begin >= item_.key_begin &&
           item.key_begin < item_.key_end &&
           item_.key_end - item_.key_begin <= kTilesKept * shape_.tile_keys;
  }

  const AttentionShape& shape_;
  const AttentionItem& item_;
  const KeyInterval gap_;  ///< between the first keys and the rows' windows; or empty
  Block* blocks_ = nullptr;
  int count_ = 0;                               ///< of `blocks_`
  std::int32_t next_begin_ = 0, next_end_ = 0;  ///< the keys of the tile that is being loaded
  Loader next_k_, next_v_;
  float* copy_[2] = {};
  float* copies_ = nullptr;  ///< the copy of the tile that is being loaded
};

}  // namespace
}  // namespace heed::kernels
