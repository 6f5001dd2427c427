#include "bench/limits.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "bench/gang.h"
#include "bench/limits/kernel.h"
#include "bench/memory.h"
#include "heed/attention.h"
#include "heed/cpu.h"

namespace heed::bench {

#define HEED_LIMITS_ROW(isa) extern const LimitKernels limits_##isa;
#include "limits_rows.inc"
#undef HEED_LIMITS_ROW

namespace {

constexpr const LimitKernels* kTables[] = {
#define HEED_LIMITS_ROW(isa) &limits_##isa,
#include "limits_rows.inc"
#undef HEED_LIMITS_ROW
};

Status find_kernels(std::string_view isa, const LimitKernels*& kernels) {
  for (const LimitKernels* table : kTables) {
    if (isa == table->name) {
      kernels = table;
      return {};
    }
  }
  return {StatusCode::internal, "no limits are built for the ISA '" + std::string(isa) + "'"};
}

Status find_best_kernels(const LimitKernels*& kernels) {
  for (const IsaInfo& isa : isas()) {
    if (isa.supported) return find_kernels(isa.name, kernels);
  }
  return {StatusCode::unsupported, "this machine supports no ISA of this build"};
}

// Long enough to drown the start of the threads, short enough to be measured beside each workload.
constexpr std::size_t kMeasuredFloats = (std::size_t{1} << 30) / sizeof(float);
constexpr std::size_t kSampleFloats = kMeasuredFloats / 16;

std::size_t whole_steps(std::size_t floats) { return floats / kStreamFloats * kStreamFloats; }

struct Share {
  std::size_t begin, size;
};

Share share_of(std::size_t floats, int ith, int threads) {
  const std::size_t steps = floats / kStreamFloats;
  const auto bound = [&](int i) {
    return steps * static_cast<std::size_t>(i) / static_cast<std::size_t>(threads) * kStreamFloats;
  };
  return {bound(ith), bound(ith + 1) - bound(ith)};
}

double best_seconds(const std::vector<GangTime>& times) {
  return std::ranges::min(times, {}, &GangTime::wall).wall;
}

/// Calls move(begin, size) for the calling thread's slice of every sample, an eighth of the stream;
/// returns the best bandwidth, each byte counted once. An eighth is as much as the last cache
/// holds: two of them untimed sweep out what it still held of the rest.
template <class Move>
double stream_gbps(int threads, std::size_t floats, const Move& move) {
  const std::size_t eighth = whole_steps(floats / 8);
  const std::size_t timed = std::clamp<std::size_t>(kMeasuredFloats / eighth, 4, 64);
  const SampleCount count{.untimed = 2, .timed = static_cast<int>(timed)};
  const auto times = run_gang(threads, count, [&](int ith, int sample) {
    const Share share = share_of(eighth, ith, threads);
    move(static_cast<std::size_t>(sample % 8) * eighth + share.begin, share.size);
  });
  return static_cast<double>(eighth * sizeof(float)) / best_seconds(times) * 1e-9;
}

/// One sample of a stream, of which a part from `start` on is passed over.
template <class Move>
LimitRate stream_rate(int threads, std::size_t floats, Residence residence, std::size_t start,
                      const Move& move) {
  const bool cached = residence == Residence::cache;
  const std::size_t most = kSampleFloats * static_cast<std::size_t>(threads);
  const std::size_t size = whole_steps(cached ? floats : std::min(floats / 8, most));
  const std::size_t passes = cached ? (kSampleFloats / 4 + size - 1) / size : 1;
  // Where a part begins, another one ends: the last one starts early enough to end with the memory.
  const std::size_t begin = cached ? 0 : std::min(whole_steps(start), whole_steps(floats - size));
  const auto times = run_gang(threads, {.untimed = cached ? 1 : 0}, [&](int ith, int) {
    const Share share = share_of(size, ith, threads);
    for (std::size_t pass = 0; pass < passes; ++pass) move(begin + share.begin, share.size);
  });
  const double gigabytes = 1e-9 * static_cast<double>(size * passes * sizeof(float));
  return {gigabytes / times[0].wall, gigabytes / times[0].own};
}

/// Copies from the first half of a memory to the second.
struct Copies {
  Copies(const LimitKernels* table, std::span<float> memory)
      : kernels(table),
        half(whole_steps(memory.size() / 2)),
        from(memory.data()),
        to(from + half) {}

  void copy(std::size_t begin, std::size_t size) const {
    std::memcpy(to + begin, from + begin, size * sizeof(float));
  }
  void stream(std::size_t begin, std::size_t size) const {
    kernels->stream_copy(from + begin, to + begin, size);
  }

  const LimitKernels* kernels;
  std::size_t half;
  float *from, *to;
};

Status check_memory(std::size_t floats) {
  if (floats >= kLeastStreamFloats) return {};
  return {StatusCode::invalid_argument,
          "memory (" + std::to_string(floats) + " floats) is too small to measure its bandwidth"};
}

}  // namespace

Status resolve_isa(std::string_view& isa) {
  Plan plan;
  AttentionConfig config;
  config.head_dim = 1;
  Batch nothing;
  nothing.sequences = 0;
  if (Status status = plan_attention(config, nothing, {.isa = isa, .workers = 1}, plan); !status) {
    return status;
  }
  isa = plan.isa();
  return {};
}

namespace {

/// Multiply-adds of one kind, and how many operations a round of them is.
struct Loop {
  float (*run)(std::int64_t rounds, float factor, float addend) = nullptr;
  double operations = 0;
  std::int64_t rounds = 0;  ///< about 4 ms, where two multiply-adds start in a cycle
};

Status find_loop(std::string_view isa, Arithmetic arithmetic, bool pairs, Loop& loop) {
  const LimitKernels* kernels = nullptr;
  if (Status status = resolve_isa(isa); !status) return status;
  if (Status status = find_kernels(isa, kernels); !status) return status;
  const bool tile = arithmetic == Arithmetic::tile;
  const bool twice = pairs && kernels->multiply_add_pairs != nullptr;
  const auto floats = tile ? kernels->tile : kernels->multiply_add;
  const auto halves = tile ? kernels->tile_pairs : kernels->multiply_add_pairs;
  loop.run = twice ? halves : floats;
  loop.operations = static_cast<double>(tile ? kernels->operations_per_tile_round
                                             : kernels->operations_per_round);
  if (twice) loop.operations *= 2;
  loop.rounds = tile ? std::int64_t{1} << 12 : std::int64_t{1} << 21;
  return {};
}

/// Calls measure(floats, read), where read(begin, size) reads floats of the memory.
template <class Measure>
Status with_reads(std::span<const float> memory, const Measure& measure) {
  const LimitKernels* kernels = nullptr;
  if (Status status = check_memory(memory.size()); !status) return status;
  if (Status status = find_best_kernels(kernels); !status) return status;
  measure(memory.size(),
          [&](std::size_t begin, std::size_t size) { kernels->sum(memory.data() + begin, size); });
  return {};
}

/// Calls measure(floats, copy, stream), which copy floats of the first half of the memory to the
/// second.
template <class Measure>
Status with_copies(std::span<float> memory, const Measure& measure) {
  const LimitKernels* kernels = nullptr;
  if (Status status = check_memory(memory.size()); !status) return status;
  if (Status status = find_best_kernels(kernels); !status) return status;
  const Copies copies(kernels, memory);
  measure(
      copies.half, [&](std::size_t begin, std::size_t size) { copies.copy(begin, size); },
      [&](std::size_t begin, std::size_t size) { copies.stream(begin, size); });
  return {};
}

}  // namespace

Status sample_arithmetic(std::string_view isa, int threads, Arithmetic arithmetic, bool pairs,
                         LimitRate& gflops) {
  Loop loop;
  if (Status status = find_loop(isa, arithmetic, pairs, loop); !status) return status;
  // A part of it untimed, in which the clock settles.
  const auto times = run_gang(threads, {}, [&](int, int sample) {
    loop.run(sample == 0 ? loop.rounds / 4 : loop.rounds, 0.5F, 1.0F);
  });
  const double operations = 1e-9 * loop.operations * static_cast<double>(loop.rounds) * threads;
  gflops = {operations / times[0].wall, operations / times[0].own};
  return {};
}

Status sample_read(int threads, std::span<const float> memory, Residence residence,
                   std::size_t start, LimitRate& gbps) {
  return with_reads(memory, [&](std::size_t floats, const auto& read) {
    gbps = stream_rate(threads, floats, residence, start, read);
  });
}

Status sample_copy(int threads, std::span<float> memory, Residence residence, std::size_t start,
                   LimitRate& gbps) {
  return with_copies(memory, [&](std::size_t floats, const auto& copy, const auto& stream) {
    const LimitRate copied = stream_rate(threads, floats, residence, start, copy);
    const LimitRate streamed = stream_rate(threads, floats, residence, start, stream);
    gbps = {2 * std::max(copied.wall, streamed.wall), 2 * std::max(copied.own, streamed.own)};
  });
}

Status measure_fma_peak(std::string_view isa, int threads, double& gflops) {
  Loop loop;
  if (Status status = find_loop(isa, Arithmetic::registers, false, loop); !status) return status;
  const auto times = run_gang(threads, {.untimed = 1, .timed = 5},
                              [&](int, int) { loop.run(2 * loop.rounds, 0.5F, 1.0F); });
  const double operations = loop.operations * static_cast<double>(2 * loop.rounds) * threads;
  gflops = operations / best_seconds(times) * 1e-9;
  return {};
}

Status measure_limits(std::string_view isa, int threads, MachineLimits& limits) {
  Pool pool;
  const auto bytes = static_cast<std::size_t>(stream_size().bytes);
  if (Status status = Pool::create(bytes / sizeof(float), Pages::huge, pool); !status) {
    return status;
  }
  const std::span<const float> inputs = pool.inputs({});
  if (Status status = measure_fma_peak(isa, threads, limits.fma_gflops); !status) return status;
  const auto gbps = [&](std::size_t floats, const auto& move) {
    return stream_gbps(threads, floats, move);
  };
  if (Status status = with_reads(
          inputs,
          [&](std::size_t floats, const auto& read) { limits.read_gbps = gbps(floats, read); });
      !status) {
    return status;
  }
  return with_copies(pool.scratch(), [&](std::size_t floats, const auto& copy, const auto& stream) {
    limits.copy_gbps = 2 * std::max(gbps(floats, copy), gbps(floats, stream));
  });
}

}  // namespace heed::bench
