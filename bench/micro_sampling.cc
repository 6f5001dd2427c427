// Drawing tokens from 32 rows of 128,256 logits on one thread, and reading the logits three times
// beside it, for each ISA that this machine can run: the bound is twice that. "model" has the few
// likely tokens that models give, "flat" logits of variance 1, of which top-p keeps most.
// `heed_micro_sampling --benchmark_filter=128256` prints what takes how many times as long as the
// reading ("reads3").
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <string>
#include <vector>

#include "heed/convert.h"
#include "heed/cpu.h"
#include "heed/sampling.h"
#include "tests/proof/inputs.h"

namespace heed::bench {
namespace {

constexpr std::int64_t kRows = 32, kLength = 128256;

struct Profile {
  const char* name;
  double deviation;  ///< of the logits; a hundredth of them is three times as far out
};
constexpr Profile kProfiles[] = {{"model", 2.5}, {"flat", 1}};

struct Case {
  const char* name;
  SamplingRule rule;
};
const Case kCases[] = {
    {"greedy", {.temperature = 0}},
    {"softmax", {}},
    {"top_p", {.top_p = 0.9F}},
    {"top_k", {.top_k = 50}},
    {"top_k+top_p+min_p", {.temperature = 0.8F, .top_k = 1000, .top_p = 0.95F, .min_p = 0.05F}},
};

std::vector<float> logits_of(const Profile& profile) {
  std::vector<float> z(static_cast<std::size_t>(kRows * kLength));
  proof::Random random(1);
  for (float& x : z) {
    const bool far = profile.deviation > 1 && random.below(100) == 0;
    x = static_cast<float>(profile.deviation * (far ? 3 : 1) * random.normal());
  }
  return z;
}

/// Reads the logits three times, as fast as one core can: a maximum of eight vectors of floats.
double seconds_of_three_reads(const std::vector<float>& z) {
  double best = 1e9;
  for (int trial = 0; trial < 20; ++trial) {
    const auto start = std::chrono::steady_clock::now();
    for (int pass = 0; pass < 3; ++pass) {
      const auto* words = reinterpret_cast<const std::uint64_t*>(z.data());
      std::uint64_t sums[32] = {};
      for (std::size_t i = 0; i + 32 <= z.size() / 2; i += 32) {
        for (std::size_t j = 0; j < 32; ++j) sums[j] |= words[i + j];
      }
      for (std::uint64_t& sum : sums) benchmark::DoNotOptimize(sum);
    }
    const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
    best = std::min(best, time.count());
  }
  return best;
}

void draw(benchmark::State& state, const std::vector<float>& z, DType type,
          const SamplingRule& rule, std::string_view isa) {
  std::vector<std::uint16_t> narrow(type == DType::f32 ? 0 : z.size());
  InputData data = z.data();
  if (type != DType::f32) {
    data = {narrow.data(), type};
    if (!convert(z.data(), {narrow.data(), type}, std::ssize(z)).ok()) return;
  }
  std::vector<std::int32_t> tokens(kRows);
  std::vector<Draw> draws(kRows);
  SamplingWorkspace workspace;
  const double reads = seconds_of_three_reads(z);
  double seconds = 0, best = 1e9;
  while (state.KeepRunning()) {
    for (Draw& one : draws) ++one.counter;
    const auto start = std::chrono::steady_clock::now();
    const Status status = sample({data, kRows, kLength, kLength}, {&rule, 1}, draws,
                                 {tokens.data()}, {.isa = isa, .workers = 1}, &workspace);
    if (!status) return state.SkipWithError(status.message().c_str());
    seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    best = std::min(best, seconds);
  }
  state.SetItemsProcessed(state.iterations() * kRows * kLength);
  state.counters["best_ms"] = best * 1e3;
  state.counters["reads3_ms"] = reads * 1e3;
  state.counters["reads3"] = best / reads;
}

template <class Bench>
void add([[maybe_unused]] const std::string& name, [[maybe_unused]] const Bench& bench) {
#ifndef __clang_analyzer__  // does not see that the library keeps what is registered
  benchmark::RegisterBenchmark(name.c_str(), bench)->UseRealTime();
#endif
}

void register_isa(std::string_view isa) {
  for (const Profile& profile : kProfiles) {
    for (const Case& c : kCases) {
      for (const DType type : {DType::f32, DType::bf16}) {
        const std::string name = std::string(c.name) + "/" + profile.name + "/" +
                                 std::to_string(kRows) + "x" + std::to_string(kLength) + "/" +
                                 std::string(dtype_info(type).name) + "/" + std::string(isa);
        add(name,
            [=](benchmark::State& state) { draw(state, logits_of(profile), type, c.rule, isa); });
      }
    }
  }
}

}  // namespace
}  // namespace heed::bench

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  for (const heed::IsaInfo& isa : heed::isas()) {
    if (isa.supported) heed::bench::register_isa(isa.name);
  }
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
