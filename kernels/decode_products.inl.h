// The two products of the kernel for few query rows, over one block of keys at a time:
//
//   score_block   logits[r][j] = Σ_x q[r][x] · k[j][x]   lanes are keys, transposed in registers
//   add_values    o[r][x] += Σ_j p[r][j] · v[j][x]       lanes are the values' dimensions
//
// Both keep the canonical order: one fma chain along x for a logit, along the keys for an output.
//
// Memory decides the speed, and it is slow for two reasons here. K is read lanes rows at a time,
// many short streams that no hardware prefetcher follows; and software prefetches are dropped where
// many are under way. So the lines of the next block are prefetched, spread over the work on this
// one, and before a block is used it is read once in address order: most of it is there by then,
// and the hardware prefetchers bring what is not. bench/README.md has figures.
#pragma once

#include "kernels/abi.h"
#include "kernels/incoming.inl.h"
#include "kernels/lanes.inl.h"
#include "kernels/microkernel.inl.h"
#include "kernels/transpose.inl.h"

namespace heed::kernels {
namespace {

/// Registers of the vector unit.
template <class Arch>
inline constexpr int kRegisters = kLanes<Arch> == 16 ? 32 : 16;

/// Up to kBlockKeys rows of keys or of values, and those that will be needed after them.
struct KeyBlock {
  Rows rows;
  std::int32_t count;  ///< 1 … kBlockKeys
  const float* next;
  std::int32_t next_count;  ///< 0 … kBlockKeys
};

/// Reads each line of the block once, in the order in which they lie.
HEED_INLINE void read_in_order(const KeyBlock& block) {
  constexpr std::int32_t line = kAlignment / sizeof(float);
  const float* row = block.rows.data;
  for (std::int32_t j = 0; j < block.count; ++j, row += block.rows.stride) {
    for (std::int32_t x = 0; x < block.rows.dims; x += line) {
      asm volatile("" : : "r"(__builtin_bit_cast(std::int32_t, row[x])));
    }
  }
}

/// The block after this one, of which a slice is prefetched at a time.
class NextBlock {
 public:
  HEED_INLINE NextBlock(const KeyBlock& block, std::int32_t slices)
      : rows_{block.next, block.rows.stride, block.rows.dims},
        count_(block.next_count),
        slice_((kBlockKeys + slices - 1) / slices) {}

  HEED_INLINE void prefetch_slice() {
    const std::int32_t now = count_ < slice_ ? count_ : slice_;
    for (std::int32_t j = 0; j < now; ++j, rows_.data += rows_.stride) {
      prefetch_row<Cache::l1>(rows_.data, rows_.dims);
    }
    count_ -= now;
  }

 private:
  Rows rows_;
  std::int32_t count_, slice_;
};

/// Query rows and their logits, which may be written for whole blocks of keys. Queries are filled
/// up with zeros to whole vectors.
struct FewQueries {
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
    const Part<Arch> part(k.dims - x < lanes ? k.dims - x : lanes);
    for (int i = 0; i < lanes; ++i) {
      columns[i] =
          first + i < block.count ? part.load(row + i * k.stride, 0.0F) : splat<Arch>(0.0F);
    }
  }
  transpose(columns);
}

/// Scores a block of keys.
template <class Arch, int Queries>
__attribute__((noinline)) void score_block(const FewQueries& queries, const KeyBlock& k) {
  constexpr int lanes = kLanes<Arch>, vectors = kBlockKeys / lanes;
  const std::int32_t dims = k.rows.dims;
  read_in_order(k);
  NextBlock next(k, (dims + lanes - 1) / lanes);
  Vec<Arch> sum[vectors][Queries];
  clear(sum);
  for (std::int32_t x = 0; x < dims; x += lanes) {
    next.prefetch_slice();
#pragma GCC unroll 4
    for (int b = 0; b < vectors; ++b) {
      Vec<Arch> columns[lanes];
      load_columns<Arch>(k, b * lanes, x, columns);
#pragma GCC unroll 16
      for (int i = 0; i < lanes; ++i) {
#pragma GCC unroll 8
        for (int r = 0; r < Queries; ++r) {
          const Vec<Arch> q = splat<Arch>(queries.q[r * queries.stride + x + i]);
          sum[b][r] = Ops<Arch>::fma(q, columns[i], sum[b][r]);
        }
      }
    }
  }
#pragma GCC unroll 16
  for (int b = 0; b < vectors; ++b) {
#pragma GCC unroll 8
    for (int r = 0; r < Queries; ++r) {
      store<Arch>(queries.logits + r * queries.logits_stride + b * lanes, sum[b][r]);
    }
  }
}

/// Weights of few query rows and their outputs, whose rows are whole vectors.
struct FewOutputs {
  const float* weights;
  std::ptrdiff_t weights_stride;
  float* o;
  std::ptrdiff_t stride;
};

/// add_values for `vectors` vectors of dimensions, `Vectors` at a time.
template <class Arch, int Queries, int Vectors>
HEED_INLINE void add_columns(FewOutputs out, const float* v, std::ptrdiff_t v_stride,
                             std::int32_t keys, std::int32_t vectors) {
  constexpr int lanes = kLanes<Arch>;
  for (; vectors >= Vectors; vectors -= Vectors, v += Vectors * lanes, out.o += Vectors * lanes) {
    Vec<Arch> sum[Queries][Vectors];
    load_rows<Arch>(sum, out.o, out.stride);
    multiply_accumulate<Arch, Broadcast::along_steps>(out.weights, out.weights_stride, v, v_stride,
                                                      keys, sum);
    store_rows<Arch>(sum, out.o, out.stride);
  }
  if constexpr (Vectors > 1) {
    if (vectors > 0) add_columns<Arch, Queries, Vectors / 2>(out, v, v_stride, keys, vectors);
  }
}

/// The most vectors of dimensions, a power of two, whose sums, values and one weight fit the
/// registers; 8 are enough to hide the latency of a single row's chains.
template <class Arch>
constexpr int value_vectors(int queries) {
  int vectors = 8;
  while (queries * vectors + vectors + 1 > kRegisters<Arch>) vectors /= 2;
  return vectors;
}

/// Adds a block of values.
template <class Arch, int Queries>
__attribute__((noinline)) void add_values(const FewOutputs& out, const KeyBlock& v) {
  read_in_order(v);
  NextBlock(v, 1).prefetch_slice();
  add_columns<Arch, Queries, value_vectors<Arch>(Queries)>(out, v.rows.data, v.rows.stride, v.count,
                                                           v.rows.dims / kLanes<Arch>);
}

}  // namespace
}  // namespace heed::kernels
