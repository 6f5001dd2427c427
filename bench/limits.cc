#include "bench/limits.h"

#include <algorithm>
#include <cstring>
#include <string>

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

/// How a stream over `floats` floats is cut into samples: each covers `floats` of them, `passes`
/// times, and sample s begins at (s · advance) modulo the stream.
struct StreamSamples {
  std::size_t floats = 0, advance = 0;
  std::size_t passes = 1;
  SampleCount count;

  double bytes() const { return static_cast<double>(floats * passes * sizeof(float)); }
};

// Long enough to drown the start of the threads, short enough to be measured beside each workload.
constexpr std::size_t kMeasuredFloats = (std::size_t{1} << 30) / sizeof(float);
constexpr std::size_t kSampleFloats = kMeasuredFloats / 16;

std::size_t whole_steps(std::size_t floats) { return floats / kStreamFloats * kStreamFloats; }

StreamSamples cut_samples(std::size_t floats, Residence residence) {
  StreamSamples samples;
  if (residence == Residence::memory) {
    // An eighth of the stream is as much as the last cache holds: two of them untimed sweep out
    // what it still held of the rest.
    samples.floats = samples.advance = whole_steps(floats / 8);
    samples.count.untimed = 2;
  } else {
    samples.floats = whole_steps(floats);
  }
  const std::size_t size = std::max(samples.floats, kStreamFloats);
  if (residence == Residence::cache) samples.passes = (kSampleFloats + size - 1) / size;
  const std::size_t timed = kMeasuredFloats / (size * samples.passes);
  samples.count.timed = static_cast<int>(std::clamp<std::size_t>(timed, 4, 64));
  return samples;
}

struct Slice {
  std::size_t begin, size;
};

Slice slice_of(std::size_t floats, int ith, int threads) {
  const std::size_t steps = floats / kStreamFloats;
  const auto bound = [&](int i) {
    return steps * static_cast<std::size_t>(i) / static_cast<std::size_t>(threads) * kStreamFloats;
  };
  return {bound(ith), bound(ith + 1) - bound(ith)};
}

/// Calls move(begin, size) for the calling thread's slice of every pass of every sample; returns
/// the best bandwidth, each byte of the stream counted once.
template <class Move>
double stream_gbps(int threads, std::size_t floats, Residence residence, const Move& move) {
  const StreamSamples samples = cut_samples(floats, residence);
  const double seconds = best_seconds(threads, samples.count, [&](int ith, int sample) {
    const Slice slice = slice_of(samples.floats, ith, threads);
    const std::size_t start = static_cast<std::size_t>(sample % 8) * samples.advance;
    for (std::size_t pass = 0; pass < samples.passes; ++pass) move(start + slice.begin, slice.size);
  });
  return samples.bytes() / seconds * 1e-9;
}

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

Status measure_peak(std::string_view isa, int threads, bool pairs, double& gflops) {
  const LimitKernels* kernels = nullptr;
  if (Status status = resolve_isa(isa); !status) return status;
  if (Status status = find_kernels(isa, kernels); !status) return status;
  const bool twice = pairs && kernels->multiply_add_pairs != nullptr;
  const auto multiply_add = twice ? kernels->multiply_add_pairs : kernels->multiply_add;
  // 6 cycles a round where two multiply-adds start in each: about 10 ms.
  constexpr std::int64_t kRounds = std::int64_t{5} << 20;
  const double seconds = best_seconds(threads, {.untimed = 1, .timed = 5},
                                      [&](int, int) { multiply_add(kRounds, 0.5F, 1.0F); });
  const auto operations = static_cast<double>(kRounds * kernels->operations_per_round);
  gflops = (twice ? 2 : 1) * operations * threads / seconds * 1e-9;
  return {};
}

}  // namespace

Status measure_fma_peak(std::string_view isa, int threads, double& gflops) {
  return measure_peak(isa, threads, false, gflops);
}

Status measure_bf16_peak(std::string_view isa, int threads, double& gflops) {
  return measure_peak(isa, threads, true, gflops);
}

Status measure_read_bandwidth(int threads, std::span<const float> memory, Residence residence,
                              double& gbps) {
  const LimitKernels* kernels = nullptr;
  if (Status status = check_memory(memory.size()); !status) return status;
  if (Status status = find_best_kernels(kernels); !status) return status;
  gbps = stream_gbps(threads, memory.size(), residence, [&](std::size_t begin, std::size_t size) {
    kernels->sum(memory.data() + begin, size);
  });
  return {};
}

Status measure_copy_bandwidth(int threads, std::span<float> memory, Residence residence,
                              double& gbps) {
  const LimitKernels* kernels = nullptr;
  if (Status status = check_memory(memory.size()); !status) return status;
  if (Status status = find_best_kernels(kernels); !status) return status;
  const std::size_t half = whole_steps(memory.size() / 2);
  const float* const from = memory.data();
  float* const to = memory.data() + half;
  const auto copy = [&](std::size_t begin, std::size_t size) {
    std::memcpy(to + begin, from + begin, size * sizeof(float));
  };
  const auto stream = [&](std::size_t begin, std::size_t size) {
    kernels->stream_copy(from + begin, to + begin, size);
  };
  gbps = 2 * std::max(stream_gbps(threads, half, residence, copy),
                      stream_gbps(threads, half, residence, stream));
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
  if (Status status = measure_read_bandwidth(threads, inputs, Residence::memory, limits.read_gbps);
      !status) {
    return status;
  }
  return measure_copy_bandwidth(threads, pool.scratch(), Residence::memory, limits.copy_gbps);
}

}  // namespace heed::bench
