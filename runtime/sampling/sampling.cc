// Drawing tokens from rows of logits: checked, then spread over workers by rows.
#include "heed/sampling.h"

#include <algorithm>
#include <cstdint>
#include <limits>

#include "kernels/interface.h"
#include "runtime/base/check_executor.h"
#include "runtime/base/float_environment.h"
#include "runtime/base/message.h"
#include "runtime/cpu/dispatch.h"
#include "runtime/sampling/philox.h"
#include "runtime/sampling/sampling_validate.h"
#include "runtime/sampling/sampling_workspace.h"
#include "runtime/threads/executor.h"
#include "runtime/threads/parallel_for_rows.h"

namespace heed {
namespace detail {
namespace {

// What a logit costs, in elements of parallel_for_rows, and a row besides its logits.
constexpr std::int64_t kLogitElements = 2, kRowElements = 4096;

/// 2 · log2 e / T as a float; the largest one where it were infinite, so that 0 times it is 0.
float factor_of(float temperature) {
  constexpr float twice_log2_e = 2.88539008F;
  return std::min(twice_log2_e / temperature, std::numeric_limits<float>::max());
}

/// What all rows of a call have in common.
struct SampleCall {
  const kernels::KernelTable& table;
  const Logits& logits;
  std::span<const SamplingRule> rules;
  std::span<const Draw> draws;
  const Samples& samples;

  void sample(std::int64_t row, const kernels::SamplingScratch& scratch) const {
    const auto number = static_cast<std::size_t>(row);
    const SamplingRule& rule = rules[rules.size() == 1 ? 0 : number];
    kernels::SampledRow sampled;
    sampled.logits = static_cast<const std::byte*>((logits.data + row * logits.stride).data());
    sampled.type = logits.data.type();
    sampled.length = logits.length;
    sampled.greedy = rule.temperature == 0;
    sampled.scratch = scratch;
    if (!sampled.greedy) {
      sampled.factor = factor_of(rule.temperature);
      sampled.top_k = rule.top_k;
      sampled.top_p = rule.top_p;
      sampled.min_p = rule.min_p;
      sampled.random = random_bits(draws[number].seed, draws[number].counter);
    }
    write(row, table.sample(sampled));
  }

  void write(std::int64_t row, const kernels::SampledToken& token) const {
    samples.tokens[row] = token.token;
    if (samples.probabilities != nullptr) samples.probabilities[row] = token.probability;
  }
};

/// A workspace for as long as a call takes.
class WorkspaceLock {
 public:
  Status acquire(SamplingWorkspace& workspace, std::int64_t length, int workers) {
    HEED_RETURN_IF_ERROR(workspace.reserve(length, workers));
    HEED_RETURN_IF_ERROR(begin_use(workspace));
    held_ = workspace.data();
    return {};
  }
  WorkspaceLock() = default;
  ~WorkspaceLock() {
    if (held_ != nullptr) end_use(held_);
  }
  WorkspaceLock(const WorkspaceLock&) = delete;
  WorkspaceLock& operator=(const WorkspaceLock&) = delete;

 private:
  SamplingWorkspace::Header* held_ = nullptr;
};

Status run_rows(const SampleCall& call, const RunOptions& options, int workers,
                SamplingWorkspace& workspace) {
  const std::int64_t rows = call.logits.rows, length = call.logits.length;
  const int useful = static_cast<int>(std::min<std::int64_t>(rows, workers));
  WorkspaceLock lock;
  HEED_RETURN_IF_ERROR(lock.acquire(workspace, length, useful));
  const ScratchBlocks blocks(workspace, length, useful);
  return parallel_for_rows(rows, kLogitElements * length + kRowElements, useful, options.executor,
                           [&](std::int64_t first, std::int64_t count) {
                             BlockHeader* block = nullptr;
                             const kernels::SamplingScratch scratch = blocks.take(block);
                             for (std::int64_t i = 0; i < count; ++i) {
                               call.sample(first + i, scratch);
                             }
                             ScratchBlocks::give_back(block);
                           });
}

}  // namespace
}  // namespace detail

Status sample(const Logits& logits, std::span<const SamplingRule> rules,
              std::span<const Draw> draws, const Samples& samples, const RunOptions& options,
              SamplingWorkspace* workspace) noexcept {
  return detail::guarded([&]() -> Status {
    const detail::FloatEnvironment environment;
    int workers = 1;
    const kernels::KernelTable* table = nullptr;
    HEED_RETURN_IF_ERROR(detail::check_sampling(logits, rules, draws, samples));
    HEED_RETURN_IF_ERROR(detail::check_executor(options.executor));
    HEED_RETURN_IF_ERROR(detail::complete_workers(options.workers, workers));
    HEED_RETURN_IF_ERROR(detail::select_kernels(options.isa, table));
    const detail::SampleCall call{*table, logits, rules, draws, samples};
    if (logits.rows == 0) return {};
    if (logits.length == 0) {
      for (std::int64_t row = 0; row < logits.rows; ++row) call.write(row, {});
      return {};
    }
    SamplingWorkspace own;
    return detail::run_rows(call, options, workers, workspace == nullptr ? own : *workspace);
  });
}

}  // namespace heed
