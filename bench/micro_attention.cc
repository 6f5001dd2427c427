// Single pieces of attention: the exponentials, one work item, planning, and the smallest call. For
// each ISA that this machine can run.
#include <benchmark/benchmark.h>

#include <cmath>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "heed/attention.h"
#include "heed/cpu.h"
#include "kernels/interface.h"
#include "kernels/scratch.h"
#include "runtime/cpu/dispatch.h"
#include "tests/proof/inputs.h"

namespace heed::bench {
namespace {

/// Uninitialised floats, aligned as the kernels ask for.
class Scratch {
 public:
  explicit Scratch(std::size_t floats)
      : data_(static_cast<float*>(::operator new(floats * sizeof(float), kAlign))) {}
  float* get() const { return data_.get(); }

 private:
  static constexpr std::align_val_t kAlign{kernels::kAlignment};
  struct Free {
    void operator()(float* p) const { ::operator delete(p, kAlign); }
  };
  std::unique_ptr<float, Free> data_;
};

/// Tensors of one call get different seeds: equal ones would be a special case.
std::vector<float> normal(std::int64_t n, std::uint64_t seed) {
  std::vector<float> x(static_cast<std::size_t>(n));
  proof::Random random(seed);
  proof::fill_vector(random, proof::Distribution::normal, x);
  return x;
}

/// Fails the benchmark where a call failed.
bool check(const Status& status, benchmark::State& state) {
  if (!status) state.SkipWithError(status.message().c_str());
  return status.ok();
}

using Exponential = void (*kernels::KernelTable::*)(const float*, float*, std::int64_t);

// From L1; the inputs of softmax: at or below zero.
void exponentials(benchmark::State& state, const kernels::KernelTable& kernels,
                  Exponential exponential) {
  constexpr std::int64_t kElements = 2048;
  std::vector<float> x = normal(kElements, 1), y(x.size());
  for (float& value : x) value = -4 * std::abs(value);
  while (state.KeepRunning()) {
    (kernels.*exponential)(x.data(), y.data(), kElements);
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * kElements);
}

/// One item of `rows` queries against `keys` keys of one head, nothing masked.
struct ItemBench {
  std::int32_t rows, keys, head_dim;

  void operator()(benchmark::State& state, const kernels::KernelTable& kernels) const;
  kernels::AttentionShape shape() const;
};

kernels::AttentionShape ItemBench::shape() const {
  constexpr double kLog2E = 1.4426950408889634;
  kernels::AttentionShape shape;
  shape.head_dim = shape.value_head_dim = head_dim;
  shape.group = 1;
  shape.tile_keys = 128;
  shape.item_rows = rows;
  shape.query_factor = static_cast<float>(kLog2E / std::sqrt(head_dim));
  shape.window_left = shape.window_right = INT32_MAX;
  return shape;
}

void ItemBench::operator()(benchmark::State& state, const kernels::KernelTable& kernels) const {
  const std::vector<float> q = normal(rows * head_dim, 1);
  const std::vector<float> k = normal(keys * head_dim, 2);
  const std::vector<float> v = normal(keys * head_dim, 3);
  std::vector<float> out(q.size());
  const kernels::AttentionShape what = shape();
  kernels::AttentionItem item;
  item.q = reinterpret_cast<const std::byte*>(q.data());
  item.k = reinterpret_cast<const std::byte*>(k.data());
  item.v = reinterpret_cast<const std::byte*>(v.data());
  item.out = reinterpret_cast<std::byte*>(out.data());
  item.q_stride.token = item.out_stride.token = item.k_stride = item.v_stride =
      head_dim * std::ptrdiff_t{sizeof(float)};
  item.rows = rows;
  item.key_end = item.keys = keys;
  item.query_position = keys - rows;
  item.decode = rows <= kernels::max_decode_rows(kernels.lanes);
  const Scratch scratch(kernels::attention_scratch_floats(what, kernels));
  while (state.KeepRunning()) {
    kernels.attend(what, item, scratch.get());
    benchmark::ClobberMemory();
  }
  const double operations = 4.0 * rows * keys * head_dim;
  state.counters["FLOP/s"] =
      benchmark::Counter(operations, benchmark::Counter::kIsIterationInvariantRate);
}

/// A server's step: 64 sequences, each with one query against a cache of its own length, of which
/// so many tokens are the same for all.
struct PlanBench {
  std::int32_t shared;

  void operator()(benchmark::State& state, const kernels::KernelTable& kernels) const;
};

void PlanBench::operator()(benchmark::State& state, const kernels::KernelTable& kernels) const {
  constexpr std::int64_t kSequences = 64;
  proof::Random random(1);
  std::vector<std::int32_t> lengths(kSequences);
  for (std::int32_t& length : lengths) {
    length = shared + static_cast<std::int32_t>(1 + random.below(4096 - shared));
  }
  std::vector<std::int32_t> prefixes(kSequences, shared);
  prefixes[0] = 0;
  AttentionConfig config;
  config.query_heads = 32;
  config.kv_heads = 8;
  config.head_dim = 128;
  config.causal = true;
  Batch batch;
  batch.sequences = kSequences;
  batch.query.length = 1;
  batch.key.length = 4096;
  batch.key.lengths = lengths;
  batch.pages = PagedLayout::bhsd(1 << 16, 16, config.kv_heads, config.head_dim);
  batch.shared_prefixes = prefixes;
  Plan plan;
  while (state.KeepRunning()) {
    const PlanOptions options{.isa = kernels.name, .workers = 2};
    if (!check(plan_attention(config, batch, options, plan), state)) return;
    benchmark::DoNotOptimize(plan.visible_scores());
  }
  state.SetItemsProcessed(state.iterations() * kSequences);
}

/// A mask of 512 queries and 8192 keys, of which half is visible in no order.
struct MaskPlanBench {
  MaskType type;
  std::int64_t bits;  ///< of an element

  void operator()(benchmark::State& state, const kernels::KernelTable& kernels) const;
  std::vector<std::uint64_t> elements() const;
};

constexpr std::int64_t kMaskQueries = 512, kMaskKeys = 8192;

std::vector<std::uint64_t> MaskPlanBench::elements() const {
  proof::Random random(1);
  std::vector<std::uint64_t> words(static_cast<std::size_t>(kMaskQueries * kMaskKeys * bits / 64));
  const std::uint64_t hidden = type == MaskType::f32 ? 0xFF800000 : 1;
  for (std::uint64_t& word : words) {
    for (std::int64_t at = 0; at < 64; at += bits) {
      if (random.below(2) == 1) word |= hidden << at;
    }
  }
  return words;
}

void MaskPlanBench::operator()(benchmark::State& state, const kernels::KernelTable& kernels) const {
  const std::vector<std::uint64_t> mask = elements();
  AttentionConfig config;
  config.query_heads = config.kv_heads = 8;
  config.head_dim = 64;
  Batch batch;
  batch.query.length = kMaskQueries;
  batch.key.length = kMaskKeys;
  batch.mask = KeyMask::qk(type, mask.data(), kMaskKeys);
  Plan plan;
  while (state.KeepRunning()) {
    const PlanOptions options{.isa = kernels.name, .workers = 1};
    if (!check(plan_attention(config, batch, options, plan), state)) return;
    benchmark::DoNotOptimize(plan.visible_scores());
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(mask.size() * 8));
}

/// What planning with such a mask is compared with: adding up its 64-bit words.
void read_mask(benchmark::State& state, const MaskPlanBench& bench) {
  const std::vector<std::uint64_t> mask = bench.elements();
  while (state.KeepRunning()) {
    std::uint64_t sum = 0;
    for (const std::uint64_t word : mask) sum += word;
    benchmark::DoNotOptimize(sum);
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(mask.size() * 8));
}

const std::pair<const char*, MaskPlanBench> kMaskPlans[] = {
    {"bits", {MaskType::bits, 1}}, {"bytes", {MaskType::bytes, 8}}, {"f32", {MaskType::f32, 32}}};

// What a call costs beside its arithmetic: one head, 16 queries, 16 keys, on the calling thread.
void tiny_call(benchmark::State& state, const kernels::KernelTable& kernels) {
  constexpr std::int64_t kTokens = 16, kHeadDim = 64;
  AttentionConfig config;
  config.head_dim = kHeadDim;
  Batch batch;
  batch.query.length = batch.key.length = kTokens;
  Plan plan;
  Workspace workspace;
  const PlanOptions options{.isa = kernels.name, .workers = 1};
  if (!check(plan_attention(config, batch, options, plan), state)) return;
  if (!check(workspace.reserve(plan), state)) return;
  const std::vector<float> q = normal(kTokens * kHeadDim, 1);
  const std::vector<float> k = normal(kTokens * kHeadDim, 2);
  const std::vector<float> v = normal(kTokens * kHeadDim, 3);
  std::vector<float> out(q.size());
  const AttentionTensors tensors{q.data(), k.data(), v.data(), out.data()};
  while (state.KeepRunning()) {
    if (!check(run(plan, tensors, workspace), state)) return;
    benchmark::ClobberMemory();
  }
}

template <class Bench>
void add_benchmark([[maybe_unused]] const std::string& name, [[maybe_unused]] Bench bench) {
#ifndef __clang_analyzer__  // does not see that the library keeps what is registered
  benchmark::RegisterBenchmark(name.c_str(), bench);
#endif
}

void register_isa(const kernels::KernelTable& kernels) {
  const auto add = [&](const std::string& name, auto bench) {
    add_benchmark(name + "/" + kernels.name,
                  [&kernels, bench](benchmark::State& state) { bench(state, kernels); });
  };
  const auto add_exponential = [&](const std::string& name, Exponential exponential) {
    add(name, [exponential](benchmark::State& state, const kernels::KernelTable& table) {
      exponentials(state, table, exponential);
    });
  };
  add_exponential("exp2", &kernels::KernelTable::exp2);
  add_exponential("exp", &kernels::KernelTable::exp);
  for (const ItemBench& item :
       {ItemBench{48, 128, 64}, ItemBench{192, 512, 64}, ItemBench{192, 512, 128},
        ItemBench{1, 4096, 128}, ItemBench{384, 2048, 64}, ItemBench{192, 2048, 64},
        ItemBench{384, 2048, 128}}) {
    add("attend/rows:" + std::to_string(item.rows) + "/keys:" + std::to_string(item.keys) +
            "/dim:" + std::to_string(item.head_dim),
        item);
  }
  add("plan_64_sequences", PlanBench{0});
  add("plan_64_sequences/shared:1024", PlanBench{1024});
  for (const auto& [name, plan] : kMaskPlans) add(std::string("plan_mask/") + name, plan);
  add("tiny_call", tiny_call);
}

void register_reading() {
  for (const auto& plan : kMaskPlans) {
    add_benchmark(std::string("read_mask/") + plan.first,
                  [mask = plan.second](benchmark::State& state) { read_mask(state, mask); });
  }
}

}  // namespace
}  // namespace heed::bench

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  for (const heed::IsaInfo& isa : heed::isas()) {
    const heed::kernels::KernelTable* kernels = nullptr;
    if (isa.supported && heed::detail::select_kernels(isa.name, kernels).ok()) {
      heed::bench::register_isa(*kernels);
    }
  }
  heed::bench::register_reading();
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
