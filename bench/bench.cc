#include "bench/bench.h"

#include <algorithm>

#include "bench/attention_case.h"

namespace heed::bench {

std::optional<double> Result::percent_of_peak() const {
  if (!gflops) return std::nullopt;
  return 100 * *gflops / peak_gflops;
}

double Result::percent_of_bandwidth() const { return 100 * gbps / copy_gbps.value_or(read_gbps); }

std::size_t pool_floats(const Workload& workload, const Setting& setting) {
  std::size_t once = 0;
  if (const auto* attention = std::get_if<AttentionWorkload>(&workload.what)) {
    once = AttentionCase(*attention).kv_copy_bytes() / sizeof(float);
  } else {
    const auto& softmax = std::get<SoftmaxWorkload>(workload.what);
    once = 2 * static_cast<std::size_t>(softmax.rows * softmax.length);
  }
  return std::max(once + (setting.warm ? 0 : setting.stream_floats), kLeastStreamFloats);
}

std::unique_ptr<Bench> make_bench(const Workload& workload, const Setting& setting, Pool& pool) {
  if (const auto* attention = std::get_if<AttentionWorkload>(&workload.what)) {
    return make_attention_bench(*attention, setting, pool);
  }
  return make_softmax_bench(std::get<SoftmaxWorkload>(workload.what), setting, pool);
}

std::size_t copies_for(std::size_t floats, std::size_t stream, std::size_t room) {
  return std::max<std::size_t>(1, std::min((stream + floats - 1) / floats, room / floats));
}

Status raise_limits(const Setting& setting, std::span<const float> memory, Residence residence,
                    Result& result) {
  double gflops = 0, gbps = 0;
  const bool pairs = result.q_type == DType::bf16 && result.kv_type == DType::bf16;
  const auto measure_peak = pairs ? measure_bf16_peak : measure_fma_peak;
  if (Status status = measure_peak(setting.isa, result.threads, gflops); !status) return status;
  if (Status status = measure_read_bandwidth(result.threads, memory, residence, gbps); !status) {
    return status;
  }
  result.peak_gflops = std::max(result.peak_gflops, gflops);
  result.read_gbps = std::max(result.read_gbps, gbps);
  return {};
}

}  // namespace heed::bench
