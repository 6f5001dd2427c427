// The loops behind the limits, one table per ISA. Like kernels/interface.h: plain data, so that
// this header can be compiled with and without -mavx….
#pragma once

#include <cstddef>
#include <cstdint>

namespace heed::bench {

struct LimitKernels {
  const char* name;
  /// Operations (a multiply-add counts as two) of one round of `multiply_add`, and of `tile`.
  std::int64_t operations_per_round, operations_per_tile_round;
  /// `rounds` of multiply-adds on registers; the result depends on each of them.
  float (*multiply_add)(std::int64_t rounds, float factor, float addend);
  /// The same with products of bf16, two for each float of a round, so that operations count twice;
  /// null where the ISA has none.
  float (*multiply_add_pairs)(std::int64_t rounds, float factor, float addend);
  /// `rounds` of the multiply-adds of a register tile of the attention kernels, whose operands are
  /// loaded from L1: the most that a kernel which keeps all else out of its way could do.
  float (*tile)(std::int64_t rounds, float factor, float addend);
  /// The same with products of bf16, as above.
  float (*tile_pairs)(std::int64_t rounds, float factor, float addend);
  /// The sum of x[0 … n), n a multiple of kStreamFloats, x aligned to a cache line.
  float (*sum)(const float* x, std::size_t n);
  /// y = x with stores that bypass the cache; n and the alignment as above.
  void (*stream_copy)(const float* x, float* y, std::size_t n);
};

/// Floats per step of the streaming loops: a whole number of cache lines on every ISA.
inline constexpr std::size_t kStreamFloats = 128;

}  // namespace heed::bench
