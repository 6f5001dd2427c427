#include "runtime/plan/validate.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <limits>

#include "kernels/temperature.h"
#include "runtime/base/element_types.h"
#include "runtime/base/message.h"
#include "runtime/base/paged_layout.h"
#include "runtime/base/scale_layout.h"
#include "runtime/base/strides.h"
#include "runtime/threads/executor.h"

namespace heed::detail {
namespace {

Status check_config(const AttentionConfig& c) {
  HEED_RETURN_IF_ERROR(check_range("query_heads", c.query_heads, 1, kMaxCount));
  HEED_RETURN_IF_ERROR(check_range("kv_heads", c.kv_heads, 1, kMaxCount));
  if (c.query_heads % c.kv_heads != 0) {
    return invalid("kv_heads (", c.kv_heads, ") must divide query_heads (", c.query_heads, ")");
  }
  HEED_RETURN_IF_ERROR(check_range("head_dim", c.head_dim, 1, kMaxHeadDim));
  HEED_RETURN_IF_ERROR(check_range("value_head_dim", c.value_head_dim, 1, kMaxHeadDim));
  if (c.alignment != Alignment::end && c.alignment != Alignment::start) {
    return invalid("alignment (", static_cast<int>(c.alignment), ") must be end or start");
  }
  if (c.window_left < 0) return invalid("window_left (", c.window_left, ") must be 0 or more");
  if (c.window_right < 0) return invalid("window_right (", c.window_right, ") must be 0 or more");
  if (c.keep_first < 0) return invalid("keep_first (", c.keep_first, ") must be 0 or more");
  HEED_RETURN_IF_ERROR(check_type("q_type", c.q_type, true));
  HEED_RETURN_IF_ERROR(check_type("k_type", c.k_type, false));
  HEED_RETURN_IF_ERROR(check_type("v_type", c.v_type, false));
  HEED_RETURN_IF_ERROR(check_type("out_type", c.out_type, true));
  if (!std::isfinite(*c.scale)) return invalid("scale (", *c.scale, ") must be finite");
  if (!(c.temperature >= 0)) {
    return invalid("temperature (", c.temperature, ") must be 0 or more, or infinity");
  }
  return {};
}

/// Whether products are of bf16.
Status choose_products(const AttentionConfig& c, bool& bf16) {
  const bool types = c.q_type == DType::bf16 && c.k_type == DType::bf16 && c.v_type == DType::bf16;
  bf16 = types && c.head_dim % 2 == 0 && c.products != Products::f32;
  if (c.products != Products::automatic && c.products != Products::f32 &&
      c.products != Products::bf16) {
    return invalid("products (", static_cast<int>(c.products), ") must be automatic, f32 or bf16");
  }
  if (c.products != Products::bf16 || bf16) return {};
  if (!types) {
    return invalid("products of bf16 need q, k and v of bf16; they are ", name_of(c.q_type), ", ",
                   name_of(c.k_type), " and ", name_of(c.v_type));
  }
  return invalid("products of bf16 need an even head_dim (", c.head_dim, ")");
}

Status check_query_factor(const AttentionConfig& c, float& factor) {
  factor = kernels::factors_at(c.temperature, *c.scale, 0.0F, false).query;
  if (std::isfinite(factor)) return {};
  return invalid("scale (", *c.scale, ") / temperature (", c.temperature,
                 ") exceeds the range of float; for the argmax use temperature 0");
}

Status check_lengths(const char* name, const Lengths& l, std::int64_t sequences) {
  const auto count = static_cast<std::size_t>(sequences);
  HEED_RETURN_IF_ERROR(
      check_range((std::string(name) + ".length").c_str(), l.length, 0, kMaxCount));
  if (!l.offsets.empty() && !l.lengths.empty()) {
    return invalid(name, ".lengths and ", name, ".offsets exclude each other: give one of them");
  }
  if (!l.lengths.empty()) {
    if (l.lengths.size() != count) {
      return invalid(name, ".lengths has ", l.lengths.size(),
                     " entries; it must have one for each of ", sequences, " sequences");
    }
    for (std::size_t b = 0; b < count; ++b) {
      if (l.lengths[b] < 0 || l.lengths[b] > l.length) {
        return invalid(name, ".lengths[", b, "] (", l.lengths[b], ") must be from 0 to ", name,
                       ".length (", l.length, ")");
      }
    }
  }
  if (!l.offsets.empty()) {
    if (l.length != 0) {
      return invalid(name, ".length (", l.length, ") must be 0 where ", name, ".offsets is given");
    }
    if (l.offsets.size() != count + 1) {
      return invalid(name, ".offsets has ", l.offsets.size(), " entries; it must have ", count + 1,
                     ", one more than sequences");
    }
    if (l.offsets[0] != 0) return invalid(name, ".offsets[0] (", l.offsets[0], ") must be 0");
    for (std::size_t b = 0; b < count; ++b) {
      if (l.offsets[b + 1] < l.offsets[b]) {
        return invalid(name, ".offsets[", b + 1, "] (", l.offsets[b + 1],
                       ") must not be less than the entry before it (", l.offsets[b], ")");
      }
    }
  }
  return {};
}

/// An array of a shard, in place of the number for all sequences.
Status check_shard_array(const char* name, std::span<const std::int32_t> array, std::int64_t number,
                         const Description& d) {
  if (array.empty()) return {};
  if (number != 0) {
    return invalid("shard.", name, " (", number, ") must be 0 where there is one per sequence");
  }
  if (static_cast<std::int64_t>(array.size()) == d.sequences) return {};
  return invalid("shard has ", array.size(), " values of ", name, "; it must have one for each of ",
                 d.sequences, " sequences");
}

/// A sequence's keys, which must be whole partitions of all its keys, the last one perhaps short.
Status check_shard_keys(std::int64_t b, const Description& d) {
  const std::int64_t first = first_key_of(*d.shard, b), whole = whole_length_of(*d.shard, b);
  const std::int64_t keys = tokens_of(d.key, b);
  HEED_RETURN_IF_ERROR(check_range("shard.first_key", first, 0, kMaxCount));
  HEED_RETURN_IF_ERROR(check_range("shard.whole_length", whole, 0, kMaxCount));
  if (first % kPartitionKeys != 0) {
    return invalid("shard.first_key (", first, ") of sequence ", b, " must be a multiple of ",
                   kPartitionKeys);
  }
  if (keys == 0) return {};
  if (first + keys > whole) {
    return invalid("shard: the keys of sequence ", b, ", ", first, " … ", first + keys - 1,
                   ", must lie within its whole_length (", whole, ")");
  }
  if (first + keys == whole || keys % kPartitionKeys == 0) return {};
  return invalid("shard: sequence ", b, " has ", keys, " keys; where it does not end its ", whole,
                 " they must be a multiple of ", kPartitionKeys);
}

Status check_shard(const Description& d) {
  static_assert(kPartitionKeys == kernels::kPartitionKeys);
  const KeyShard& s = *d.shard;
  HEED_RETURN_IF_ERROR(check_shard_array("first_key", s.first_keys, s.first_key, d));
  HEED_RETURN_IF_ERROR(check_shard_array("whole_length", s.whole_lengths, s.whole_length, d));
  for (std::int64_t b = 0; b < d.sequences; ++b) HEED_RETURN_IF_ERROR(check_shard_keys(b, d));
  return {};
}

/// Prefixes that lie in pages, which two sequences can have in common.
Status check_shared_prefixes(const Batch& batch, const Description& d) {
  const std::span<const std::int32_t> prefixes = d.shared_prefixes;
  if (prefixes.empty()) return {};
  if (!batch.pages) return invalid("shared_prefixes need keys and values in pages");
  if (static_cast<std::int64_t>(prefixes.size()) != d.sequences) {
    return invalid("shared_prefixes has ", prefixes.size(),
                   " entries; it must have one for each of ", d.sequences, " sequences");
  }
  for (std::int64_t b = 0; b < d.sequences; ++b) {
    const std::int64_t most = b == 0 ? 0 : std::min(tokens_of(d.key, b - 1), tokens_of(d.key, b));
    const std::int32_t keys = prefixes[static_cast<std::size_t>(b)];
    if (keys >= 0 && keys <= most) continue;
    return invalid("shared_prefixes[", b, "] (", keys, ") must be from 0 to ", most,
                   b == 0 ? ": there is no sequence before it" : ", the keys of both sequences");
  }
  return {};
}

/// Prefixes that all queries of their sequences see.
Status check_visible_prefixes(const Description& d) {
  const std::span<const std::int32_t> prefixes = d.visible_prefixes;
  if (prefixes.empty()) return {};
  if (static_cast<std::int64_t>(prefixes.size()) != d.sequences) {
    return invalid("visible_prefixes has ", prefixes.size(),
                   " entries; it must have one for each of ", d.sequences, " sequences");
  }
  for (std::int64_t b = 0; b < d.sequences; ++b) {
    const std::int64_t most = d.shard ? whole_length_of(*d.shard, b) : tokens_of(d.key, b);
    const std::int32_t keys = prefixes[static_cast<std::size_t>(b)];
    if (keys >= 0 && keys <= most) continue;
    return invalid("visible_prefixes[", b, "] (", keys, ") must be from 0 to ", most,
                   ", the keys of the sequence");
  }
  return {};
}

/// Tokens of the longest sequence.
std::int64_t longest(const Lengths& lengths, std::int64_t sequences) {
  std::int64_t most = 0;
  for (std::int64_t b = 0; b < sequences; ++b) most = std::max(most, tokens_of(lengths, b));
  return most;
}

/// The form of a mask; its elements are read when the plan is made.
Status check_mask(const Description& d) {
  const KeyMask& m = *d.mask;
  if (m.type < MaskType::bits || m.type > MaskType::bf16) {
    return invalid("mask.type (", static_cast<int>(m.type),
                   ") must be bits, bytes, f32, f16 or bf16");
  }
  HEED_RETURN_IF_ERROR(check_range("mask.query_block", m.query_block, 1, kMaxCount));
  HEED_RETURN_IF_ERROR(check_range("mask.key_block", m.key_block, 1, kMaxCount));
  HEED_RETURN_IF_ERROR(check_range("mask.last_keys", m.last_keys, 0, kMaxCount));
  const bool ragged = !d.query.offsets.empty();
  if (ragged && m.query_block != 1) {
    return invalid("mask.query_block (", m.query_block, ") must be 1 where queries are ragged");
  }
  const std::int64_t queries = ragged ? d.query.offsets.back() : longest(d.query, d.sequences);
  std::int64_t keys = longest(d.key, d.sequences);
  if (m.last_keys > 0) keys = std::min(keys, m.last_keys);
  if (queries == 0 || keys == 0) return {};
  if (m.data == nullptr) return invalid("mask.data must not be null");
  const std::int64_t bytes = m.type == MaskType::f32 ? 4 : m.type >= MaskType::f16 ? 2 : 1;
  if (reinterpret_cast<std::uintptr_t>(m.data) % static_cast<std::uintptr_t>(bytes) != 0) {
    return invalid("mask.data must be aligned to ", bytes, " bytes, the size of its elements");
  }
  const Axes axes{{{"sequence_stride", m.sequence_stride, ragged ? 1 : d.sequences},
                   {"head_stride", m.head_stride, d.config.query_heads},
                   {"query_stride", m.query_stride, (queries - 1) / m.query_block + 1}}};
  for (const Axis& axis : axes) {
    if (m.type != MaskType::bits || axis.count == 1 || axis.stride % 8 == 0) continue;
    return invalid("mask.", axis.name, " (", axis.stride,
                   ") must be a multiple of 8: rows of bits begin with a byte");
  }
  return check_reach("mask", axes, (keys - 1) / m.key_block + 1);
}

/// The form of lists; the keys are looked at when the plan is made.
Status check_key_lists(const Description& d) {
  const KeyLists& lists = *d.key_lists;
  std::int64_t queries = 0;
  for (std::int64_t b = 0; b < d.sequences; ++b) queries += tokens_of(d.query, b);
  if (static_cast<std::int64_t>(lists.offsets.size()) != queries + 1) {
    return invalid("key_lists.offsets has ", lists.offsets.size(), " entries; it must have ",
                   queries + 1, ", one more than all sequences have queries");
  }
  if (lists.offsets[0] != 0) {
    return invalid("key_lists.offsets[0] (", lists.offsets[0], ") must be 0");
  }
  for (std::size_t i = 1; i < lists.offsets.size(); ++i) {
    if (lists.offsets[i] >= lists.offsets[i - 1]) continue;
    return invalid("key_lists.offsets[", i, "] (", lists.offsets[i],
                   ") must not be less than the entry before it (", lists.offsets[i - 1], ")");
  }
  const auto keys = static_cast<std::int64_t>(lists.keys.size());
  if (lists.offsets.back() == keys) return {};
  return invalid("key_lists.offsets must end with ", keys, ", the number of key_lists.keys; it is ",
                 lists.offsets.back());
}

/// A tensor's extent: how many indices each stride is multiplied with, and the contiguous tail.
struct Extent {
  std::int64_t sequences, tokens, heads, dims;
  bool empty() const { return sequences == 0 || tokens == 0; }
};

Extent extent_of(const Lengths& l, std::int64_t sequences, std::int64_t heads, std::int64_t dims) {
  if (!l.offsets.empty()) return {1, l.offsets[static_cast<std::size_t>(sequences)], heads, dims};
  return {sequences, l.length, heads, dims};
}

StridedShape shape_of(const Layout& layout, const Extent& e) {
  return {{{{"sequence_stride", layout.sequence_stride, e.sequences},
            {"token_stride", layout.token_stride, e.tokens},
            {"head_stride", layout.head_stride, e.heads}}},
          e.dims};
}

Status check_reach(const char* name, const StridedShape& shape) {
  return check_reach(name, shape.axes, shape.dims);
}

/// Whether a contiguous tensor of this extent fits the address space; the default layouts are
/// products of its sides.
Status check_size(const char* name, const Extent& e) {
  if (e.empty()) return {};
  std::int64_t size = e.dims;
  if (__builtin_mul_overflow(size, e.heads, &size) ||
      __builtin_mul_overflow(size, e.tokens, &size) ||
      __builtin_mul_overflow(size, e.sequences, &size)) {
    return invalid(name, " (", e.sequences, " sequences of ", e.tokens, " tokens of ", e.heads,
                   " heads of ", e.dims, ") reaches beyond the address space");
  }
  return {};
}

Layout contiguous(const Extent& e) {
  return e.empty() ? Layout() : Layout::bshd(e.tokens, e.heads, e.dims);
}

/// Scales of the keys and values of so many sequences or pages of so many tokens.
Status complete_scales(const std::optional<ScaleLayout>& k, const std::optional<ScaleLayout>& v,
                       std::int64_t outer, std::int64_t tokens, Description& d) {
  const AttentionConfig& c = d.config;
  const ScaledVectors keys{outer, tokens, c.kv_heads, c.head_dim};
  const ScaledVectors values{outer, tokens, c.kv_heads, c.value_head_dim};
  HEED_RETURN_IF_ERROR(check_scale_layout("k_scales", k, c.k_type, keys));
  HEED_RETURN_IF_ERROR(check_scale_layout("v_scales", v, c.v_type, values));
  d.k_scales = complete_scales(k, c.k_type, keys);
  d.v_scales = complete_scales(v, c.v_type, values);
  d.shapes.k_scales = scale_shape(d.k_scales, c.k_type, keys);
  d.shapes.v_scales = scale_shape(d.v_scales, c.v_type, values);
  return {};
}

/// Pages that fit the heads, and hold as many tokens as a sequence may have.
Status complete_pages(const Batch& batch, Description& d) {
  const PagedLayout& p = *batch.pages;
  const AttentionConfig& c = d.config;
  if (batch.k || batch.v) return invalid("pages exclude k and v: give one or the other layout");
  if (batch.k_scales || batch.v_scales) {
    return invalid("pages exclude k_scales and v_scales: their layout has scales of its own");
  }
  HEED_RETURN_IF_ERROR(check_paged_layout(p));
  const auto check = [](const char* name, std::int64_t pages, std::int64_t config) -> Status {
    if (pages == config) return {};
    return invalid("pages.", name, " (", pages, ") must be that of the attention (", config, ")");
  };
  HEED_RETURN_IF_ERROR(check("kv_heads", p.kv_heads, c.kv_heads));
  HEED_RETURN_IF_ERROR(check("head_dim", p.head_dim, c.head_dim));
  HEED_RETURN_IF_ERROR(check("value_head_dim", p.value_head_dim, c.value_head_dim));
  d.pages = p;
  d.k = {0, p.k.token, p.k.head};
  d.v = {0, p.v.token, p.v.head};
  d.shapes.k = pool_shape(p, p.k, p.head_dim);
  d.shapes.v = pool_shape(p, p.v, p.value_head_dim);
  return complete_scales(p.k_scales, p.v_scales, p.pages, p.page_tokens, d);
}

/// Keys and values in one piece.
Status complete_keys(const Batch& batch, Description& d) {
  const AttentionConfig& c = d.config;
  const Extent k = extent_of(d.key, d.sequences, c.kv_heads, c.head_dim);
  const Extent v = extent_of(d.key, d.sequences, c.kv_heads, c.value_head_dim);
  HEED_RETURN_IF_ERROR(check_size("k", k));
  HEED_RETURN_IF_ERROR(check_size("v", v));
  d.k = batch.k.value_or(contiguous(k));
  d.v = batch.v.value_or(contiguous(v));
  d.shapes.k = shape_of(d.k, k);
  d.shapes.v = shape_of(d.v, v);
  HEED_RETURN_IF_ERROR(check_reach("k", d.shapes.k));
  HEED_RETURN_IF_ERROR(check_reach("v", d.shapes.v));
  return complete_scales(batch.k_scales, batch.v_scales, k.sequences, k.tokens, d);
}

/// Keeps of the shapes of padded tensors what memory is certain to hold: callers may end a tensor
/// where its last sequence ends, so that each sequence has as many tokens as the shortest one.
void shorten_padded(const Lengths& lengths, std::initializer_list<StridedShape*> shapes) {
  if (lengths.lengths.empty()) return;
  const std::int64_t shortest = *std::ranges::min_element(lengths.lengths);
  for (StridedShape* shape : shapes) shape->axes[1].count = shortest;
}

Status complete_layouts(const Batch& batch, Description& d) {
  const AttentionConfig& c = d.config;
  const Extent q = extent_of(d.query, d.sequences, c.query_heads, c.head_dim);
  const Extent out = extent_of(d.query, d.sequences, c.query_heads, c.value_head_dim);
  const Extent lse = extent_of(d.query, d.sequences, c.query_heads, 1);
  HEED_RETURN_IF_ERROR(check_size("q", q));
  HEED_RETURN_IF_ERROR(check_size("out", out));
  HEED_RETURN_IF_ERROR(batch.pages ? complete_pages(batch, d) : complete_keys(batch, d));
  d.q = batch.q.value_or(contiguous(q));
  d.out = batch.out.value_or(contiguous(out));
  d.lse = batch.lse.value_or(lse.empty() ? Layout() : Layout::bhsd(lse.tokens, lse.heads, 1));
  TensorShapes& shapes = d.shapes;
  shapes.q = shape_of(d.q, q);
  shapes.out = shape_of(d.out, out);
  shapes.lse = shape_of(d.lse, lse);
  HEED_RETURN_IF_ERROR(check_reach("q", shapes.q));
  HEED_RETURN_IF_ERROR(check_reach("out", shapes.out));
  HEED_RETURN_IF_ERROR(check_reach("lse", shapes.lse));
  HEED_RETURN_IF_ERROR(check_blocks("k", c.k_type, shapes.k));
  HEED_RETURN_IF_ERROR(check_blocks("v", c.v_type, shapes.v));
  HEED_RETURN_IF_ERROR(check_apart("out", shapes.out.axes, shapes.out.dims));
  HEED_RETURN_IF_ERROR(check_apart("lse", shapes.lse.axes, shapes.lse.dims));
  shorten_padded(d.query, {&shapes.q, &shapes.out, &shapes.lse});
  if (!batch.pages) {
    shorten_padded(d.key, {&shapes.k, &shapes.v, &shapes.k_scales, &shapes.v_scales});
  }
  return {};
}

Status check_row_counts(const Description& d) {
  const std::int64_t group = d.config.query_heads / d.config.kv_heads;
  const bool dense = d.query.lengths.empty() && d.query.offsets.empty();
  // Row numbers are rounded up to whole items and to whole tokens.
  const std::int64_t most = kMaxCount - kernels::kMaxItemRows - group;
  const std::int64_t distinct = dense ? std::min<std::int64_t>(d.sequences, 1) : d.sequences;
  for (std::int64_t b = 0; b < distinct; ++b) {
    if (tokens_of(d.query, b) * group > most) {
      return invalid("sequence ", b, " has ", tokens_of(d.query, b), " queries of ", group,
                     " heads per KV head: more rows than fit 31 bits");
    }
  }
  return {};
}

Status check_options(const PlanOptions& options, Description& d) {
  HEED_RETURN_IF_ERROR(complete_workers(options.workers, d.workers));
  const int tile = options.tile_keys;
  const bool power = tile > 0 && (tile & (tile - 1)) == 0;
  if (tile != 0 && (!power || tile < kMinTileKeys || tile > kernels::kPartitionKeys)) {
    return invalid("tile_keys (", tile, ") must be 0 or a power of two from ", kMinTileKeys, " to ",
                   kernels::kPartitionKeys);
  }
  HEED_RETURN_IF_ERROR(check_range("item_rows", options.item_rows, 0, kernels::kMaxItemRows));
  d.tiles = {tile, options.item_rows};
  return {};
}

}  // namespace

Status complete_description(const AttentionConfig& config, const Batch& batch,
                            const PlanOptions& options, Description& d) {
  d.config = config;
  if (d.config.value_head_dim == 0) d.config.value_head_dim = config.head_dim;
  if (!config.scale) {
    d.config.scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(config.head_dim)));
  }
  HEED_RETURN_IF_ERROR(check_range("head_dim", config.head_dim, 1, kMaxHeadDim));
  HEED_RETURN_IF_ERROR(check_config(d.config));
  HEED_RETURN_IF_ERROR(check_query_factor(d.config, d.query_factor));
  HEED_RETURN_IF_ERROR(choose_products(d.config, d.bf16_products));
  HEED_RETURN_IF_ERROR(check_range("sequences", batch.sequences, 0, kMaxSequences));
  d.sequences = batch.sequences;
  d.query = batch.query;
  d.key = batch.key;
  HEED_RETURN_IF_ERROR(check_lengths("query", d.query, d.sequences));
  HEED_RETURN_IF_ERROR(check_lengths("key", d.key, d.sequences));
  d.shard = batch.shard;
  if (d.shard) HEED_RETURN_IF_ERROR(check_shard(d));
  d.shared_prefixes = batch.shared_prefixes;
  HEED_RETURN_IF_ERROR(check_shared_prefixes(batch, d));
  d.visible_prefixes = batch.visible_prefixes;
  HEED_RETURN_IF_ERROR(check_visible_prefixes(d));
  d.mask = batch.mask;
  d.key_lists = batch.key_lists;
  if (d.mask && d.key_lists) return invalid("mask and key_lists exclude each other: give one");
  if (d.mask) HEED_RETURN_IF_ERROR(check_mask(d));
  if (d.key_lists) HEED_RETURN_IF_ERROR(check_key_lists(d));
  HEED_RETURN_IF_ERROR(complete_layouts(batch, d));
  HEED_RETURN_IF_ERROR(check_row_counts(d));
  return check_options(options, d);
}

}  // namespace heed::detail
