// The register tile of the matrix products of attention: Sᵀ = K·Qᵀ and Oᵀ += Vᵀ·Pᵀ.
//
//   acc[i][v] += a(i, s) · b[s][v]      for steps s in order; one fma chain per element
//
// `a` is the broadcast operand, read in place from keys (rows i apart by the key stride, steps
// along head_dim) or values (rows along head_dim, steps apart by the value stride); `b` is Qᵀ or
// Pᵀ, its lanes query rows.
//
// Registers: rows · vectors accumulators + vectors of b + one broadcast must not exceed the
// register file, and at least 2 · 4 accumulators must be in flight to cover two FMA pipes of
// latency 4:
//   AVX-512: 8 · 3 + 3 + 1 = 28 of 32 registers; 11 loads per 24 multiply-adds
//   AVX2:    4 · 3 + 3 + 1 = 16 of 16 registers;  7 loads per 12 multiply-adds
//   NEON:    4 · 6 + 6 + 1 = 31 of 32 registers; 10 loads per 24 multiply-adds
// so the FMA pipes, not the two load ports, are the limit. On aarch64 a broadcast takes a vector
// pipe besides the load, so few rows and many vectors are better there: 4 beside 24 multiply-adds.
#pragma once

#include "kernels/attention/tile_loader.inl.h"
#include "kernels/interface.h"
#include "kernels/vector/simd.inl.h"

namespace heed::kernels {
namespace {

/// Products of floats.
struct FloatProducts {
  static constexpr bool kPairs = false;
  /// sum += a · b.
  template <class Arch>
  static HEED_INLINE void accumulate(Vec<Arch> a, Vec<Arch> b, Vec<Arch>& sum) {
    Ops<Arch>::accumulate(a, b, sum);
  }
};

/// The shape of an ISA's register tile, and its products: with P::kPairs a float holds two bf16
/// numbers, whose products are added to the sum, that of the upper ones first.
template <class A, int Rows, int Vectors, class P = FloatProducts>
struct Tile {
  using Arch = A;
  using Products = P;
  static constexpr int kRows = Rows;        ///< broadcast rows
  static constexpr int kVectors = Vectors;  ///< vectors of query rows

  /// Broadcast rows of a tile of `vectors` vectors: of narrower ones as many as make twelve sums,
  /// half as many again as the latency of multiply-adds asks for, an even number.
  static constexpr int rows(int vectors) {
    if (vectors == Vectors) return Rows;
    const int enough = (12 / vectors + 1) / 2 * 2;
    return Rows < enough ? enough : Rows;
  }
};

template <class V, int Rows, int Vectors>
HEED_INLINE void clear(V (&tile)[Rows][Vectors]) {
#pragma GCC unroll 16
  for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) tile[i][v] = V(0.0F);
  }
}

template <class Arch, int Rows, int Vectors>
HEED_INLINE void load_rows(Vec<Arch> (&tile)[Rows][Vectors], const float* c,
                           std::ptrdiff_t stride) {
#pragma GCC unroll 16
  for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 16
    for (int v = 0; v < Vectors; ++v) tile[i][v] = load<Arch>(c + i * stride + v * kLanes<Arch>);
  }
}

template <class Arch, int Rows, int Vectors>
HEED_INLINE void store_rows(const Vec<Arch> (&tile)[Rows][Vectors], float* c,
                            std::ptrdiff_t stride) {
#pragma GCC unroll 16
  for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 16
    for (int v = 0; v < Vectors; ++v) store<Arch>(c + i * stride + v * kLanes<Arch>, tile[i][v]);
  }
}

/// How the broadcast operand lies in memory: one of the two strides is 1, and the compiler knows.
enum class Broadcast { along_steps, along_rows };

/// One step: `a` at step s, `b` at row s.
template <class P, class Arch, Broadcast Order, int Rows, int Vectors>
HEED_INLINE void multiply_step(const float* a, std::ptrdiff_t a_stride, const float* b,
                               Vec<Arch> (&acc)[Rows][Vectors]) {
  Vec<Arch> columns[Vectors];
#pragma GCC unroll 8
  for (int v = 0; v < Vectors; ++v) columns[v] = load<Arch>(b + v * kLanes<Arch>);
#pragma GCC unroll 16
  for (int i = 0; i < Rows; ++i) {
    const Vec<Arch> x = splat<Arch>(Order == Broadcast::along_steps ? a[i * a_stride] : a[i]);
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) P::template accumulate<Arch>(x, columns[v], acc[i][v]);
  }
}

template <class P, class Arch, Broadcast Order, int Rows, int Vectors>
HEED_INLINE void multiply_accumulate(const float* a, std::ptrdiff_t a_stride, const float* b,
                                     std::ptrdiff_t b_stride, std::ptrdiff_t steps,
                                     Vec<Arch> (&acc)[Rows][Vectors]) {
  // Of 64 or 128 turns a core does not foresee the last one; of 16 or 32 it does.
#pragma GCC unroll 4
  for (std::ptrdiff_t s = 0; s < steps; ++s) {
    multiply_step<P, Arch, Order>(a, a_stride, b, acc);
    a += Order == Broadcast::along_steps ? 1 : a_stride;
    b += b_stride;
  }
}

/// Prefetch steps for each register tile of `vectors` vectors. A narrow block is often the only one
/// that reads a tile, so that each of its register tiles prefetches several rows of the next one,
/// of which some would be dropped if they were prefetched at once.
constexpr int slices_per_tile(int vectors) { return vectors <= 2 ? 4 : 1; }

/// multiply_accumulate in `Slices` slices of steps, with a prefetch step between them.
template <class P, class Arch, Broadcast Order, int Slices, int Rows, int Vectors>
HEED_INLINE void multiply_in_slices(const float* a, std::ptrdiff_t a_stride, const float* b,
                                    std::ptrdiff_t b_stride, std::ptrdiff_t steps,
                                    Vec<Arch> (&acc)[Rows][Vectors],
                                    TileLoader<Arch, P::kPairs>& ahead) {
  for (int left = Slices; left > 0; --left) {
    const std::ptrdiff_t count = steps / left;
    if (left < Slices) ahead.prefetch_step();
    multiply_accumulate<P, Arch, Order>(a, a_stride, b, b_stride, count, acc);
    a += count * (Order == Broadcast::along_steps ? 1 : a_stride);
    b += count * b_stride;
    steps -= count;
  }
}

/// The operands of multiply_rows and the strides of their rows, in floats. Rows of b and c have
/// `Vectors` vectors.
struct Product {
  const float* a;
  std::ptrdiff_t a_stride;
  const float* b;
  std::ptrdiff_t b_stride;
  std::ptrdiff_t steps;
  float* c;
  std::ptrdiff_t c_stride;
  std::ptrdiff_t rows;
  bool overwrite;  ///< c = instead of c +=
};

/// The largest power of two below a number of rows of at least 2.
constexpr int fewer_rows(int rows) {
  int fewer = 1;
  while (2 * fewer < rows) fewer *= 2;
  return fewer;
}

/// c[i][·] = or += Σ a(i, s) · b[s][·] for any number of rows: whole register tiles first, then
/// smaller ones, so that a remainder does not fall back to single rows at once.
template <class P, class Arch, Broadcast Order, int Rows, int Vectors>
HEED_INLINE void multiply_rows(Product p, TileLoader<Arch, P::kPairs>& ahead) {
  const std::ptrdiff_t row_step = Order == Broadcast::along_steps ? p.a_stride : 1;
  for (; p.rows >= Rows; p.rows -= Rows, p.a += Rows * row_step, p.c += Rows * p.c_stride) {
    // Before there are sums, which would go to memory and back.
    ahead.prefetch_step();
    Vec<Arch> acc[Rows][Vectors];
    if (p.overwrite) {
      clear(acc);
    } else {
      load_rows<Arch>(acc, p.c, p.c_stride);
    }
    multiply_in_slices<P, Arch, Order, slices_per_tile(Vectors)>(p.a, p.a_stride, p.b, p.b_stride,
                                                                 p.steps, acc, ahead);
    store_rows<Arch>(acc, p.c, p.c_stride);
  }
  if constexpr (Rows > 1) {
    if (p.rows > 0) multiply_rows<P, Arch, Order, fewer_rows(Rows), Vectors>(p, ahead);
  }
}

}  // namespace
}  // namespace heed::kernels
