// One workload, ready to be measured on any number of threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "bench/accuracy.h"
#include "bench/beside.h"
#include "bench/memory.h"
#include "bench/workloads.h"
#include "heed/dtype.h"
#include "heed/status.h"

namespace heed::bench {

/// What holds for every measurement of a run.
struct Setting {
  std::string_view isa = {};  ///< resolved
  double seconds = 0;
  bool warm = false, pinned = false;
  std::size_t stream_floats = 0;  ///< what a rotation of copies covers at least

  Pages pages() const { return warm ? Pages::usual : Pages::huge; }
};

struct Result {
  std::string name, shape, beside;  ///< as Workload has them
  std::string kind, layout, isa;
  DType q_type = DType::f32, kv_type = DType::f32;  ///< of attention
  int threads = 0;
  Measurement measured;
  std::optional<double> plan_ms;               ///< to plan it, the best of all; of attention
  std::optional<std::int64_t> visible_scores;  ///< of attention
  std::optional<double> operations;            ///< of a run, in 10⁹; of attention
  double gigabytes = 0;                        ///< of a run
  bool copies = false;                         ///< of softmax: bandwidths are those of copies
  /// What a thread does, beside a run of the same workload on fewer threads: 1 where that many
  /// times the threads take that part of its time.
  std::optional<double> efficiency;
  Accuracy accuracy;

  std::optional<double> gflops() const;  ///< by the best time
  double gbps() const;                   ///< by the best time
  /// Of what limits the machine has beside it, where others do not disturb.
  std::optional<double> percent_of_peak() const;
  std::optional<double> percent_of_tile() const;
  double percent_of_bandwidth() const;  ///< of a copy's or of reading
};

class Bench {
 public:
  virtual ~Bench() = default;
  /// Fills everything but what the workload says itself: names, shape and kind.
  virtual Status measure(int threads, Result& result) = 0;
};

/// What a thread of `result` does, beside the run of the same workload on the fewest threads among
/// `others`, where these are fewer.
std::optional<double> efficiency_of(const Result& result, std::span<const Result> others);

/// Floats that a pool must have for this workload.
std::size_t pool_floats(const Workload& workload, const Setting& setting);

/// The bench of `workload`; all three arguments must outlive it. Tensors that rotate lie in `pool`.
std::unique_ptr<Bench> make_bench(const Workload& workload, const Setting& setting, Pool& pool);
std::unique_ptr<Bench> make_attention_bench(const AttentionWorkload& workload,
                                            const Setting& setting, Pool& pool);
std::unique_ptr<Bench> make_softmax_bench(const SoftmaxWorkload& workload, const Setting& setting,
                                          Pool& pool);

/// How many copies of `floats` floats, used in turn, fill `stream` floats; no more than `room`
/// holds.
std::size_t copies_for(std::size_t floats, std::size_t stream, std::size_t room);

}  // namespace heed::bench
