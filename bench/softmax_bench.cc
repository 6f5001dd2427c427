#include <algorithm>
#include <limits>

#include "bench/bench.h"
#include "heed/softmax.h"

namespace heed::bench {
namespace {

/// y = softmax(x), x from the first half of the pool and y in the second.
class SoftmaxBench : public Bench {
 public:
  SoftmaxBench(const SoftmaxWorkload& workload, const Setting& setting, Pool& pool)
      : workload_(workload), setting_(setting), pool_(pool) {}

  Status measure(int threads, Result& result) override;

 private:
  bool in_cache() const { return setting_.warm || workload_.resident; }
  std::size_t floats() const { return static_cast<std::size_t>(workload_.rows * workload_.length); }
  std::span<const float> x(std::int64_t run) const { return part(0, run); }
  std::span<float> y(std::int64_t run) const { return part(pool_.size() / 2, run); }
  std::span<float> part(std::size_t start, std::int64_t run) const {
    const std::size_t copy = static_cast<std::size_t>(run) % copies_;
    return memory_.subspan(start + copy * floats(), floats());
  }
  Status prepare(int threads);
  LimitsWanted limits(int threads) const;
  Status apply(std::int64_t run);
  Status check(Result& result);

  const SoftmaxWorkload& workload_;
  const Setting& setting_;
  Pool& pool_;
  Executor executor_;
  SoftmaxOptions options_;
  std::span<float> memory_;
  std::size_t copies_ = 1;
};

Status SoftmaxBench::prepare(int threads) {
  if (Status status = Executor::create(threads, executor_); !status) return status;
  options_.isa = setting_.isa;
  options_.workers = threads;
  options_.executor = &executor_;
  pool_.inputs({});
  memory_ = pool_.scratch();
  const std::size_t room = pool_.size() / 2;
  copies_ = in_cache() ? 1 : copies_for(floats(), setting_.stream_floats / 2, room);
  return {};
}

LimitsWanted SoftmaxBench::limits(int threads) const {
  const std::span<float> both = memory_.first(
      std::max(in_cache() ? 2 * floats() : setting_.stream_floats, kLeastStreamFloats));
  return {.isa = setting_.isa,
          .threads = threads,
          .memory = both,
          // A copy puts inputs in the place of outputs, which the next runs write again.
          .copied = both,
          .residence = in_cache() ? Residence::cache : Residence::memory};
}

Status SoftmaxBench::apply(std::int64_t run) {
  const ConstRows from{x(run).data(), workload_.rows, workload_.length, workload_.length};
  const Rows to{y(run).data(), workload_.rows, workload_.length, workload_.length};
  return softmax(from, to, options_);
}

Status SoftmaxBench::check(Result& result) {
  const std::span<float> out = y(0);
  std::fill(out.begin(), out.end(), std::numeric_limits<float>::quiet_NaN());
  if (Status status = apply(0); !status) return status;
  result.accuracy = check_softmax(x(0), out, workload_.length);
  return {};
}

Status SoftmaxBench::measure(int threads, Result& result) {
  result.threads = threads;
  result.layout = "rows";
  if (Status status = prepare(threads); !status) return status;
  const auto once = [this](std::int64_t run) { return apply(run); };
  const auto place = [this](std::int64_t run) {
    return static_cast<std::size_t>(run) % copies_ * floats();
  };
  Status status = measure_beside(setting_.seconds, limits(threads), once, place, result.measured);
  if (!status) return status;
  result.copies = true;
  result.gigabytes = 1e-9 * static_cast<double>(2 * floats() * sizeof(float));
  return check(result);
}

}  // namespace

std::unique_ptr<Bench> make_softmax_bench(const SoftmaxWorkload& workload, const Setting& setting,
                                          Pool& pool) {
  return std::make_unique<SoftmaxBench>(workload, setting, pool);
}

}  // namespace heed::bench
