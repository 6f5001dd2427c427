#include <algorithm>
#include <limits>
#include <vector>

#include "bench/attention_case.h"
#include "bench/bench.h"
#include "heed/attention.h"
#include "heed/attention_weights.h"

namespace heed::bench {
namespace {

class AttentionBench : public Bench {
 public:
  AttentionBench(const AttentionWorkload& workload, const Setting& setting, Pool& pool)
      : setting_(setting), explained_(workload.explained), case_(workload), pool_(pool) {}

  Status measure(int threads, Result& result) override;

 private:
  Status prepare(int threads);
  AttentionTensors tensors(std::int64_t run);
  Status attend(std::int64_t run);
  AttentionWeights asked();
  Status time_planning(Result& result);
  Status check(Result& result);

  const Setting& setting_;
  const bool explained_;
  const AttentionCase case_;
  Pool& pool_;
  Plan plan_;
  Workspace workspace_;
  Executor executor_;
  Pool query_, out_;
  InputData keys_and_values_;
  std::span<const float> limit_memory_;
  std::size_t copies_ = 1;
  std::vector<float> scales_;  ///< of keys, then of values, for each copy
  std::vector<float> entropy_, largest_, mass_;
  std::vector<std::int32_t> largest_keys_;
};

Status AttentionBench::attend(std::int64_t run) {
  const AttentionTensors own = tensors(run);
  if (!explained_) return heed::run(plan_, own, workspace_, &executor_);
  return attention_weights(plan_, own, asked(), workspace_, &executor_);
}

AttentionWeights AttentionBench::asked() {
  return {.entropy = entropy_.data(),
          .top_weights = largest_.data(),
          .top_keys = largest_keys_.data(),
          .mass = mass_.data()};
}

Status AttentionBench::time_planning(Result& result) {
  Timing timing;
  const PlanOptions options{.isa = setting_.isa, .workers = result.threads};
  const auto once = [&](std::int64_t) {
    return plan_attention(case_.config(), case_.batch(), options, plan_);
  };
  if (Status status = repeat(setting_.seconds / 16, once, timing); !status) return status;
  result.plan_ms = timing.min_ms;
  result.visible_scores = plan_.visible_scores();
  return {};
}

Status AttentionBench::prepare(int threads) {
  if (Status status = Executor::create(threads, executor_); !status) return status;
  const PlanOptions options{.isa = setting_.isa, .workers = threads};
  if (Status status = plan_attention(case_.config(), case_.batch(), options, plan_); !status) {
    return status;
  }
  if (Status status = workspace_.reserve(plan_); !status) return status;
  for (Pool* const pool : {&query_, &out_}) {
    if (pool->size() > 0) continue;
    if (Status status = Pool::create(case_.query_floats(), setting_.pages(), *pool); !status) {
      return status;
    }
  }
  keys_and_values_ = pool_.inputs(case_.kv_inputs(), case_.config().k_type);
  const std::size_t copy = case_.kv_copy_bytes() / sizeof(float), room = pool_.size();
  copies_ = setting_.warm ? 1 : copies_for(copy, setting_.stream_floats, room);
  scales_.assign(2 * case_.scale_floats() * copies_, kv_scale(case_.config().k_type));
  limit_memory_ = pool_.memory().first(
      std::max(setting_.warm ? copy : setting_.stream_floats, kLeastStreamFloats));
  if (!explained_) return {};
  const std::size_t rows = case_.query_floats() / static_cast<std::size_t>(case_.config().head_dim);
  entropy_.resize(rows), largest_.resize(rows), largest_keys_.resize(rows);
  mass_.resize(static_cast<std::size_t>(case_.batch().sequences * case_.config().query_heads *
                                        case_.batch().key.length));
  return workspace_.reserve(plan_, asked());
}

AttentionTensors AttentionBench::tensors(std::int64_t run) {
  const std::int64_t copy = run % static_cast<std::int64_t>(copies_);
  AttentionTensors tensors;
  tensors.q = query_.inputs(case_.query_inputs(), case_.config().q_type);
  tensors.k = keys_and_values_ + copy * static_cast<std::int64_t>(case_.kv_copy_floats());
  tensors.v = tensors.k + static_cast<std::int64_t>(case_.value_offset());
  if (case_.scale_floats() > 0) {
    tensors.k_scales.scales = &scales_[2 * case_.scale_floats() * static_cast<std::size_t>(copy)];
    tensors.v_scales.scales = tensors.k_scales.scales + case_.scale_floats();
  }
  tensors.out = out_.scratch().data();
  tensors.tables = case_.tables();
  tensors.modifiers = case_.modifiers();
  return tensors;
}

Status AttentionBench::check(Result& result) {
  std::ranges::fill(out_.scratch(), std::numeric_limits<float>::quiet_NaN());
  if (Status status = attend(0); !status) return status;
  result.accuracy = check_attention(case_.geometry(), tensors(0));
  return {};
}

Status AttentionBench::measure(int threads, Result& result) {
  result.threads = threads;
  result.layout = case_.layout();
  result.q_type = case_.config().q_type;
  result.kv_type = case_.config().k_type;
  if (Status status = prepare(threads); !status) return status;
  if (Status status = time_planning(result); !status) return status;
  const LimitsWanted limits{.isa = setting_.isa,
                            .threads = threads,
                            .pairs = result.q_type == DType::bf16 && result.kv_type == DType::bf16,
                            .memory = limit_memory_,
                            .residence = setting_.warm ? Residence::cache : Residence::memory};
  const auto once = [this](std::int64_t run) { return attend(run); };
  const auto place = [this](std::int64_t run) {
    const auto copy = static_cast<std::size_t>(run) % copies_;
    return copy * (case_.kv_copy_bytes() / sizeof(float)) % limit_memory_.size();
  };
  Status status = measure_beside(setting_.seconds, limits, once, place, result.measured);
  if (!status) return status;
  result.operations =
      1e-9 * static_cast<double>(plan_.visible_scores() * 4 * case_.config().head_dim);
  result.gigabytes = 1e-9 * case_.needed_bytes();
  return check(result);
}

}  // namespace

std::unique_ptr<Bench> make_attention_bench(const AttentionWorkload& workload,
                                            const Setting& setting, Pool& pool) {
  return std::make_unique<AttentionBench>(workload, setting, pool);
}

}  // namespace heed::bench
