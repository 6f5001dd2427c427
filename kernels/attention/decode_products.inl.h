// The two products of the decode kernel, over one block of keys at a time:
//
//   score_block   logits[r][j] = Σ_x q[r][x] · k[j][x]   lanes are keys, transposed in registers
//   add_values    o[r][x] += Σ_j p[r][j] · v[j][x]       lanes are the values' dimensions
//
// Both keep the canonical order: one fma chain along x for a logit, along the keys for an output.
//
// Memory decides the speed, and two things make it slow. A block is read several times, in many
// short streams that no hardware prefetcher follows; and software prefetches are dropped where many
// are in flight. So the lines of the next block are prefetched into L1, and those of the next block
// of keys but one into L2, in the order in which they lie, two at a time, evenly spread over the
// multiply-adds on the current block. bench/README.md has figures.
#pragma once

#include "kernels/attention/register_tile.inl.h"
#include "kernels/attention/tile_loader.inl.h"
#include "kernels/elements/elements.inl.h"
#include "kernels/interface.h"
#include "kernels/vector/lanes.inl.h"

namespace heed::kernels {
namespace {

/// Up to kBlockKeys rows of keys or of values, to be prefetched.
struct ComingRows {
  const std::byte* data = nullptr;
  std::int32_t count = 0;
  std::ptrdiff_t stride = 0, bytes = 0;  ///< from row to row, and of a row
};

/// A block of 1 … kBlockKeys rows, and the two blocks after it, as far as there are any.
struct KeyBlock {
  ElementRows rows;
  std::int32_t count;
  ComingRows next, after_next;
};

/// Bytes that are prefetched together: two lines.
inline constexpr std::int32_t kChunk = 2 * kAlignment;

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

  HEED_INLINE void prefetch_rest() {
    while (left_ > 0) prefetch();
  }

 private:
  const std::byte* row_;
  std::int32_t left_;
  std::ptrdiff_t stride_, bytes_, x_ = 0;
};

/// The blocks after a block: the next one is prefetched into L1, the one after it into L2.
class Upcoming {
 public:
  HEED_INLINE explicit Upcoming(const KeyBlock& block)
      : next_(block.next), after_next_(block.after_next) {}

  /// Prefetches a chunk of each.
  HEED_INLINE void prefetch() {
    next_.prefetch();
    after_next_.prefetch();
  }
  HEED_INLINE void prefetch_rest() {
    next_.prefetch_rest();
    after_next_.prefetch_rest();
  }

 private:
  Chunks<Cache::l1> next_;
  Chunks<Cache::l2> after_next_;
};

/// Query rows, padded with zeros to whole vectors, and their logits, which are written for whole
/// blocks of keys.
struct DecodeQueries {
  const float* q;
  std::ptrdiff_t stride;
  float* logits;
  std::ptrdiff_t logits_stride;
};

/// A vector of keys, dimensions x … x + lanes − 1, transposed; zeros where there are none.
template <class Arch, class E>
HEED_INLINE void load_columns(const KeyBlock& block, std::int32_t first, std::int32_t x,
                              Vec<Arch> (&columns)[kLanes<Arch>]) {
  constexpr int lanes = kLanes<Arch>;
  const ElementRows& k = block.rows;
  const std::byte* const row = k.data + first * k.stride;
  if (block.count - first >= lanes && x + lanes <= k.dims) {
#pragma GCC unroll 16
    for (int i = 0; i < lanes; ++i) columns[i] = E::template widen<Arch>(row + i * k.stride, x);
  } else {
    const std::int32_t left = k.dims - x < lanes ? k.dims - x : lanes;
    for (int i = 0; i < lanes; ++i) {
      columns[i] = first + i < block.count ? widen_first<Arch, E>(row + i * k.stride, x, left)
                                           : splat<Arch>(0.0F);
    }
  }
  Ops<Arch>::transpose(columns);
}

/// Scores a block of keys.
template <class Arch, class E, int Queries>
__attribute__((noinline)) void score_block(const DecodeQueries& queries, const KeyBlock& k) {
  constexpr int lanes = kLanes<Arch>, vectors = kBlockKeys / lanes;
  const std::int32_t dims = k.rows.dims;
  Upcoming upcoming(k);
  Vec<Arch> sum[vectors][Queries];
  clear(sum);
  for (std::int32_t x = 0; x < dims; x += lanes) {
#pragma GCC unroll 4
    for (int b = 0; b < vectors; ++b) {
      Vec<Arch> columns[lanes];
      load_columns<Arch, E>(k, b * lanes, x, columns);
#pragma GCC unroll 16
      for (int i = 0; i < lanes; ++i) {
        if (b == 0 && i % 2 == 0) upcoming.prefetch();
#pragma GCC unroll 8
        for (int r = 0; r < Queries; ++r) {
          const Vec<Arch> q = splat<Arch>(queries.q[r * queries.stride + x + i]);
          sum[b][r] = Ops<Arch>::fma(q, columns[i], sum[b][r]);
        }
      }
    }
  }
  upcoming.prefetch_rest();
#pragma GCC unroll 16
  for (int b = 0; b < vectors; ++b) {
#pragma GCC unroll 8
    for (int r = 0; r < Queries; ++r) {
      store<Arch>(queries.logits + r * queries.logits_stride + b * lanes, sum[b][r]);
    }
  }
}

/// Weights of few query rows and their outputs, whose rows are padded to whole vectors.
struct DecodeOutputs {
  const float* weights;
  std::ptrdiff_t weights_stride;
  float* o;
  std::ptrdiff_t stride;
};

/// add_values for `vectors` vectors of dimensions, `Vectors` at a time, while as many lines of the
/// next block are prefetched.
template <class Arch, class E, int Queries, int Vectors>
HEED_INLINE void add_columns(DecodeOutputs out, const ElementRows& v, std::ptrdiff_t x,
                             std::int32_t count, Chunks<Cache::l1>& next, std::int32_t vectors) {
  constexpr int lanes = kLanes<Arch>, floats = kChunk / static_cast<int>(sizeof(float));
  constexpr int chunks = (Vectors * lanes + floats - 1) / floats;
  for (; vectors >= Vectors; vectors -= Vectors) {
    Vec<Arch> sum[Queries][Vectors];
    load_rows<Arch>(sum, out.o, out.stride);
    for (std::int32_t j = 0; j < count; ++j) {
      const std::byte* const row = v.data + j * v.stride;
      Vec<Arch> values[Vectors];
#pragma GCC unroll 8
      for (int i = 0; i < Vectors; ++i) {
        values[i] = E::template widen<Arch>(row, x + i * lanes);
      }
#pragma GCC unroll 8
      for (int r = 0; r < Queries; ++r) {
        const Vec<Arch> weight = splat<Arch>(out.weights[r * out.weights_stride + j]);
#pragma GCC unroll 8
        for (int i = 0; i < Vectors; ++i) Ops<Arch>::accumulate(weight, values[i], sum[r][i]);
      }
#pragma GCC unroll 4
      for (int i = 0; i < chunks; ++i) next.prefetch();
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
  Vec<Arch> sum[Queries][1];
  load_rows<Arch>(sum, out.o, out.stride);
  for (std::int32_t j = 0; j < count; ++j) {
    const Vec<Arch> value = widen_first<Arch, E>(v.data + j * v.stride, x, v.dims - x);
#pragma GCC unroll 8
    for (int r = 0; r < Queries; ++r) {
      Ops<Arch>::accumulate(splat<Arch>(out.weights[r * out.weights_stride + j]), value, sum[r][0]);
    }
  }
  store_rows<Arch>(sum, out.o, out.stride);
}

/// Adds a block of values.
template <class Arch, class E, int Queries>
__attribute__((noinline)) void add_values(DecodeOutputs out, const KeyBlock& v) {
  constexpr int lanes = kLanes<Arch>;
  const std::int32_t vectors = v.rows.dims / lanes, whole = vectors * lanes;
  Chunks<Cache::l1> next(v.next);
  add_columns<Arch, E, Queries, value_vectors<Arch>(Queries)>(out, v.rows, 0, v.count, next,
                                                              vectors);
  if (whole < v.rows.dims) {
    out.o += whole;
    add_last_columns<Arch, E, Queries>(out, v.rows, whole, v.count);
  }
  next.prefetch_rest();
}

}  // namespace
}  // namespace heed::kernels
