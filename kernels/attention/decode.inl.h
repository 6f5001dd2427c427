// The decode kernel: attention of few query rows against many keys, where reading keys and values
// is the work.
//
// Every row of keys and of values is read once for all query rows that it has in the item
// (kernels/attention/decode_products.inl.h). The order of operations of every single row is that of
// kernels/attention/prefill.inl.h, so its bits are the same.
//
// Partition by partition the logits of all its keys are computed, then the weights, then the
// outputs. Of an item with several KV heads a block of keys of each head is read in turn, then the
// next block of each, and values likewise: memory is read in several streams at once. Where rows of
// a head lie together in pages, and cores are faster so, it is a page of each.
//
// Per cache line of 16 floats: four loads of 16 bytes and 2 shuffles for K, two loads for V, and
// rows multiply-adds each; a line from memory takes longer than that up to about eight rows. Narrow
// elements take about as many instructions for as many elements, which are a half to an eighth of a
// line, so that a group of four rows is bound by them: about 3 cycles for 16 elements on Zen 5.
#pragma once

#include <type_traits>

#include "kernels/attention/decode_head.inl.h"
#include "kernels/attention/decode_products.inl.h"
#include "kernels/attention/tile.inl.h"
#include "kernels/attention/visible.inl.h"
#include "kernels/interface.h"
#include "kernels/scratch.h"
#include "kernels/vector/lanes.inl.h"

namespace heed::kernels {
namespace {

/// Bytes of memory that share an address translation, at least.
inline constexpr std::ptrdiff_t kTranslated = 4096;

/// Keys between those that are read and those whose pages of memory are touched: half a partition;
/// 64 to 256 are as good.
inline constexpr std::int32_t kTouchedAhead = kPartitionKeys / 2;

/// Hidden keys at most between pieces of a partition that are computed as one.
inline constexpr std::int32_t kJoinedKeys = kBlockKeys;

template <class T>
class DecodeKernel {
 public:
  using Arch = typename T::Arch;
  using Head = DecodeHead<Arch>;
  static constexpr int kMaxRows = max_decode_rows(kLanes<Arch>);

  DecodeKernel(const AttentionShape& shape, const AttentionItem& item, float* scratch)
      : shape_(shape), item_(item) {
    const ScratchLayout layout = decode_scratch(shape, item.rows, item.heads, kLanes<Arch>);
    for (std::int32_t h = 0; h < item.heads; ++h) heads_[h] = {shape, item, h, layout, scratch};
    copy_ = scratch + layout.copies[0].begin;
    if (is_scaled(shape.k_type)) {
      k_scales_ = {shape.k_group, shape.head_dim, scratch + layout.scales[0].begin};
    }
    if (is_scaled(shape.v_type)) {
      v_scales_ = {shape.v_group, shape.value_head_dim, scratch + layout.scales[1].begin};
    }
    for (const Operand operand : {Operand::keys, Operand::values}) {
      tile_keys_[static_cast<int>(operand)] = keys_of_tiles(operand);
    }
    for (std::int32_t r = 0; r < item.rows; ++r) {
      rows_[r] = keys_of_row(shape, item, item.row_begin + r);
      in_pieces_ |= rows_[r].head > 0 || rows_[r].words != nullptr;
    }
    gap_ = gap_of(shape, item);
  }

  void attend() {
    for (std::int32_t begin = item_.key_begin; begin < item_.key_end;) {
      const std::int32_t end = end_of(begin, kPartitionKeys, item_.key_end);
      attend_partition({begin, end});
      begin = end;
    }
    if (item_.next != nullptr) prefetch_first_block(*item_.next);
    for (std::int32_t h = 0; h < item_.heads; ++h) heads_[h].finish();
  }

 private:
  /// Where the piece of `size` keys, a power of two, that has this key ends, or the keys do.
  static std::int32_t end_of(std::int32_t key, std::int32_t size, std::int32_t last) {
    const std::int32_t left = size - (key & (size - 1));
    return last - key > left ? key + left : last;
  }

  /// Whether keys and values are copied: pages shorter than a block would give a block each, and
  /// those of an odd number of tokens would part pairs.
  bool copies() const {
    return item_.pages != nullptr &&
           (item_.page_tokens < kBlockKeys || (shape_.pairs && item_.page_tokens % 2 == 1));
  }

  /// Keys that are taken of one head before the next one, a power of two: a block, a page, or what
  /// there is room for copies of.
  std::int32_t keys_of_tiles(Operand operand) const {
    if (copies()) return shape_.tile_keys;
    if (item_.heads == 1) return kPartitionKeys;
    if (shape_.whole_pages) return keys_of_page();
    const Storage& rows = heads_[0].rows(operand);
    // Values are prefetched into L1 for as long as it takes to add a block or two.
    const bool evict = operand == Operand::values && rows.stride % kSetPeriod == 0;
    return evict ? kWays : block_keys(rows.type);
  }

  /// The largest power of two that a page and a partition have.
  std::int32_t keys_of_page() const {
    std::int32_t keys = kBlockKeys;
    while (keys < kPartitionKeys && 2 * keys <= item_.page_tokens) keys *= 2;
    return keys;
  }

  /// Skips partitions of which no row sees a key, where that may be.
  void attend_partition(KeyInterval keys) {
    Pieces pieces;
    const bool intervals = !in_pieces_ || see_intervals(keys);
    if (!intervals) {
      pieces = visible_pieces(keys);
      if (pieces.count == 0) return;
    }
    for (std::int32_t h = 0; h < item_.heads; ++h) heads_[h].open_partition();
    // Pieces are hidden from rows in whole words, of which the first one may begin before the keys.
    intervals ? attend_intervals(keys) : attend_pieces(pieces, keys.first - keys.first % kWordKeys);
    const std::int32_t partition = keys.first / kPartitionKeys;
    for (std::int32_t h = 0; h < item_.heads; ++h) heads_[h].close_partition(partition);
  }

  /// Pieces of a partition, none of which lies on both sides of the gap.
  struct Pieces {
    std::int32_t count = 0;
    KeyInterval keys[kPartitionWords + 1];
  };

  /// Those that have the keys that rows see.
  Pieces visible_pieces(KeyInterval keys) const {
    Pieces pieces;
    if (gap_.first >= gap_.last) {
      add_pieces(keys, pieces);
      return pieces;
    }
    const std::int32_t before = keys.last < gap_.first ? keys.last : gap_.first;
    const std::int32_t after = keys.first > gap_.last ? keys.first : gap_.last;
    add_pieces({keys.first, before}, pieces);
    add_pieces({after, keys.last}, pieces);
    return pieces;
  }

  void add_pieces(KeyInterval keys, Pieces& pieces) const {
    const std::int32_t others = pieces.count;
    for (std::int32_t word = keys.first - keys.first % kWordKeys; word < keys.last;
         word += kWordKeys) {
      std::uint32_t seen = 0;
      for (std::int32_t r = 0; r < item_.rows; ++r) seen |= visible_word(item_, rows_[r], word);
      seen &= bits_of(word, keys.first, keys.last);
      if (seen == 0) continue;
      const KeyInterval own{word + __builtin_ctz(seen), word + kWordKeys - __builtin_clz(seen)};
      const bool joins = pieces.count > others && pieces.keys[pieces.count - 1].last == word &&
                         own.first < word + kJoinedKeys;
      if (joins) {
        pieces.keys[pieces.count - 1].last = own.last;
      } else {
        pieces.keys[pieces.count++] = own;
      }
    }
  }

  /// Whether what each row sees of a partition is an interval.
  bool see_intervals(KeyInterval keys) const {
    for (std::int32_t r = 0; r < item_.rows; ++r) {
      if (rows_[r].head > keys.first) return false;
    }
    if (keys.last > gap_.first && keys.first < gap_.last) return false;
    if (item_.mask.words == nullptr || keys.first < item_.mask.first_key) return true;
    for (std::int32_t word = keys.first - keys.first % kWordKeys; word < keys.last;
         word += kWordKeys) {
      for (std::int32_t r = 0; r < item_.rows; ++r) {
        RowKeys unmasked = rows_[r];
        unmasked.words = nullptr;
        const std::uint32_t hidden =
            visible_word(item_, unmasked, word) & ~visible_word(item_, rows_[r], word);
        if ((hidden & bits_of(word, keys.first, keys.last)) != 0) return false;
      }
    }
    return true;
  }

  /// Rows that see the same interval of the partition, as those of one token do, are computed
  /// together against just these keys.
  void attend_intervals(KeyInterval keys) {
    score(keys, keys.first);
    for (std::int32_t row = 0; row < item_.rows;) {
      const KeyInterval seen = visible_to(row, keys);
      std::int32_t end = row + 1;
      while (end < item_.rows && visible_to(end, keys) == seen) ++end;
      if (seen.first < seen.last) {
        weigh(row, end, seen, keys.first);
        add(row, end, seen, keys.first);
      }
      row = end;
    }
  }

  KeyInterval visible_to(std::int32_t row, KeyInterval keys) const {
    const auto clamp = [&](std::int32_t key) {
      return key < keys.first ? keys.first : key > keys.last ? keys.last : key;
    };
    return {clamp(rows_[row].first), clamp(rows_[row].last)};
  }

  /// All rows are computed against all keys of the pieces of a partition that begins with key
  /// `first`; keys that a row does not see have weight 0. Where 0 has met a value that is infinite
  /// or NaN, the values are added again, each row's own.
  void attend_pieces(const Pieces& pieces, std::int32_t first) {
    const std::int32_t lead = pieces.keys[0].first;
    const KeyInterval all{lead - lead % kWordKeys, pieces.keys[pieces.count - 1].last};
    for (std::int32_t i = 0; i < pieces.count; ++i) score(pieces.keys[i], first);
    for (std::int32_t h = 0; h < item_.heads; ++h) heads_[h].weigh_visible(rows_, all, first);
    for (std::int32_t i = 0; i < pieces.count; ++i) add(0, item_.rows, pieces.keys[i], first);
    bool finite = true;
    for (std::int32_t h = 0; h < item_.heads; ++h) finite &= heads_[h].has_finite_outputs();
    if (finite) return;
    for (std::int32_t h = 0; h < item_.heads; ++h) heads_[h].clear_outputs();
    for (std::int32_t r = 0; r < item_.rows; ++r) {
      for_each_run(item_, rows_[r], all, [&](KeyInterval run) { add(r, r + 1, run, first); });
    }
  }

  /// Computes the logits of all rows, in a partition that begins with key `first`.
  void score(KeyInterval keys, std::int32_t first) {
    for_each_block({Operand::keys, keys}, k_scales_,
                   [&](const Head& head, std::int32_t j, const KeyBlock& block) {
                     const DecodeQueries queries = head.queries(j - first);
                     if (block.lines_in_order) read_lines(block);
                     if (shape_.pairs || several_scales(block)) {
                       score_in_fours(queries, block);
                     } else {
                       score_rows<kMaxRows>(queries, block);
                     }
                   });
  }

  /// Computes the weights of rows [row, end), which see exactly the keys `seen`, in a partition
  /// that begins with key `first`. Meanwhile the values of as many blocks as there are heads are
  /// prefetched, from the third one on.
  void weigh(std::int32_t row, std::int32_t end, KeyInterval seen, std::int32_t first) {
    Stream values{Operand::values, seen};
    Place place{0, seen.first};
    ComingRows rows = copies() ? ComingRows() : coming(values, place);
    rows = block_after(values, place, rows.count);
    for (std::int32_t h = 0; h < item_.heads; ++h) {
      rows = block_after(values, place, rows.count);
      heads_[h].weigh(row, end, seen, first, Chunks<Cache::l2>(rows));
    }
  }

  /// Adds the values of these keys to the outputs of rows [row, end).
  void add(std::int32_t row, std::int32_t end, KeyInterval seen, std::int32_t first) {
    for_each_block({Operand::values, seen}, v_scales_,
                   [&](const Head& head, std::int32_t j, const KeyBlock& block) {
                     const DecodeOutputs out = head.outputs(row, j - first);
                     if (shape_.pairs || several_scales(block)) {
                       add_in_fours(end - row, out, block);
                     } else {
                       add_rows<kMaxRows>(end - row, out, block);
                     }
                   });
  }

  /// The keys, or the values, of positions of one partition: those of all heads, tile by tile.
  struct Stream {
    Operand operand;
    KeyInterval keys;
  };
  /// One of them.
  struct Place {
    std::int32_t head, key;
  };

  /// Calls body(head, first key, block) for the blocks of a stream.
  template <class Scales, class Body>
  void for_each_block(const Stream& stream, Scales& scales, const Body& body) {
    for (Place at{0, stream.keys.first}; at.key < stream.keys.last;) {
      if (copies()) {
        at = copy_tile(stream, at, body);
        continue;
      }
      const KeyBlock block = block_at(stream, at, scales);
      body(heads_[at.head], at.key, block);
      at = after(stream, at, block.count);
    }
  }

  /// The same for the copy of a tile. Returns the place after it.
  template <class Body>
  Place copy_tile(const Stream& stream, const Place& at, const Body& body) {
    const std::int32_t count = end_of_tile(stream, at) - at.key;
    TileLoader<Arch> loader(heads_[at.head].rows(stream.operand), at.key, count, 1, copy_);
    loader.prefetch_step();
    const Rows copy = loader.finish();
    const std::ptrdiff_t stride = tile_copy_bytes(copy.dims);
    const auto rows_of = [&](std::int32_t j) {
      return j < count ? rows_of_block(DType::f32, at.key + j, count - j) : 0;
    };
    const auto coming = [&](std::int32_t j) -> ComingRows {
      const auto* const data = reinterpret_cast<const std::byte*>(copy.data) + j * stride;
      return {data, rows_of(j), stride, row_bytes(DType::f32, copy.dims)};
    };
    for (std::int32_t j = 0; j < count;) {
      const ComingRows now = coming(j), next = coming(j + now.count);
      body(heads_[at.head], at.key + j,
           {{DType::f32, copy.dims, now.data, stride, {}},
            now.count,
            {next, coming(j + now.count + next.count)},
            false});
      j += now.count;
    }
    return after(stream, at, count);
  }

  /// What is read after the stream where all rows see the same keys: their values, or the keys that
  /// follow.
  Stream following(const Stream& stream) const {
    if (stream.operand == Operand::keys) return {Operand::values, stream.keys};
    return {Operand::keys, {stream.keys.last, end_of_reading(stream.keys.last)}};
  }

  /// The end of the keys that are read from this one on: the gap is not.
  std::int32_t end_of_reading(std::int32_t key) const {
    return key <= gap_.first && gap_.first < gap_.last && gap_.first < item_.key_end
               ? gap_.first
               : item_.key_end;
  }

  std::int32_t tile_keys(const Stream& stream) const {
    return tile_keys_[static_cast<int>(stream.operand)];
  }

  std::int32_t end_of_tile(const Stream& stream, const Place& at) const {
    return end_of(at.key, tile_keys(stream), stream.keys.last);
  }

  /// The place that follows `count` keys of a tile.
  Place after(const Stream& stream, const Place& at, std::int32_t count) const {
    const std::int32_t key = at.key + count, end = end_of_tile(stream, at);
    if (key < end) return {at.head, key};
    if (at.head + 1 == item_.heads) return {0, end};
    const std::int32_t begin = at.key - (at.key & (tile_keys(stream) - 1));
    return {at.head + 1, begin > stream.keys.first ? begin : stream.keys.first};
  }

  /// How many rows the block at a place has.
  std::int32_t rows_at(const Stream& stream, const Place& at) const {
    const Storage& rows = heads_[at.head].rows(stream.operand);
    return rows.run(at.key, rows_of_block(rows.type, at.key, end_of_tile(stream, at) - at.key));
  }

  /// How many of `left` rows from a key on make a block: pairs are not parted.
  std::int32_t rows_of_block(DType type, std::int32_t key, std::int32_t left) const {
    const std::int32_t most = shape_.pairs && key % 2 == 1 ? 1 : block_keys(type);
    return left < most ? left : most;
  }

  /// How many keys of a type a block has at most.
  static std::int32_t block_keys(DType type) {
    return for_element_type(type,
                            [](auto element) { return kBlockKeysOf<Arch, decltype(element)>; });
  }

  template <class Scales>
  KeyBlock block_at(const Stream& stream, const Place& at, Scales& scales) const {
    const Storage& rows = heads_[at.head].rows(stream.operand);
    const std::int32_t count = rows_at(stream, at);
    const ComingBlocks ahead = blocks_after(stream, at, count);
    const std::ptrdiff_t stride = count > 1 ? rows.stride : 0;  // one row's may be anything
    BlockScales of_block;
    if (is_scaled(rows.type)) {
      of_block = scales.of(rows.scales, rows.scale_offset(at.key), count);
      if (end_of_reading(at.key) - at.key > kPartitionKeys) {
        prefetch_scales(rows, at.key + kPartitionKeys, count);
      }
    }
    const bool lines_in_order = shape_.reads_in_order && rows.type == DType::f32 &&
                                stride == row_bytes(rows.type, rows.dims);
    // A touched line would stop the hardware's streams, which these reads rely on.
    if (!lines_in_order) touch_pages(stream, at, count);
    const ElementRows elements{rows.type, rows.dims, rows.row(at.key), stride, of_block};
    return {elements, count, ahead, lines_in_order};
  }

  /// Those that are prefetched while the block at a place is used: the next one and the one after
  /// it. Blocks of few values are done with too soon, and it is the second one and the fourth.
  HEED_INLINE ComingBlocks blocks_after(Stream stream, Place at, std::int32_t count) const {
    const bool few = stream.operand == Operand::values && tile_keys(stream) < kBlockKeys;
    ComingBlocks ahead;
    ahead.to_l1 = block_after(stream, at, count);
    if (few) ahead.to_l1 = block_after(stream, at, ahead.to_l1.count);
    ahead.to_l2 = block_after(stream, at, ahead.to_l1.count);
    if (few) ahead.to_l2 = block_after(stream, at, ahead.to_l2.count);
    return ahead;
  }

  /// Goes on from a place, whose block has `count` rows, to the next one, and returns the rows of
  /// its block: none, where there are none.
  HEED_INLINE ComingRows block_after(Stream& stream, Place& at, std::int32_t count) const {
    if (count == 0) return {};
    at = after(stream, at, count);
    if (at.key >= stream.keys.last) {
      stream = following(stream);
      at = {0, stream.keys.first};
    }
    return coming(stream, at);
  }

  /// Touches pages of memory that will be read later: looking up their addresses takes longer than
  /// the prefetches of the blocks before leave. A single head's lines come to L1, whose hardware
  /// prefetchers go on from there when the page is read; several heads' pages of tokens, which may
  /// lie anywhere, come to L2 a tile before they are read.
  HEED_INLINE void touch_pages(const Stream& stream, const Place& at, std::int32_t count) const {
    if (item_.heads == 1) return touch<Cache::l1>(stream, at, count, kTouchedAhead);
    if (item_.pages != nullptr) touch<Cache::l2>(stream, at, count, tile_keys(stream));
  }

  /// Touches the head's rows that lie so many keys after a block, once in each page of memory. GCC
  /// drops calls of functions that do nothing but prefetch, so this one must be inlined.
  template <Cache Into>
  HEED_INLINE void touch(const Stream& stream, const Place& at, std::int32_t count,
                         std::int32_t distance) const {
    if (end_of_reading(at.key) - at.key < distance + count) return;
    const Storage& rows = heads_[at.head].rows(stream.operand);
    const std::int32_t first = at.key + distance;
    const bool close = rows.stride > 0 && rows.stride < kTranslated;
    const auto step = close ? static_cast<std::int32_t>(kTranslated / rows.stride) : 1;
    for (std::int32_t j = 0; j < count; j += step) {
      __builtin_prefetch(rows.row(first + j), 0, static_cast<int>(Into));
    }
  }

  /// The rows of the block at a place of the stream, to be prefetched.
  ComingRows coming(const Stream& stream, const Place& at) const {
    if (at.key >= stream.keys.last) return {};
    const Storage& rows = heads_[at.head].rows(stream.operand);
    const std::int32_t count = rows_at(stream, at);
    const std::ptrdiff_t stride = count > 1 ? rows.stride : 0;  // one row's may be anything
    return {rows.row(at.key), count, stride, row_bytes(rows.type, rows.dims)};
  }

  /// Prefetches the first keys of an item into L2: memory is idle until they are read.
  HEED_INLINE void prefetch_first_block(const AttentionItem& item) const {
    const Storage rows = keys_of(shape_, item);
    const std::int32_t begin = item.key_begin;
    const std::int32_t count = rows_of_block(rows.type, begin, item.key_end - begin);
    const std::ptrdiff_t bytes = row_bytes(rows.type, rows.dims);
    for (std::int32_t j = 0; j < count; ++j) prefetch_row<Cache::l2>(rows.row(begin + j), bytes);
  }

  /// Prefetches the scales of keys from j on: a stream of its own beside that of the codes, too
  /// short and too slow for hardware prefetchers.
  HEED_INLINE void prefetch_scales(const Storage& rows, std::int32_t j, std::int32_t count) const {
    constexpr auto line = static_cast<std::ptrdiff_t>(kAlignment / sizeof(float));
    const std::ptrdiff_t token = rows.scales.token;
    const auto keys = static_cast<std::int32_t>(token > 0 && token < line ? line / token : 1);
    std::int32_t left = item_.key_end - j > count ? count : item_.key_end - j;
    while (left > 0) {
      const std::int32_t together = rows.run(j, left);
      const std::ptrdiff_t first = rows.scale_offset(j);
      for (std::int32_t i = 0; i < together; i += keys) {
        const std::ptrdiff_t offset = first + i * token;
        __builtin_prefetch(rows.scales.scale + offset);
        if (rows.scales.zero_point != nullptr) __builtin_prefetch(rows.scales.zero_point + offset);
      }
      left -= together;
      if (left > 0) j += together;
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

  const AttentionShape& shape_;
  const AttentionItem& item_;
  Head heads_[kMaxItemHeads];
  RowKeys rows_[kMaxRows];
  bool in_pieces_ = false;     ///< what rows see may not be intervals
  KeyInterval gap_;            ///< between the first keys and the rows' windows; or empty
  float* copy_;                ///< of a tile of keys or of values, as floats
  std::int32_t tile_keys_[2];  ///< of keys and of values, powers of two
  BlockScalesOf<Arch, InLanes::keys> k_scales_;
  BlockScalesOf<Arch, InLanes::dims> v_scales_;
};

}  // namespace
}  // namespace heed::kernels
