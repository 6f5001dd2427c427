// The boundary between runtime/ and kernels/: plain data and tables of function pointers. Every ISA
// fills one KernelTable; the runtime picks one and calls through it. Nothing here has a constructor
// that does work, and every function is `static`: this header is compiled with and without -mavx…
#pragma once

#include <cstddef>
#include <cstdint>

#include "heed/dtype.h"

namespace heed::kernels {

/// Keys of a partition: sums over keys start afresh at every multiple of this absolute key position
/// (the canonical row), so that keys can be split there without leaving a trace in the bits.
inline constexpr int kPartitionKeys = 256;

/// Keys of a word of a mask, and words of a partition.
inline constexpr std::int32_t kWordKeys = 32;
inline constexpr std::int32_t kPartitionWords = kPartitionKeys / kWordKeys;

/// Partitions of a section: the states of a row's partitions, counted from the first that it sees,
/// are merged in sections of this many, and the states of sections into the result. Sums of any
/// length then have chains of few additions: 256 keys, 64 partitions, and a 16384th of the keys.
inline constexpr std::int32_t kSectionPartitions = 64;

/// Dimensions of a key or a value at most.
inline constexpr std::int32_t kMaxHeadDim = 1024;

/// Buffers, and all rows within scratch, are aligned to this many bytes: a cache line, and the
/// widest vector.
inline constexpr std::size_t kAlignment = 64;

/// How weights follow from logits t (base 2).
enum class WeightRule : std::int32_t {
  exponential,  ///< 2^t, temperature above zero (infinity too: the factor of the queries is then 0)
  argmax,       ///< 1 at the row's largest t, else 0
};

/// What all items of a run share.
struct AttentionShape {
  std::int32_t head_dim = 0;
  std::int32_t value_head_dim = 0;
  std::int32_t group = 0;      ///< query heads per KV head
  std::int32_t tile_keys = 0;  ///< keys per tile; divides kPartitionKeys
  /// Rows of the largest item, ≤ kMaxItemRows, and KV heads of any, ≤ kMaxItemHeads: what scratch
  /// is made for.
  std::int32_t item_rows = 0, item_heads = 1;
  /// Of several heads whose rows lie together in pages, decode reads as much of a page of each in
  /// turn as is a power of two, not a block.
  bool whole_pages = false;
  /// Decode reads the lines of keys in the order in which they lie, before it uses them, and leaves
  /// a single query row's values to hardware prefetchers: of f32, without gaps between rows.
  bool reads_in_order = false;
  WeightRule rule = WeightRule::exponential;
  bool sections = false;   ///< rows may see more partitions than a section has
  float scale = 0;         ///< as the caller has it, for rows with temperatures of their own
  float query_factor = 0;  ///< scale · log2 e / T, or scale · log2 e for argmax; with a softcap
                           ///< scale / c
  /// log2 e / T, or log2 e for argmax: natural logits times this are logits to base 2.
  float unit = 0;
  /// c · unit, or c where rows have temperatures of their own, which then have factors of their own
  /// (kernels/temperature.h); 0: none.
  float softcap = 0;
  DType bias_type = DType::f32;
  bool bias_per_key = true;  ///< else a row has one bias for all of its keys
  /// Products of bf16, in pairs: of dimensions 2 · i and 2 · i + 1 of a query and a key, and of
  /// keys at positions 2 · i and 2 · i + 1, the second one of a pair first. The query factor is
  /// applied to logits then, and the caller's floating-point environment takes denormals for zero.
  bool pairs = false;
  /// Keys visible before and after the query's position, 0 … INT32_MAX.
  std::int64_t window_left = 0;
  std::int64_t window_right = 0;
  DType q_type = DType::f32, k_type = DType::f32, v_type = DType::f32, out_type = DType::f32;
  /// Neighbouring elements of a key and of a value that have a scale in common, where these have
  /// scales of their own.
  std::int32_t k_group = 1, v_group = 1;
};

/// Whether elements are codes with scales in a tensor of their own.
[[maybe_unused]] static constexpr bool is_scaled(DType type) {
  return type == DType::int8 || type == DType::int4;
}

/// Scales of the tokens of one head, in floats: a token's are those of its groups, one after the
/// other. Zero points lie as they do.
struct TokenScales {
  const float* scale = nullptr;       ///< at token 0, of page 0 of the pool where there are pages
  const float* zero_point = nullptr;  ///< null: all are 0
  std::ptrdiff_t token = 0, page = 0;
};

/// m of the state of a row that sees no key of a partition: its l and O then say nothing.
inline constexpr float kNoKey = -__builtin_inff();

/// States of query rows over consecutive partitions: m and l [partition, row], O [partition, row,
/// value_head_dim].
template <class Float>
struct StatesOf {
  Float* m = nullptr;
  Float* l = nullptr;
  Float* o = nullptr;
  std::ptrdiff_t rows = 0;  ///< of each partition
  std::int32_t partitions = 0;
  std::int32_t merged = 1;  ///< partitions of the row that each of these states is the sum of
};
using States = StatesOf<float>;
using ConstStates = StatesOf<const float>;

/// A strided matrix of rows: (token, head of the group) for q, out and lse; token for k and v. In
/// bytes for q, k, v and out, in elements for the others.
struct Strides {
  std::ptrdiff_t token = 0;
  std::ptrdiff_t head = 0;
};

/// From one KV head of an item to the next: units are those of the item's strides.
struct HeadSteps {
  std::ptrdiff_t q = 0, k = 0, v = 0, out = 0, lse = 0, bias = 0, temperature = 0;
  std::ptrdiff_t k_scales = 0, v_scales = 0;
  std::ptrdiff_t state_sums = 0, state_outputs = 0;  ///< of m and of l, and of O, in floats
};

/// Which keys a mask shows, beside causal masks and windows: bit j % 32 of word j / 32 of a row is
/// that of key first_key + j, and 1 where the key is visible. Keys before first_key are not masked.
/// Rows of words belong to blocks of tokens, and to each query head of the group or to all.
struct MaskRows {
  const std::uint32_t* words = nullptr;  ///< of token 0, and the first query head; null: no mask
  std::ptrdiff_t row_words = 0;          ///< from row to row
  std::int32_t first_key = 0;            ///< a multiple of kPartitionKeys
  std::int32_t query_block = 1;          ///< tokens of a row
  std::int32_t heads = 1;                ///< rows of each block of tokens: the group, or 1
};

/// What the elements of a mask are. Bits show keys by 1, bytes by anything but 0, floats by 0;
/// other floats than −∞ are refused. Bits of a byte, and bytes of a word, come with the lowest one
/// first.
struct MaskFormat {
  std::int32_t bits = 1;        ///< of an element: 1, 8, 16 or 32; from 16 up floats
  std::uint32_t magnitude = 0;  ///< of floats, all bits but the sign
  std::uint32_t hidden = 0;     ///< −∞, by its bits; 0 for bytes
};

/// Where a token of an item with rows of several sequences belongs.
struct TokenPlace {
  std::int32_t sequence = 0, token = 0;  ///< as the strides of biases count them
  std::int64_t position = 0;             ///< the key position that it stands at
};

/// What is asked of the weights of an item's rows, and where the answers go; what is null is not
/// asked for. Rows that see no key have weights of 0.
struct Explanation {
  float* memory = nullptr;           ///< explanation_floats() (kernels/scratch.h), and a guard
  std::size_t memory_floats = 0;     ///< before the guard
  std::byte* weights = nullptr;      ///< at (token 0, first query head of the group, key 0)
  Strides weight_stride;             ///< in bytes
  DType type = DType::f32;           ///< of `weights`
  float* entropy = nullptr;          ///< at (token 0, first query head of the group)
  float* top_weights = nullptr;      ///< likewise, `top` for each row
  std::int32_t* top_keys = nullptr;  ///< likewise
  std::int32_t top = 0;              ///< the largest weights that are asked for
  Strides row_stride;                ///< of the numbers of rows, in rows
  float* mass = nullptr;             ///< [head of the group, key], to which weights are added
  std::ptrdiff_t mass_stride = 0;    ///< in floats, from head to head
};

/// One work item: rows [row_begin, row_begin + rows) of the flattened query rows (row = token ·
/// group + head of the group) of a KV head, or of each of several, against keys [key_begin,
/// key_end).
struct AttentionItem {
  const std::byte* q = nullptr;  ///< at (token 0, first query head of the group)
  const std::byte* k = nullptr;  ///< at (token 0) of the KV head
  const std::byte* v = nullptr;
  std::byte* out = nullptr;  ///< at (token 0, first query head of the group)
  float* lse = nullptr;      ///< likewise, or null
  Strides q_stride, out_stride, lse_stride;
  std::ptrdiff_t k_stride = 0, v_stride = 0;
  /// Null: keys and values lie in one piece. Else key j is row j % page_tokens of page
  /// pages[j / page_tokens], and pages are k_page and v_page bytes apart.
  const std::int32_t* pages = nullptr;
  std::int32_t page_tokens = 1;
  std::ptrdiff_t k_page = 0, v_page = 0;
  TokenScales k_scales, v_scales;  ///< of elements that have them
  std::int32_t row_begin = 0, rows = 0;
  bool decode = false;                      ///< by the decode kernel, ≤ max_decode_rows(lanes)
  std::int32_t heads = 1;                   ///< KV heads; more than one only by the decode kernel
  HeadSteps head_step;                      ///< where there are several
  std::int32_t key_begin = 0, key_end = 0;  ///< split items meet at multiples of kPartitionKeys
  std::int32_t keys = 0;                    ///< n_kv of the sequence
  std::int64_t query_position = 0;          ///< token i stands at key position i + query_position
  std::int32_t prefix = 0;                  ///< the first keys, which all rows see
  std::int32_t keep_first = 0;              ///< keys that no window hides on its left
  MaskRows mask;
  /// Null: all tokens are of one sequence. Else the place of each token, from the item's first on.
  const TokenPlace* places = nullptr;
  /// The numbers of the group's query heads; null: there are none.
  const float* slopes = nullptr;
  const float* sinks = nullptr;
  const std::byte* bias = nullptr;  ///< at (token 0, first query head, key 0); null: there are none
  Strides bias_stride;              ///< in bytes
  std::ptrdiff_t bias_sequence = 0;  ///< in bytes, between the sequences of `places`
  /// At (token 0, first query head); null: all rows have that of the shape. Else the item writes
  /// only rows with weights of the shape's rule, and is done once with each rule that its rows
  /// have.
  const float* temperatures = nullptr;
  Strides temperature_stride;               ///< in floats
  std::ptrdiff_t temperature_sequence = 0;  ///< in floats, between the sequences of `places`
  /// Not null only where the prefill kernel computes the item, which has no states then. `out` may
  /// be null, and so may v be where shape.value_head_dim is 0.
  const Explanation* explanation = nullptr;
  /// Null: the item sees all keys of its rows and writes out and lse. Else: of each of these
  /// partitions, the first of which begins at key first_partition · kPartitionKeys, it writes the
  /// states of its rows. They begin at that of its first row, and are `state_stride` rows apart.
  States states;
  Strides state_stride;
  std::int32_t first_partition = 0;
  /// The item writes one state for each row: those of all of its partitions merged. They are the
  /// first ones of their rows, which see all of them, and at most kSectionPartitions.
  bool merge_partitions = false;
  /// The item that this core will probably compute next, of which the first rows are prefetched;
  /// null: none. Only what says where its queries, keys and values lie is set, and key_begin and
  /// key_end to the first keys that are read. Results do not depend on it.
  const AttentionItem* next = nullptr;
};

/// Rows whose states are to be merged; numbered as in AttentionItem.
struct MergeRows {
  const ConstStates* states = nullptr;  ///< consecutive ones
  std::int32_t count = 0;               ///< of `states`
  std::ptrdiff_t first_state = 0;       ///< the first row's number in `states`
  Strides state_stride;                 ///< in rows
  std::byte* out = nullptr;             ///< at (token 0, first query head of the group)
  float* lse = nullptr;                 ///< likewise, or null
  Strides out_stride, lse_stride;       ///< in bytes, and in elements
  DType out_type = DType::f32;
  std::int32_t group = 0, value_head_dim = 0;
  std::int32_t row_begin = 0, rows = 0;
  WeightRule rule = WeightRule::exponential;
  const float* sinks = nullptr;  ///< of each query head of the group; null: there are none
  float unit = 0;                ///< as AttentionShape has it
  /// At (token 0, first query head of the group), in the place of rule and unit; null: none.
  const float* temperatures = nullptr;
  Strides temperature_stride;  ///< in floats
};

/// Rows whose states are to be added to their sums, which are states of one partition.
struct MergeIntoRows {
  States total;
  ConstStates states;
  std::ptrdiff_t first_row = 0, rows = 0;
  std::int32_t value_head_dim = 0;
  WeightRule rule = WeightRule::exponential;
  /// Of the first row, in the place of the rule; null: none. Rows are those of consecutive tokens,
  /// each with all query heads.
  const float* temperatures = nullptr;
  Strides temperature_stride;  ///< in floats
  std::int32_t query_heads = 1;
};

/// The rows of a softmax over a matrix.
enum class SoftmaxRule : std::int32_t { exponential, argmax, uniform };

/// What a temperature means for a row.
struct SoftmaxFactor {
  float factor = 1;  ///< scale / T; for the argmax the scale
  SoftmaxRule rule = SoftmaxRule::exponential;
};

[[maybe_unused]] static constexpr SoftmaxFactor softmax_factor(float scale, float temperature) {
  const float factor = temperature == 0.0F ? scale : scale / temperature;
  if (factor == 0.0F) return {factor, SoftmaxRule::uniform};
  return {factor, temperature == 0.0F ? SoftmaxRule::argmax : SoftmaxRule::exponential};
}

/// The temperatures of rows.
struct SoftmaxTemperatures {
  float scale = 1;
  float common = 1;             ///< T of all rows
  SoftmaxFactor factor;         ///< of `common`
  const float* each = nullptr;  ///< the T of each row, in place of `common`; null: there are none
};

/// Rows of f32, f16 or bf16. Strides are in bytes.
struct SoftmaxRows {
  const std::byte* x = nullptr;
  std::byte* y = nullptr;  ///< the result; one float per row for the log-sum-exp
  std::ptrdiff_t x_stride = 0, y_stride = 0;
  std::int64_t rows = 0, length = 0;
  SoftmaxTemperatures temperatures;
  DType x_type = DType::f32, y_type = DType::f32;
  /// A byte for each entry, which is 0 where it is hidden; null: none is.
  const std::byte* visible = nullptr;
  std::ptrdiff_t visible_stride = 0;
  /// y is too large to be found in a cache by whoever reads it next, and is not x.
  bool nontemporal = false;
};

struct SoftmaxGradientRows {
  const std::byte* y = nullptr;
  const std::byte* dy = nullptr;
  std::byte* dx = nullptr;
  float* dt = nullptr;  ///< the gradient of each row's T; null: it is not asked for
  std::ptrdiff_t y_stride = 0, dy_stride = 0, dx_stride = 0;
  std::int64_t rows = 0, length = 0;
  SoftmaxTemperatures temperatures;
  DType y_type = DType::f32, dy_type = DType::f32, dx_type = DType::f32;
  const std::byte* visible = nullptr;  ///< as SoftmaxRows has it
  std::ptrdiff_t visible_stride = 0;
};

/// Tokens whose integer weights are added in 32 bits (kernels/sampling/sampling_weights.inl.h).
inline constexpr std::int64_t kWeightChunk = 2048;

/// Logits of a row that a token is drawn from at most: the sum of their weights, 2^40 each, is
/// below 2^63.
inline constexpr std::int64_t kMaxSampledLogits = std::int64_t{1} << 22;

/// What drawing a token needs besides the logits: lists of as many elements as the row has, with
/// room up to a multiple of kAlignment bytes, `sums` of one for each kWeightChunk begun.
struct SamplingScratch {
  float* logits = nullptr;  ///< of types other than f32
  float* kept = nullptr;    ///< logits that top-k has left, and the numbers of their tokens
  std::int32_t* numbers = nullptr;
  std::uint32_t* keys = nullptr;  ///< a list of tokens
  std::int32_t* places = nullptr;
  std::uint32_t* work_keys = nullptr;  ///< and a copy of it
  std::int32_t* work_places = nullptr;
  std::uint64_t* sums = nullptr;
};

/// A row of logits that a token is drawn from.
struct SampledRow {
  const std::byte* logits = nullptr;
  DType type = DType::f32;  ///< or f16 or bf16
  std::int64_t length = 0;  ///< ≤ kMaxSampledLogits
  bool greedy = false;      ///< the first of the largest logits; what follows is then not looked at
  float factor = 0;         ///< 2 · log2 e / T, finite
  std::int64_t top_k = 0;   ///< 0: all
  float top_p = 1, min_p = 0;
  std::uint64_t random = 0;
  SamplingScratch scratch;
};

struct SampledToken {
  std::int32_t token = -1;  ///< −1 where a logit is NaN or +∞, or none is above −∞
  float probability = 0;    ///< that the token had to be drawn
};

/// Which dimensions of a vector rotary embedding turns together: none; 2i and 2i + 1; i and
/// i + rotary_dim / 2.
enum class RotaryRule : std::int32_t { none, adjacent, halves };

/// Where the scales of vectors go, or come from.
struct ScaleSlots {
  float* scale = nullptr;
  float* zero_point = nullptr;  ///< null: there are none
  Strides stride;               ///< in floats; the token stride is that within a page
  std::ptrdiff_t page = 0;
  std::int32_t group = 1;  ///< elements that have a scale in common
  bool written = false;    ///< else scales and zero points are read
};

/// Vectors of tokens and the places they go to: each may stay where it is (y = x, the same
/// strides and types), else no element of y is one of x.
struct TokenVectors {
  const std::byte* x = nullptr;
  std::byte* y = nullptr;
  DType x_type = DType::f32, y_type = DType::f32;
  Strides x_stride, y_stride;  ///< in bytes; y's token stride is that within a page
  std::ptrdiff_t y_page_stride = 0;
  ScaleSlots y_scales;  ///< where y_type has scales
  std::int64_t page_tokens = 0;
  /// Token i goes to slots[i] % page_tokens of page slots[i] / page_tokens, or nowhere where that
  /// is negative; null: to slot i.
  const std::int64_t* slots = nullptr;
  std::int64_t tokens = 0;
  std::int32_t heads = 0, dims = 0;
  RotaryRule rule = RotaryRule::none;
  std::int32_t rotary_dim = 0;  ///< even, ≤ dims
  const std::int64_t* positions = nullptr;
  /// At p · rotary_dim: rotary_dim / 2 cosines of position p, then as many sines; kAlignment bytes
  /// more may be read past the last ones.
  const float* rotations = nullptr;
};

struct KernelTable {
  const char* name;
  /// Floats of a vector, and the widest block of query rows in vectors.
  std::int32_t lanes, block_vectors;
  /// Keys (or value dimensions) of the register tile.
  std::int32_t tile_rows;

  /// One item, start to end. `scratch` has the floats of the item's layout
  /// (kernels/scratch.h).
  void (*attend)(const AttentionShape& shape, const AttentionItem& item, float* scratch);
  /// Adds the states of each row, the earliest first, and writes out and lse.
  void (*merge)(const MergeRows& rows);
  /// Adds the states of each row, the earliest first, to its sum.
  void (*merge_into)(const MergeIntoRows& rows);

  void (*softmax)(const SoftmaxRows& rows);
  void (*log_softmax)(const SoftmaxRows& rows);
  void (*log_sum_exp)(const SoftmaxRows& rows);
  void (*softmax_gradient)(const SoftmaxGradientRows& rows);
  void (*log_softmax_gradient)(const SoftmaxGradientRows& rows);
  SampledToken (*sample)(const SampledRow& row);

  void (*write_kv_slots)(const TokenVectors& vectors);

  /// The words of `count` elements of a mask; those of bits begin with a byte. Returns the first
  /// element that a mask may not have, or `count`.
  std::int64_t (*mask_words)(const MaskFormat& format, const std::byte* elements,
                             std::int64_t count, std::uint32_t* words);
  /// Copies the bits of whole partitions to words, where they may be already, and counts them:
  /// totals[p + 1] becomes totals[p] and the ones of partition p.
  void (*mask_totals)(const void* bits, std::int64_t partitions, std::uint32_t* words,
                      std::int32_t* totals);

  /// y[i] = 2^x[i] (0 below 2^−110) and e^x[i], i < n: the exponentials of attention and of
  /// softmax, for their tests.
  void (*exp2)(const float* x, float* y, std::int64_t n);
  void (*exp)(const float* x, float* y, std::int64_t n);
};

/// Query rows of the largest item: more rows share each tile of keys and values, but at 384 (eight
/// blocks of 48) fetching a tile from the last cache costs under half a byte per cycle of
/// multiply-adds already.
inline constexpr std::int32_t kMaxItemRows = 384;

/// The next multiple of a vector's lanes.
[[maybe_unused]] static constexpr std::size_t padded(std::int32_t count, std::int32_t lanes) {
  return static_cast<std::size_t>((count + lanes - 1) / lanes) * static_cast<std::size_t>(lanes);
}

/// Dimensions that packed keys are transposed by in the decode kernel.
inline constexpr std::int32_t kPackedDims = 16;

/// Floats of a query row in the decode kernel: a multiple of a vector and of kPackedDims.
[[maybe_unused]] static constexpr std::size_t decode_query_floats(std::int32_t head_dim,
                                                                  std::int32_t lanes) {
  return padded(head_dim, lanes < kPackedDims ? kPackedDims : lanes);
}

/// Rows that the decode kernel takes at most: their sums for a block of keys, and a vector of
/// keys that is being transposed, fit the registers (AVX-512: 8 + 16 of 32; AVX2: 10 + 8, two of
/// which wait in L1).
[[maybe_unused]] static constexpr std::int32_t max_decode_rows(std::int32_t lanes) {
  return lanes == 8 ? 5 : lanes / 2;
}

/// KV heads of an item at most. Eight heads of 128 floats are a page of 4 KiB for each token, and
/// what the decode kernel keeps of each head, about 3 KiB a row, stays in L2.
inline constexpr std::int32_t kMaxItemHeads = 8;

/// Keys that the decode kernel takes at a time: 8 KiB of keys and as much of values for rows
/// of 128, so that these and the next ones of both fit an L1 cache of 32 KiB; and at least a vector
/// of every ISA.
inline constexpr std::int32_t kBlockKeys = 16;

/// Keys that it takes at a time at most: two of the largest vectors, of narrow elements.
inline constexpr std::int32_t kMaxBlockKeys = 32;

/// Floats between the rows of the decode kernel's logits: a partition, and a block after it, since
/// whole blocks are written.
inline constexpr std::size_t kDecodeWeightsStride = kPartitionKeys + kMaxBlockKeys;

/// Dimensions that the decode kernel gives a vector of scales: a group, where vectors of packed
/// keys and of values end with it; else each one has a vector of its own.
[[maybe_unused]] static constexpr std::int32_t scale_unit(std::int32_t group, std::int32_t dims) {
  return group % kPackedDims == 0 && dims % kPackedDims == 0 ? group : 1;
}

/// Floats of the decode kernel's vectors of scales, or of zero points, of a block of keys or of
/// values: as keys a vector of keys for each unit, as values one of dimensions for each key.
[[maybe_unused]] static constexpr std::size_t scale_vector_floats(std::int32_t group,
                                                                  std::int32_t dims) {
  const std::int32_t unit = scale_unit(group, dims);
  const std::size_t of_key =
      unit == 1 ? padded(dims, kPackedDims) : static_cast<std::size_t>(dims / unit * kPackedDims);
  return of_key * kMaxBlockKeys;
}

/// Floats of one partition's states of `rows` rows: m, l and O.
[[maybe_unused]] static constexpr std::size_t state_floats(std::int32_t value_head_dim,
                                                           std::int32_t rows) {
  return static_cast<std::size_t>(rows) * (static_cast<std::size_t>(value_head_dim) + 2);
}

/// Distance of the rows of a tile that was copied: whole lines plus one more, so that equal columns
/// of consecutive rows fall into different cache sets.
[[maybe_unused]] static constexpr std::int32_t tile_copy_stride(std::int32_t dims) {
  return (dims + 15) / 16 * 16 + 16;
}

[[maybe_unused]] static constexpr std::ptrdiff_t tile_copy_bytes(std::int32_t dims) {
  return tile_copy_stride(dims) * static_cast<std::ptrdiff_t>(sizeof(float));
}

/// Floats of a copy of a tile of keys and values.
[[maybe_unused]] static constexpr std::size_t tile_copy_floats(const AttentionShape& shape) {
  return static_cast<std::size_t>(shape.tile_keys) *
         static_cast<std::size_t>(tile_copy_stride(shape.head_dim) +
                                  tile_copy_stride(shape.value_head_dim));
}

}  // namespace heed::kernels
