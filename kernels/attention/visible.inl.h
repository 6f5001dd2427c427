// Which keys a query row sees. Without a mask they are an interval around its position, which moves
// up with the token, and before it, where a window keeps the first keys or all rows see a prefix,
// the keys from the first one on:
//
//   [0, head) and [first, last)     head < first, or head = 0
//
// A mask hides some of these, bit by bit.
#pragma once

#include "kernels/interface.h"
#include "kernels/vector/simd.inl.h"

namespace heed::kernels {
namespace {

/// Keys first … last − 1.
struct KeyInterval {
  std::int32_t first, last;
  bool operator==(const KeyInterval&) const = default;
};

/// The keys that a row of the item sees, but for those that a mask hides.
struct RowKeys {
  std::int32_t head, first, last;
  const std::uint32_t* words;  ///< of the mask; null without one
};

HEED_INLINE RowKeys keys_of_row(const AttentionShape& shape, const AttentionItem& item,
                                std::int32_t row) {
  const std::int32_t token = row / shape.group, keys = item.keys;
  const auto clamp = [&](std::int64_t key) {
    return static_cast<std::int32_t>(key < 0 ? 0 : key > keys ? keys : key);
  };
  const std::int64_t position = token + item.query_position;
  std::int32_t first = clamp(position - shape.window_left);
  std::int32_t last = clamp(position + shape.window_right + 1);
  const std::int32_t kept = item.keep_first < last ? item.keep_first : last;
  std::int32_t head = item.prefix > kept ? item.prefix : kept;
  if (head > 0 && head >= first) {
    last = head > last ? head : last;
    first = head = 0;
  }
  RowKeys seen{head, first, last, nullptr};
  const MaskRows& mask = item.mask;
  if (mask.words != nullptr) {
    const std::ptrdiff_t block = token / mask.query_block;
    seen.words =
        mask.words + (block * mask.heads + row % shape.group % mask.heads) * mask.row_words;
  }
  return seen;
}

/// The bits of keys [begin, end) among those of a word that begins with key `word`.
HEED_INLINE std::uint32_t bits_of(std::int32_t word, std::int32_t begin, std::int32_t end) {
  begin = begin > word ? begin - word : 0;
  end = end - word < kWordKeys ? end - word : kWordKeys;
  if (begin >= end) return 0;
  return (~0U >> (kWordKeys - (end - begin))) << begin;
}

/// The bits of the keys that a row sees among those of a word.
HEED_INLINE std::uint32_t visible_word(const AttentionItem& item, const RowKeys& row,
                                       std::int32_t word) {
  const std::uint32_t bits = bits_of(word, 0, row.head) | bits_of(word, row.first, row.last);
  if (row.words == nullptr || word < item.mask.first_key) return bits;
  return bits & row.words[(word - item.mask.first_key) / kWordKeys];
}

/// The first key from `begin` on that a row sees, and `end` where there is none before it.
HEED_INLINE std::int32_t first_visible(const AttentionItem& item, const RowKeys& row,
                                       std::int32_t begin, std::int32_t end) {
  for (std::int32_t key = begin; key < end;) {
    if (key >= row.head && key < row.first) {
      key = row.first;
      continue;
    }
    if (key >= row.last) break;
    const std::int32_t word = key - key % kWordKeys;
    const std::uint32_t bits = visible_word(item, row, word) & bits_of(word, key, end);
    if (bits != 0) return word + __builtin_ctz(bits);
    key = word + kWordKeys;
  }
  return end;
}

/// The partition of the first key that a row sees; that past the last one where it sees none.
HEED_INLINE std::int32_t first_partition(const AttentionItem& item, const RowKeys& row) {
  return first_visible(item, row, 0, item.keys) / kPartitionKeys;
}

HEED_INLINE bool sees(const AttentionItem& item, const RowKeys& row, std::int32_t key) {
  return first_visible(item, row, key, key + 1) == key;
}

/// Calls visit(keys) for each run of keys that a row sees among these.
template <class Visit>
HEED_INLINE void for_each_run(const AttentionItem& item, const RowKeys& row, KeyInterval keys,
                              const Visit& visit) {
  for (std::int32_t first = keys.first;;) {
    first = first_visible(item, row, first, keys.last);
    if (first >= keys.last) return;
    std::int32_t last = first + 1;
    while (last < keys.last && sees(item, row, last)) ++last;
    visit(KeyInterval{first, last});
    first = last;
  }
}

/// Keys between those that all rows of an item keep and those of their windows, which none of them
/// sees: they are not read, whatever their pages are.
inline KeyInterval gap_of(const AttentionShape& shape, const AttentionItem& item) {
  const RowKeys first = keys_of_row(shape, item, item.row_begin);
  const RowKeys last = keys_of_row(shape, item, item.row_begin + item.rows - 1);
  // A row without a head sees one interval; where that begins with the first key, there is no gap.
  return {last.head, first.head > 0 || last.head == 0 ? first.first : 0};
}

}  // namespace
}  // namespace heed::kernels
