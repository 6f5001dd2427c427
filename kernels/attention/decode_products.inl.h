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
#include "kernels/interface.h"
#include "kernels/vector/lanes.inl.h"

namespace heed::kernels {
namespace {

/// Up to kBlockKeys rows of keys or of values.
struct KeyRows {
  const float* data = nullptr;
  std::int32_t count = 0;
};

/// A block of 1 … kBlockKeys rows, and the two blocks after it, as far as there are any.
struct KeyBlock {
  Rows rows;
  std::int32_t count;
  KeyRows next, after_next;
};

/// Floats that are prefetched together: two lines.
inline constexpr std::int32_t kChunk = 2 * kAlignment / sizeof(float);

/// Rows that are prefetched chunk by chunk, in the order in which they lie.
template <Cache Into>
class Chunks {
 public:
  HEED_INLINE Chunks(const KeyRows& rows, const KeyBlock& like)
      : row_(rows.data), left_(rows.count), stride_(like.rows.stride), dims_(like.rows.dims) {}

  /// Prefetches the next chunk. Every row begins with a new chunk.
  HEED_INLINE void prefetch() {
    if (left_ == 0) return;
    constexpr std::int32_t line = kAlignment / sizeof(float);
#pragma GCC unroll 2
    for (std::int32_t x = 0; x < kChunk; x += line) {
      __builtin_prefetch(row_ + x_ + x, 0, static_cast<int>(Into));
    }
    x_ += kChunk;
    if (x_ < dims_) return;
    x_ = 0;
    row_ += stride_;
    --left_;
  }

  HEED_INLINE void prefetch_rest() {
    while (left_ > 0) prefetch();
  }

 private:
  const float* row_;
  std::int32_t left_;
  std::ptrdiff_t stride_;
  std::int32_t dims_, x_ = 0;
};

/// The blocks after a block: the next one is prefetched into L1, the one after it into L2.
class Upcoming {
 public:
  HEED_INLINE explicit Upcoming(const KeyBlock& block)
      : next_(block.next, block), after_next_(block.after_next, block) {}

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
template <class Arch>
HEED_INLINE void load_columns(const KeyBlock& block, std::int32_t first, std::int32_t x,
                              Vec<Arch> (&columns)[kLanes<Arch>]) {
  constexpr int lanes = kLanes<Arch>;
  const Rows& k = block.rows;
  const float* const row = k.data + first * k.stride + x;
  if (block.count - first >= lanes && x + lanes <= k.dims) {
#pragma GCC unroll 16
    for (int i = 0; i < lanes; ++i) columns[i] = load<Arch>(row + i * k.stride);
  } else {
    const MaskedVector<Arch> access(k.dims - x < lanes ? k.dims - x : lanes);
    for (int i = 0; i < lanes; ++i) {
      columns[i] =
          first + i < block.count ? access.load(row + i * k.stride, 0.0F) : splat<Arch>(0.0F);
    }
  }
  Ops<Arch>::transpose(columns);
}

/// Scores a block of keys.
template <class Arch, int Queries>
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
      load_columns<Arch>(k, b * lanes, x, columns);
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
template <class Arch, int Queries, int Vectors>
HEED_INLINE void add_columns(DecodeOutputs out, KeyRows v, std::ptrdiff_t v_stride,
                             Chunks<Cache::l1>& next, std::int32_t vectors) {
  constexpr int lanes = kLanes<Arch>, chunks = (Vectors * lanes + kChunk - 1) / kChunk;
  for (; vectors >= Vectors; vectors -= Vectors) {
    Vec<Arch> sum[Queries][Vectors];
    load_rows<Arch>(sum, out.o, out.stride);
    for (std::int32_t j = 0; j < v.count; ++j) {
      multiply_step<Arch, Broadcast::along_steps>(out.weights + j, out.weights_stride,
                                                  v.data + j * v_stride, sum);
#pragma GCC unroll 4
      for (int i = 0; i < chunks; ++i) next.prefetch();
    }
    store_rows<Arch>(sum, out.o, out.stride);
    v.data += Vectors * lanes;
    out.o += Vectors * lanes;
  }
  if constexpr (Vectors > 1) {
    if (vectors > 0) add_columns<Arch, Queries, Vectors / 2>(out, v, v_stride, next, vectors);
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

/// add_values for the last `dims` dimensions of rows that do not end with a whole vector.
template <class Arch, int Queries>
HEED_INLINE void add_last_columns(const DecodeOutputs& out, KeyRows v, std::ptrdiff_t v_stride,
                                  std::int32_t dims) {
  const MaskedVector<Arch> last(dims);
  Vec<Arch> sum[Queries][1];
  load_rows<Arch>(sum, out.o, out.stride);
  for (std::int32_t j = 0; j < v.count; ++j) {
    const Vec<Arch> value = last.load(v.data + j * v_stride, 0.0F);
#pragma GCC unroll 8
    for (int r = 0; r < Queries; ++r) {
      Ops<Arch>::accumulate(splat<Arch>(out.weights[r * out.weights_stride + j]), value, sum[r][0]);
    }
  }
  store_rows<Arch>(sum, out.o, out.stride);
}

/// Adds a block of values.
template <class Arch, int Queries>
__attribute__((noinline)) void add_values(DecodeOutputs out, const KeyBlock& v) {
  constexpr int lanes = kLanes<Arch>;
  const std::int32_t vectors = v.rows.dims / lanes, whole = vectors * lanes;
  Chunks<Cache::l1> next(v.next, v);
  add_columns<Arch, Queries, value_vectors<Arch>(Queries)>(out, {v.rows.data, v.count},
                                                           v.rows.stride, next, vectors);
  if (whole < v.rows.dims) {
    out.o += whole;
    add_last_columns<Arch, Queries>(out, {v.rows.data + whole, v.count}, v.rows.stride,
                                    v.rows.dims - whole);
  }
  next.prefetch_rest();
}

}  // namespace
}  // namespace heed::kernels
