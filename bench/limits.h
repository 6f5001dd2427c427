// What this machine can do at most: the figures that percentages in reports refer to. Each is the
// best of several short samples, with all threads at work at once; threads are not pinned.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include "heed/status.h"

namespace heed::bench {

/// Where the memory of a bandwidth is found: in main memory, by passing through so much of it that
/// no cache still holds what comes next (8 times the last cache), or wherever it stays when the
/// same memory is passed over again and again.
enum class Residence { memory, cache };

/// Replaces a name of PlanOptions::isa by that of the ISA which a plan then uses; fails as it does.
Status resolve_isa(std::string_view& isa);

/// The f32 multiply-add peak of the ISA `isa` (empty: heed's choice) on `threads` threads, counting
/// two operations each, from a loop that never leaves the registers: 10⁹ operations per second.
Status measure_fma_peak(std::string_view isa, int threads, double& gflops);

/// The least memory that bandwidths can be measured over, in floats.
inline constexpr std::size_t kLeastStreamFloats = 1 << 13;

/// One sample of a limit, in 10⁹ operations or bytes per second.
struct LimitRate {
  double wall = 0;  ///< by the clock
  double own = 0;   ///< without the time in which others had the threads' CPUs
};

/// Multiply-adds on registers alone, or those of a register tile of the attention kernels, whose
/// operands come from L1.
enum class Arithmetic { registers, tile };

/// Samples of a few ms each, to be taken between the runs of a workload. `pairs`: of products of
/// bf16 where the ISA has them.
Status sample_arithmetic(std::string_view isa, int threads, Arithmetic arithmetic, bool pairs,
                         LimitRate& gflops);

/// The same of a streaming sum, each thread over a slice: over a part of the memory that begins at
/// `start`, or, in a cache, over all of it. The machine's best vectors do it, whatever ISA the
/// figure is compared with.
Status sample_read(int threads, std::span<const float> memory, Residence residence,
                   std::size_t start, LimitRate& gbps);

/// The same of a copy from the first half of the memory, at `start`, to the second, bytes read plus
/// bytes written: the faster of memcpy and of vector loads with non-temporal stores.
Status sample_copy(int threads, std::span<float> memory, Residence residence, std::size_t start,
                   LimitRate& gbps);

struct MachineLimits {
  double fma_gflops = 0;
  double read_gbps = 0;
  double copy_gbps = 0;
};

/// All three, the bandwidths from main memory, over as much of it as stream_size() says
/// (bench/memory.h): for `heed info --measure`. Takes about a second.
Status measure_limits(std::string_view isa, int threads, MachineLimits& limits);

}  // namespace heed::bench
