// Attention that is not fused, on one thread: for each head the products Q·Kᵀ and P·V by OpenBLAS,
// alone and with heed's softmax between them, beside heed's operator on the same tensors. An
// operator that is done sooner than the products alone cannot be caught up with by any unfused one.
#include <benchmark/benchmark.h>
#include <cblas.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <exception>
#include <limits>
#include <string>
#include <vector>

#include "bench/accuracy.h"
#include "bench/attention_case.h"
#include "bench/memory.h"
#include "bench/workloads.h"
#include "heed/attention.h"
#include "heed/softmax.h"

namespace heed::bench {
namespace {

// Dense and without a mask, so that the products waste nothing.
constexpr const char* kWorkloads =
    "^(bert-base-b8-s128|encoder-h16-s2048-d64|encoder-h8-s4096-d128)$";

/// Tensors of a dense workload without mask, and ways to make its outputs.
class OpenblasBench {
 public:
  explicit OpenblasBench(const AttentionWorkload& workload) : case_(workload) {}

  Status prepare();
  Status products() { return each_head(&OpenblasBench::multiply); }
  Status unfused() { return each_head(&OpenblasBench::attend); }
  Status fused() { return run(plan_, tensors_, workspace_); }

  Accuracy check() const { return check_attention(geometry_, tensors_); }
  double operations() const {
    return static_cast<double>(plan_.visible_scores() * 4 * case_.config().head_dim);
  }

 private:
  /// One head of one sequence.
  struct Head {
    const float *q, *k, *v;
    float* out;
  };

  Status each_head(Status (OpenblasBench::*work)(const Head&));
  Head head(std::int64_t sequence, std::int64_t query_head) const;
  Status multiply(const Head& head);
  Status attend(const Head& head);
  void score(const Head& head);
  void weigh(const Head& head);

  Status create_tensors();

  AttentionCase case_;
  proof::Geometry geometry_ = case_.geometry();
  Plan plan_;
  Workspace workspace_;
  Pool query_, keys_and_values_, out_, scores_;
  AttentionTensors tensors_;
  blasint queries_ = 0, keys_ = 0, head_dim_ = 0;
  blasint query_stride_ = 0, key_stride_ = 0;  ///< from token to token
};

Status OpenblasBench::prepare() {
  const PlanOptions options{.workers = 1};
  if (Status status = plan_attention(case_.config(), case_.batch(), options, plan_); !status) {
    return status;
  }
  if (Status status = workspace_.reserve(plan_); !status) return status;
  queries_ = static_cast<blasint>(case_.batch().query.length);
  keys_ = static_cast<blasint>(case_.batch().key.length);
  head_dim_ = static_cast<blasint>(case_.config().head_dim);
  query_stride_ = static_cast<blasint>(geometry_.q_layout().token_stride);
  key_stride_ = static_cast<blasint>(geometry_.k_layout().token_stride);
  return create_tensors();
}

Status OpenblasBench::create_tensors() {
  const auto scores = static_cast<std::size_t>(queries_) * static_cast<std::size_t>(keys_);
  const auto create = [](std::size_t floats, Pool& pool) {
    return Pool::create(floats, Pages::usual, pool);
  };
  if (Status status = create(case_.query_floats(), query_); !status) return status;
  if (Status status = create(case_.kv_copy_floats(), keys_and_values_); !status) return status;
  if (Status status = create(case_.query_floats(), out_); !status) return status;
  if (Status status = create(scores, scores_); !status) return status;
  tensors_.q = query_.inputs(case_.query_inputs()).data();
  tensors_.k = keys_and_values_.inputs(case_.kv_inputs()).data();
  tensors_.v = tensors_.k + case_.value_offset();
  tensors_.out = out_.scratch().data();
  std::ranges::fill(out_.scratch(), std::numeric_limits<float>::quiet_NaN());
  return {};
}

Status OpenblasBench::each_head(Status (OpenblasBench::*work)(const Head&)) {
  for (std::int64_t sequence = 0; sequence < case_.batch().sequences; ++sequence) {
    for (std::int64_t i = 0; i < case_.config().query_heads; ++i) {
      if (Status status = (this->*work)(head(sequence, i)); !status) return status;
    }
  }
  return {};
}

OpenblasBench::Head OpenblasBench::head(std::int64_t sequence, std::int64_t query_head) const {
  const proof::Row first{sequence, 0, query_head};
  return {tensors_.q.as<float>() + geometry_.q(first),
          tensors_.k.as<float>() + geometry_.k(first, 0),
          tensors_.v.as<float>() + geometry_.v(first, 0),
          tensors_.out.as<float>() + geometry_.out(first)};
}

void OpenblasBench::score(const Head& head) {
  const float scale = 1 / std::sqrt(static_cast<float>(head_dim_));
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, queries_, keys_, head_dim_, scale, head.q,
              query_stride_, head.k, key_stride_, 0, scores_.scratch().data(), keys_);
}

void OpenblasBench::weigh(const Head& head) {
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, queries_, head_dim_, keys_, 1,
              scores_.scratch().data(), keys_, head.v, key_stride_, 0, head.out, query_stride_);
}

Status OpenblasBench::multiply(const Head& head) {
  score(head);
  weigh(head);
  return {};
}

Status OpenblasBench::attend(const Head& head) {
  score(head);
  float* const scores = scores_.scratch().data();
  Status status =
      softmax({scores, queries_, keys_, keys_}, {scores, queries_, keys_, keys_}, {.workers = 1});
  weigh(head);
  return status;
}

using Work = Status (OpenblasBench::*)();

/// Fails the benchmark where a call failed.
bool check(const Status& status, benchmark::State& state) {
  if (!status) state.SkipWithError(status.message().c_str());
  return status.ok();
}

void measure(benchmark::State& state, const AttentionWorkload& workload, Work work, bool checked) {
  OpenblasBench bench(workload);
  if (!check(bench.prepare(), state) || !check((bench.*work)(), state)) return;
  // The bound is derived for heed's order of additions; that of OpenBLAS is as good on average.
  if (const Accuracy accuracy = bench.check(); checked && !accuracy.fault.empty()) {
    return state.SkipWithError(accuracy.fault.c_str());
  }
  for (auto _ : state) {
    if (!check((bench.*work)(), state)) return;
    benchmark::ClobberMemory();
  }
  state.counters["FLOP/s"] =
      benchmark::Counter(bench.operations(), benchmark::Counter::kIsIterationInvariantRate);
}

void register_workload(const Workload& workload) {
  const auto add = [&](const std::string& what, Work work, bool checked) {
    const auto& attention = std::get<AttentionWorkload>(workload.what);
    benchmark::RegisterBenchmark((workload.name + "/" + what).c_str(),
                                 [attention, work, checked](benchmark::State& state) {
                                   measure(state, attention, work, checked);
                                 })
        ->Unit(benchmark::kMillisecond);
  };
  add("openblas_products", &OpenblasBench::products, false);
  add("openblas_unfused", &OpenblasBench::unfused, true);
  add("heed", &OpenblasBench::fused, true);
}

Status register_workloads() {
  std::vector<Workload> workloads;
  if (Status status = select_workloads(kWorkloads, workloads); !status) return status;
  for (const Workload& workload : workloads) register_workload(workload);
  return {};
}

int run_benchmarks(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  openblas_set_num_threads(1);
  benchmark::AddCustomContext("OpenBLAS", openblas_get_config());
  if (const Status status = register_workloads(); !status) {
    std::fprintf(stderr, "%s\n", status.message().c_str());
    return 1;
  }
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}

}  // namespace
}  // namespace heed::bench

int main(int argc, char** argv) {
  try {
    return heed::bench::run_benchmarks(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
