#include "bench/bench.h"

#include <algorithm>

#include "bench/attention_case.h"
#include "bench/limits.h"

namespace heed::bench {

std::optional<double> Result::gflops() const {
  if (!operations) return std::nullopt;
  return *operations / (1e-3 * measured.timing.min_ms);
}

double Result::gbps() const { return gigabytes / (1e-3 * measured.timing.min_ms); }

std::optional<double> Result::percent_of_peak() const {
  if (!operations) return std::nullopt;
  return measured.percent_of(*operations, &LimitSample::peak);
}

std::optional<double> Result::percent_of_tile() const {
  if (!operations) return std::nullopt;
  return measured.percent_of(*operations, &LimitSample::tile);
}

double Result::percent_of_bandwidth() const {
  return measured.percent_of(gigabytes, copies ? &LimitSample::copy : &LimitSample::read);
}

std::optional<double> efficiency_of(const Result& result, std::span<const Result> others) {
  const Result* fewest = nullptr;
  for (const Result& other : others) {
    if (other.name != result.name || other.threads >= result.threads) continue;
    if (fewest == nullptr || other.threads < fewest->threads) fewest = &other;
  }
  if (fewest == nullptr) return std::nullopt;
  return fewest->measured.timing.min_ms * fewest->threads /
         (result.measured.timing.min_ms * result.threads);
}

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

}  // namespace heed::bench
