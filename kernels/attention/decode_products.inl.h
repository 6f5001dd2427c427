// The two products of the decode kernel, over one block of keys at a time:
//
//   score_block   logits[r][j] = Σ_x q[r][x] · k[j][x]   lanes are keys, transposed in registers
//   add_values    o[r][x] += Σ_j p[r][j] · v[j][x]       lanes are the values' dimensions
//
// Both keep the canonical order: one fma chain along x for a logit, along the keys for an output.
//
// Memory decides the speed, and two things make it slow. A block is read several times, in many
// short streams that no hardware prefetcher follows; and software prefetches are dropped where many
// are in flight. So the lines of the next block are prefetched into L1, and those of the block
// after it into L2, in the order in which they lie, a few at a time, evenly spread over the
// multiply-adds on the current block. bench/README.md has figures.
#pragma once

#include "kernels/attention/register_tile.inl.h"
#include "kernels/attention/tile_loader.inl.h"
#include "kernels/elements/block_scales.inl.h"
#include "kernels/elements/columns.inl.h"
#include "kernels/elements/elements.inl.h"
#include "kernels/elements/rows.inl.h"
#include "kernels/interface.h"
#include "kernels/vector/lanes.inl.h"

namespace heed::kernels {
namespace {

/// Rows of elements, a number of bytes apart.
struct ElementRows {
  DType type;
  std::int32_t dims;
  const std::byte* data;
  std::ptrdiff_t stride;
  BlockScales scales;  ///< of codes
};

/// Rows of a block of keys or of values, to be prefetched.
struct ComingRows {
  const std::byte* data = nullptr;
  std::int32_t count = 0;
  std::ptrdiff_t stride = 0, bytes = 0;  ///< from row to row, and of a row
};

/// Bytes that are prefetched together: two lines.
inline constexpr std::int32_t kChunk = 2 * kAlignment;

/// Where the chunks of a block's rows lie, in the order in which they lie.
class ChunkOffsets {
 public:
  ChunkOffsets() = default;
  HEED_INLINE ChunkOffsets(std::ptrdiff_t stride, std::ptrdiff_t bytes, std::int32_t rows) {
    // Rows without gaps are one long row.
    row_bytes_ = stride == bytes ? bytes * rows : bytes;
    const std::int32_t all = stride == bytes ? 1 : rows;
    for (std::int32_t r = 0; r < all; ++r) {
      for (std::ptrdiff_t x = 0; x < row_bytes_; x += kChunk) offset_[count_++] = r * stride + x;
    }
    for (std::int32_t i = 0; i < kMargin; ++i) {
      offset_[count_ + i] = count_ > 0 ? offset_[count_ - 1] : 0;
    }
    bytes_ = bytes;
    contiguous_ = stride == bytes;
  }
  /// How many chunks the first `rows` rows have.
  HEED_INLINE std::int32_t count(std::int32_t rows) const {
    const std::ptrdiff_t row = contiguous_ ? rows * bytes_ : row_bytes_;
    const auto chunks = static_cast<std::int32_t>((row + kChunk - 1) / kChunk);
    return contiguous_ ? chunks : chunks * rows;
  }
  HEED_INLINE const std::ptrdiff_t* data() const { return offset_; }

  /// Offsets past the last chunk that may be read: those of a step that begins in the middle of the
  /// last one.
  static constexpr std::int32_t kMargin = 16;

 private:
  static constexpr std::int32_t kMost = 512;
  std::int32_t count_ = 0;
  bool contiguous_ = false;
  std::ptrdiff_t bytes_ = 0, row_bytes_ = 0;
  std::ptrdiff_t offset_[kMost + kMargin];
};

/// Blocks that are prefetched while one before them is used, as far as there are any.
struct ComingBlocks {
  ComingRows to_l1, to_l2;
};

/// A block of rows.
struct KeyBlock {
  ElementRows rows;
  std::int32_t count;
  ComingBlocks coming;
  const ChunkOffsets* chunks;  ///< of any block of keys
};

/// Rows that are prefetched chunk by chunk, in the order in which they lie.
template <Cache Into>
class Chunks {
 public:
  HEED_INLINE explicit Chunks(const ComingRows& rows)
      : row_(rows.data), left_(rows.count), stride_(rows.stride), bytes_(rows.bytes) {}

  /// Prefetches the next chunk. Every row begins with a new chunk.
  HEED_INLINE void prefetch() {
    if (left_ == 0) return;
#pragma GCC unroll 2
    for (std::int32_t x = 0; x < kChunk; x += static_cast<std::int32_t>(kAlignment)) {
      __builtin_prefetch(row_ + x_ + x, 0, static_cast<int>(Into));
    }
    x_ += kChunk;
    if (x_ < bytes_) return;
    x_ = 0;
    row_ += stride_;
    --left_;
  }

 private:
  const std::byte* row_;
  std::int32_t left_;
  std::ptrdiff_t stride_, bytes_, x_ = 0;
};

/// The blocks after a block of keys, which are prefetched.
class Upcoming {
 public:
  HEED_INLINE explicit Upcoming(const KeyBlock& block)
      : here_(block.rows.data),
        to_l1_(block.coming.to_l1.data),
        to_l2_(block.coming.to_l2.data),
        offset_(block.chunks->data()),
        to_l1_left_(block.chunks->count(block.coming.to_l1.count)),
        to_l2_left_(block.chunks->count(block.coming.to_l2.count)) {}

  /// Prefetches chunk i of those of a step; of blocks that are done with, the lines that are being
  /// read already.
  HEED_INLINE void prefetch(std::int32_t i) const {
    const std::ptrdiff_t offset = offset_[i];
    const std::byte* const l1 = to_l1_left_ > 0 ? to_l1_ : here_;
    const std::byte* const l2 = to_l2_left_ > 0 ? to_l2_ : here_;
    __builtin_prefetch(l1 + offset, 0, static_cast<int>(Cache::l1));
    __builtin_prefetch(l1 + offset + kAlignment, 0, static_cast<int>(Cache::l1));
    __builtin_prefetch(l2 + offset, 0, static_cast<int>(Cache::l2));
    __builtin_prefetch(l2 + offset + kAlignment, 0, static_cast<int>(Cache::l2));
  }
  /// Goes on to the next step, after `count` chunks.
  HEED_INLINE void advance(std::int32_t count) {
    if (to_l1_left_ <= 0 && to_l2_left_ <= 0) return;
    offset_ += count;
    to_l1_left_ -= count;
    to_l2_left_ -= count;
  }
  HEED_INLINE void prefetch_rest() {
    while (to_l1_left_ > 0 || to_l2_left_ > 0) {
      prefetch(0);
      advance(1);
    }
  }

 private:
  const std::byte *here_, *to_l1_, *to_l2_;
  const std::ptrdiff_t* offset_;
  std::int32_t to_l1_left_, to_l2_left_;
};

/// Query rows, padded with zeros to whole vectors, and their logits, which are written for whole
/// blocks of keys.
struct DecodeQueries {
  const float* q;
  std::ptrdiff_t stride;
  float* logits;
  std::ptrdiff_t logits_stride;
};

/// The columns from x on of the keys from `first` on; zeros where there are none.
template <class Arch, class E>
HEED_INLINE void load_columns(const KeyBlock& block, std::int32_t first, std::int32_t x,
                              Columns<Arch, E>& columns) {
  using C = Columns<Arch, E>;
  if constexpr (C::kLoadDims > C::kDims) {
    if (x % C::kLoadDims != 0) return columns.next();
  }
  const std::byte* const row = block.rows.data + first * block.rows.stride;
  const std::int32_t keys = block.count - first, dims = block.rows.dims - x;
  const bool all = keys >= kLanes<Arch> && dims >= C::kLoadDims;
  std::ptrdiff_t stride = block.rows.stride;
  // Else compilers keep the address of each row, and run out of registers for them.
  asm("" : "+r"(stride));
  if (all) return columns.load(row, stride, x);
  if constexpr (C::kVectors == 1) {
    columns.load_first(row, stride, x, keys, dims);
  } else {
    PaddedRows<Arch, E> padded;
    padded.fill(row + x / E::kBlock * E::kBytes, stride, keys, dims);
    columns.load(padded.data(), padded.kBytes, x % E::kBlock);
  }
}

/// Scores the first `Vectors` vectors of a block of keys, as many of them side by side as their
/// columns say.
template <class Arch, class E, int Queries, int Vectors>
HEED_INLINE void score_vectors(const DecodeQueries& queries, const KeyBlock& k) {
  using C = Columns<Arch, E>;
  constexpr int lanes = kLanes<Arch>, dims = C::kDims;
  constexpr int together = C::kVectors < Vectors ? C::kVectors : Vectors;
  constexpr int step_bytes = Vectors * lanes * dims * E::kBytes / E::kBlock;
  constexpr int chunks = (step_bytes + kChunk - 1) / kChunk;
  static_assert(2 * chunks <= ChunkOffsets::kMargin);
  Upcoming upcoming(k);
  Vec<Arch> sum[Vectors][Queries];
  clear(sum);
  C columns[Vectors];
  if constexpr (E::kPacking == Packing::codes) {
#pragma GCC unroll 4
    for (int b = 0; b < Vectors; ++b) columns[b].set_scales(k.rows.scales, b);
  }
  for (std::int32_t x = 0; x < k.rows.dims; x += dims) {
#pragma GCC unroll 4
    for (int b = 0; b < Vectors; b += together) {
#pragma GCC unroll 2
      for (int c = 0; c < together; ++c) {
        load_columns<Arch, E>(k, (b + c) * lanes, x, columns[b + c]);
        if constexpr (E::kPacking == Packing::codes) columns[b + c].seek(x);
      }
#pragma GCC unroll 16
      for (int step = 0; step < dims; ++step) {
        const int i = kInPairs<E> ? step ^ 1 : step;
        if (b == 0 && step * chunks % dims < chunks) upcoming.prefetch(step * chunks / dims);
        Vec<Arch> column[together];
#pragma GCC unroll 2
        for (int c = 0; c < together; ++c) column[c] = columns[b + c].column(i);
#pragma GCC unroll 8
        for (int r = 0; r < Queries; ++r) {
          const Vec<Arch> q = splat<Arch>(queries.q[r * queries.stride + x + i]);
#pragma GCC unroll 2
          for (int c = 0; c < together; ++c) {
            sum[b + c][r] = Ops<Arch>::fma(q, column[c], sum[b + c][r]);
          }
        }
      }
    }
    upcoming.advance(chunks);
  }
  upcoming.prefetch_rest();
#pragma GCC unroll 16
  for (int b = 0; b < Vectors; ++b) {
#pragma GCC unroll 8
    for (int r = 0; r < Queries; ++r) {
      store<Arch>(queries.logits + r * queries.logits_stride + b * lanes, sum[b][r]);
    }
  }
}

/// Scores a block of keys.
template <class Arch, class E, int Queries>
__attribute__((noinline)) void score_block(const DecodeQueries& queries, const KeyBlock& k) {
  constexpr int vectors = kBlockKeysOf<Arch, E> / kLanes<Arch>;
  if constexpr (Columns<Arch, E>::kVectors > 1) {
    if (k.count <= kLanes<Arch>) return score_vectors<Arch, E, Queries, 1>(queries, k);
  }
  score_vectors<Arch, E, Queries, vectors>(queries, k);
}

/// Weights of few query rows and their outputs, whose rows are padded to whole vectors.
struct DecodeOutputs {
  const float* weights;
  std::ptrdiff_t weights_stride;
  float* o;
  std::ptrdiff_t stride;
};

/// The rows of the block after a block of values that comes to L1. They are prefetched in the order
/// in which they lie, as many bytes at a time as are being added, and with them the same rows of
/// the block that comes to L2. Where there is no such block these are rows that are there.
class NextValues {
 public:
  HEED_INLINE NextValues(const KeyBlock& block, std::ptrdiff_t row_bytes)
      : at_(block.coming.to_l1.count > 0 ? block.coming.to_l1.data : block.rows.data),
        farther_(block.coming.to_l2.count > 0 ? block.coming.to_l2.data - at_ : 0),
        row_bytes_(row_bytes),
        gap_(block.rows.stride - row_bytes) {}

  const std::byte* at() const { return at_; }
  /// From rows that come to L1 to those that come to L2, in bytes.
  HEED_INLINE std::ptrdiff_t farther() const { return farther_; }
  /// How many times so many bytes can be prefetched, one after the other, before a gap; `most`
  /// times at most.
  template <int Bytes>
  HEED_INLINE std::int32_t steps(std::int32_t most) const {
    if (gap_ == 0) return most;
    const auto left = static_cast<std::int32_t>((row_bytes_ - done_ + Bytes - 1) / Bytes);
    return left < most ? left : most;
  }
  /// After prefetches up to `end`.
  HEED_INLINE void advance(const std::byte* end) {
    done_ += end - at_;
    at_ = end;
    if (gap_ == 0 || done_ < row_bytes_) return;
    at_ += row_bytes_ + gap_ - done_;
    done_ = 0;
  }

 private:
  const std::byte* at_;
  std::ptrdiff_t farther_, row_bytes_, gap_, done_ = 0;  ///< done_: bytes of the row
};

/// How `Vectors` vectors of a value's elements, from x on, become its values.
template <class Arch, class E, int Vectors>
class ValueScales {
 public:
  HEED_INLINE ValueScales(const BlockScales& scales, std::int32_t x) : scales_(scales) {
    if constexpr (E::kPacking == Packing::codes && !kOneScale<E>) {
      constexpr std::int32_t lanes = kLanes<Arch>;
#pragma GCC unroll 8
      for (int i = 0; i < Vectors; ++i) {
        const std::int32_t dim = x + i * lanes;
        offset_[i] = scales.unit == 1 ? dim : dim / scales.unit * lanes;
      }
    }
  }
  /// Vector i of value j.
  HEED_INLINE Vec<Arch> value(Vec<Arch> elements, std::int32_t j, int i) const {
    if constexpr (E::kPacking != Packing::codes) return elements;
    if constexpr (kOneScale<E>) return elements * splat<Arch>(scales_.scale[j * scales_.step]);
    const std::ptrdiff_t at = j * scales_.step + offset_[i];
    return scaled<Arch>(elements, load<Arch>(scales_.scale + at),
                        load<Arch>(scales_.zero_point + at));
  }

 private:
  BlockScales scales_;
  std::ptrdiff_t offset_[Vectors];  // NOLINT: of codes that have several scales or zero points
};

/// The jth of `count` keys in the order in which their values are added. Where they are in pairs,
/// the first of them is the first of a pair, or the only one.
template <class E>
HEED_INLINE std::int32_t in_order(std::int32_t j, std::int32_t count) {
  return kInPairs<E> && (j ^ 1) < count ? j ^ 1 : j;
}

/// add_values for `vectors` vectors of dimensions, `Vectors` at a time.
template <class Arch, class E, int Queries, int Vectors>
HEED_INLINE void add_columns(DecodeOutputs out, const ElementRows& v, std::ptrdiff_t x,
                             std::int32_t count, NextValues& next, std::int32_t vectors) {
  constexpr int lanes = kLanes<Arch>;
  constexpr int bytes = (Vectors * lanes * E::kBytes + E::kBlock - 1) / E::kBlock;
  for (; vectors >= Vectors; vectors -= Vectors) {
    const std::ptrdiff_t first = Vectors * lanes % E::kBlock == 0 ? 0 : x % E::kBlock;
    const std::byte* row = v.data + x / E::kBlock * E::kBytes;
    const ValueScales<Arch, E, Vectors> scales(v.scales, static_cast<std::int32_t>(x));
    Vec<Arch> sum[Queries][Vectors];
    load_rows<Arch>(sum, out.o, out.stride);
    for (std::int32_t j = 0; j < count;) {
      const std::int32_t end = j + next.template steps<bytes>(count - j);
      const std::byte* ahead = next.at();
      for (; j < end; ++j, row += v.stride, ahead += bytes) {
        const std::int32_t key = in_order<E>(j, count);
        const std::byte* const value = row + (key - j) * v.stride;
        Vec<Arch> values[Vectors];
#pragma GCC unroll 8
        for (int i = 0; i < Vectors; ++i) {
          values[i] = scales.value(E::template widen<Arch>(value, first + i * lanes), j, i);
        }
#pragma GCC unroll 8
        for (int r = 0; r < Queries; ++r) {
          const Vec<Arch> weight = splat<Arch>(out.weights[r * out.weights_stride + key]);
#pragma GCC unroll 8
          for (int i = 0; i < Vectors; ++i) Ops<Arch>::accumulate(weight, values[i], sum[r][i]);
        }
#pragma GCC unroll 8
        for (int i = 0; i < bytes; i += static_cast<int>(kAlignment)) {
          __builtin_prefetch(ahead + i, 0, static_cast<int>(Cache::l1));
          __builtin_prefetch(ahead + next.farther() + i, 0, static_cast<int>(Cache::l2));
        }
      }
      next.advance(ahead);
    }
    store_rows<Arch>(sum, out.o, out.stride);
    x += Vectors * lanes;
    out.o += Vectors * lanes;
  }
  if constexpr (Vectors > 1) {
    if (vectors > 0) add_columns<Arch, E, Queries, Vectors / 2>(out, v, x, count, next, vectors);
  }
}

/// The most vectors of dimensions, a power of two, whose sums, values and one weight fit the
/// registers; 8 are enough to hide the latency of a single row's chains.
template <class Arch>
constexpr int value_vectors(int queries) {
  int vectors = 8;
  while (queries * vectors + vectors + 1 > Ops<Arch>::kRegisters) vectors /= 2;
  return vectors;
}

/// add_values for the last dimensions of rows that do not end with a whole vector: those of v,
/// fewer than a vector has.
template <class Arch, class E, int Queries>
HEED_INLINE void add_last_columns(const DecodeOutputs& out, const ElementRows& v, std::int32_t x,
                                  std::int32_t count) {
  const ValueScales<Arch, E, 1> scales(v.scales, x);
  Vec<Arch> sum[Queries][1];
  load_rows<Arch>(sum, out.o, out.stride);
  for (std::int32_t j = 0; j < count; ++j) {
    const std::int32_t key = in_order<E>(j, count);
    const Vec<Arch> value =
        scales.value(widen_first<Arch, E>(v.data + key * v.stride, x, v.dims - x), j, 0);
#pragma GCC unroll 8
    for (int r = 0; r < Queries; ++r) {
      Ops<Arch>::accumulate(splat<Arch>(out.weights[r * out.weights_stride + key]), value,
                            sum[r][0]);
    }
  }
  store_rows<Arch>(sum, out.o, out.stride);
}

/// Adds a block of values.
template <class Arch, class E, int Queries>
__attribute__((noinline)) void add_values(DecodeOutputs out, const KeyBlock& v) {
  constexpr int lanes = kLanes<Arch>;
  const std::int32_t vectors = v.rows.dims / lanes, whole = vectors * lanes;
  NextValues next(v, std::ptrdiff_t{v.rows.dims} / E::kBlock * E::kBytes);
  add_columns<Arch, E, Queries, value_vectors<Arch>(Queries)>(out, v.rows, 0, v.count, next,
                                                              vectors);
  if (whole < v.rows.dims) {
    out.o += whole;
    add_last_columns<Arch, E, Queries>(out, v.rows, whole, v.count);
  }
}

}  // namespace
}  // namespace heed::kernels
