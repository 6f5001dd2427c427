#include "runtime/plan/masks.h"

#include <algorithm>

#include "runtime/base/ceil_div.h"
#include "runtime/base/message.h"
#include "runtime/base/strides.h"
#include "runtime/plan/validate.h"

namespace heed::detail {
namespace {

using kernels::kPartitionWords;
using kernels::kWordKeys;

kernels::MaskFormat format_of(MaskType type) {
  switch (type) {
    case MaskType::bits:
      return {1};
    case MaskType::bytes:
      return {8};
    case MaskType::f16:
      return {16, 0x7FFF, 0xFC00};
    case MaskType::bf16:
      return {16, 0x7FFF, 0xFF80};
    case MaskType::f32:
      return {32, 0x7FFFFFFF, 0xFF800000};
  }
  return {};
}

/// Sets the bits of keys [begin, end) of a row.
void show(std::uint32_t* words, std::int64_t begin, std::int64_t end) {
  for (; begin < end && begin % kWordKeys != 0; ++begin) {
    words[begin / kWordKeys] |= 1U << (begin % kWordKeys);
  }
  for (; begin + kWordKeys <= end; begin += kWordKeys) words[begin / kWordKeys] = ~0U;
  for (; begin < end; ++begin) words[begin / kWordKeys] |= 1U << (begin % kWordKeys);
}

/// Sets bits of a row from key `begin` on to those of `count` elements.
void place(const std::uint32_t* packed, std::int64_t count, std::int64_t begin,
           std::uint32_t* words) {
  words += begin / kWordKeys;
  const std::int64_t shift = begin % kWordKeys;
  for (std::int64_t w = 0; w * kWordKeys < count; ++w) {
    words[w] |= packed[w] << shift;
    if (shift > 0 && packed[w] >> (kWordKeys - shift) != 0) {
      words[w + 1] |= packed[w] >> (kWordKeys - shift);
    }
  }
}

/// How many of a sequence's keys the mask is of: the last ones.
std::int64_t masked_keys(const KeyMask& mask, std::int64_t keys) {
  return mask.last_keys == 0 ? keys : std::min(mask.last_keys, keys);
}

/// Of a sequence, and 1 at least.
std::int64_t most_queries(std::span<const Visibility> sequences) {
  std::int64_t most = 1;
  for (const Visibility& own : sequences) most = std::max(most, own.queries);
  return most;
}

}  // namespace

Status PlannedMasks::build(const Description& d, const kernels::KernelTable& kernels,
                           std::span<const Visibility> sequences) {
  kernels_ = &kernels;
  planes_.clear();
  words_.clear();
  totals_.clear();
  heads_ = group_ = query_block_ = 1;
  if (!d.mask && !d.key_lists) return {};
  if (d.mask) {
    query_block_ = d.mask->query_stride == 0 ? most_queries(sequences) : d.mask->query_block;
    if (d.mask->head_stride != 0 && d.config.query_heads > 1) {
      heads_ = d.config.kv_heads;
      group_ = d.config.query_heads / d.config.kv_heads;
    }
  }
  std::int64_t first_query = 0;
  for (std::size_t b = 0; b < sequences.size(); ++b) {
    const auto sequence = static_cast<std::int64_t>(b);
    HEED_RETURN_IF_ERROR(d.mask ? add_planes(d, sequence, sequences[b], first_query)
                                : add_lists(d, sequence, sequences[b], first_query));
    first_query += sequences[b].queries;
  }
  return {};
}

MaskView PlannedMasks::of(std::int64_t sequence, std::int64_t kv_head) const {
  if (planes_.empty()) return {};
  const Plane& plane =
      planes_[static_cast<std::size_t>(heads_ > 1 ? sequence * heads_ + kv_head : sequence)];
  if (plane.rows == 0 || plane.row_words == 0) return {};
  return {{words_.data() + plane.word, plane.row_words, static_cast<std::int32_t>(plane.first_key),
           static_cast<std::int32_t>(query_block_), static_cast<std::int32_t>(group_)},
          totals_.data() + plane.total,
          plane.row_words / kPartitionWords};
}

/// Adds rows of keys from the partition of `first_key` on, with whatever is in the memory.
void PlannedMasks::add_plane(std::int64_t rows, std::int64_t keys, std::int64_t first_key) {
  Plane plane{words_.size(), totals_.size(), rows, 0, first_key / kPartitionKeys * kPartitionKeys};
  const std::int64_t partitions = ceil_div(keys - plane.first_key, kPartitionKeys);
  plane.row_words = partitions * kPartitionWords;
  words_.resize(words_.size() + static_cast<std::size_t>(rows * plane.row_words));
  totals_.resize(totals_.size() + static_cast<std::size_t>(rows * (partitions + 1)));
  planes_.push_back(plane);
}

/// A row of which nothing has been counted.
PlannedMasks::Row PlannedMasks::row_of(const Plane& plane, std::int64_t row) {
  const std::int64_t partitions = plane.row_words / kPartitionWords;
  Row own{words_.data() + plane.word + static_cast<std::size_t>(row * plane.row_words),
          totals_.data() + plane.total + static_cast<std::size_t>(row * (partitions + 1)),
          partitions};
  *own.totals = 0;
  return own;
}

/// Adds the rows of all KV heads of a sequence. One that has the rows of the sequence before it
/// shares their bits.
Status PlannedMasks::add_planes(const Description& d, std::int64_t sequence, const Visibility& own,
                                std::int64_t first_query) {
  const KeyMask& mask = *d.mask;
  const bool ragged = !d.query.offsets.empty();
  if (sequence > 0 && !ragged && mask.sequence_stride == 0 &&
      tokens_of(d.query, sequence - 1) == own.queries &&
      tokens_of(d.key, sequence - 1) == own.keys) {
    for (std::int64_t h = 0; h < heads_; ++h) {
      planes_.push_back(planes_[planes_.size() - static_cast<std::size_t>(heads_)]);
    }
    return {};
  }
  const std::int64_t start =
      ragged ? times(first_query, mask.query_stride) : times(sequence, mask.sequence_stride);
  const std::int64_t blocks = ceil_div(own.queries, query_block_);
  for (std::int64_t h = 0; h < heads_; ++h) {
    add_plane(blocks * group_, own.keys, own.keys - masked_keys(mask, own.keys));
    const Plane plane = planes_.back();
    for (std::int64_t row = 0; row < plane.rows; ++row) {
      const std::int64_t element = start + times(row / group_, mask.query_stride) +
                                   times(h * group_ + row % group_, mask.head_stride);
      HEED_RETURN_IF_ERROR(make_row(d, element, sequence, own, row_of(plane, row)));
    }
  }
  return {};
}

/// Makes a row of the elements from one on.
Status PlannedMasks::make_row(const Description& d, std::int64_t element, std::int64_t sequence,
                              const Visibility& own, const Row& row) {
  if (row.partitions == 0) return {};
  const KeyMask& mask = *d.mask;
  const std::int64_t masked = masked_keys(mask, own.keys);
  if (mask.type == MaskType::bits && mask.key_block == 1 &&
      (own.keys - masked) % kPartitionKeys == 0) {
    copy_row(static_cast<const std::byte*>(mask.data) + element / 8, masked, row);
    return {};
  }
  std::fill_n(row.words, row.partitions * kPartitionWords, 0);
  HEED_RETURN_IF_ERROR(fill_row(d, element, sequence, own, row.words));
  kernels_->mask_totals(row.words, row.partitions, row.words, row.totals);
  return {};
}

/// Makes a row of bits that lie as the row's do: whole partitions are counted while they are
/// copied.
void PlannedMasks::copy_row(const std::byte* bits, std::int64_t keys, const Row& row) const {
  const std::int64_t whole = keys / kPartitionKeys, rest = keys % kPartitionKeys;
  kernels_->mask_totals(bits, whole, row.words, row.totals);
  if (rest == 0) return;
  std::uint32_t* const words = row.words + whole * kPartitionWords;
  std::fill_n(words, kPartitionWords, 0);
  kernels_->mask_words(format_of(MaskType::bits), bits + whole * (kPartitionKeys / 8), rest, words);
  kernels_->mask_totals(words, 1, words, row.totals + whole);
}

/// Sets the bits of a row of zeros.
Status PlannedMasks::fill_row(const Description& d, std::int64_t element, std::int64_t sequence,
                              const Visibility& own, std::uint32_t* words) {
  const KeyMask& mask = *d.mask;
  const std::int64_t masked = masked_keys(mask, own.keys), before = own.keys - masked;
  const std::int64_t lead = before % kPartitionKeys;
  const std::int64_t count = ceil_div(masked, mask.key_block);
  const bool in_place = lead == 0 && mask.key_block == 1;
  if (!in_place) packed_.assign(static_cast<std::size_t>(ceil_div(count, kWordKeys)), 0);
  std::uint32_t* const packed = in_place ? words : packed_.data();
  const kernels::MaskFormat format = format_of(mask.type);
  const std::byte* const elements =
      static_cast<const std::byte*>(mask.data) + element * format.bits / 8;
  const std::int64_t good = kernels_->mask_words(format, elements, count, packed);
  if (good < count) {
    return invalid("mask: element ", element + good, ", of key ", before + good * mask.key_block,
                   " of sequence ", sequence,
                   ", must be 0 (visible) or −∞ (hidden): numbers that are added to scores are "
                   "given to runs, as modifiers.bias");
  }
  if (in_place) return {};
  show(words, 0, lead);
  if (mask.key_block == 1) {
    place(packed, count, lead, words);
    return {};
  }
  for (std::int64_t i = 0; i < count; ++i) {
    if ((packed[i / kWordKeys] >> (i % kWordKeys) & 1U) == 0) continue;
    const std::int64_t begin = i * mask.key_block;
    show(words, lead + begin, lead + std::min(begin + mask.key_block, masked));
  }
  return {};
}

Status PlannedMasks::add_lists(const Description& d, std::int64_t sequence, const Visibility& own,
                               std::int64_t first_query) {
  const KeyLists& lists = *d.key_lists;
  add_plane(own.queries, own.keys, 0);
  const Plane plane = planes_.back();
  for (std::int64_t i = 0; i < own.queries; ++i) {
    const auto query = static_cast<std::size_t>(first_query + i);
    const Row row = row_of(plane, i);
    std::fill_n(row.words, row.partitions * kPartitionWords, 0);
    for (std::int64_t at = lists.offsets[query]; at < lists.offsets[query + 1]; ++at) {
      const std::int64_t key = lists.keys[static_cast<std::size_t>(at)];
      if (key < 0 || key >= own.keys) {
        return invalid("key_lists.keys[", at, "] (", key, ") must be from 0 to ", own.keys - 1,
                       ", a key of sequence ", sequence);
      }
      row.words[key / kWordKeys] |= 1U << (key % kWordKeys);
    }
    kernels_->mask_totals(row.words, row.partitions, row.words, row.totals);
  }
  return {};
}

}  // namespace heed::detail
