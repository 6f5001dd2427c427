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
#include "bench/limits.h"
#include "bench/memory.h"
#include "bench/timing.h"
#include "bench/workloads.h"
#include "heed/dtype.h"
#include "heed/status.h"

namespace heed::bench {

/// What holds for every measurement of a run.
struct Setting {
  std::string_view isa = {};  ///< resolved
  double seconds = 0;
  bool warm = false;
  std::size_t stream_floats = 0;  ///< what a rotation of copies covers at least

  Pages pages() const { return warm ? Pages::usual : Pages::huge; }
};

struct Result {
  std::string name, shape, beside;  ///< as Workload has them
  std::string kind, layout;
  DType q_type = DType::f32, kv_type = DType::f32;  ///< of attention
  int threads = 0;
  Timing timing;
  std::optional<double> plan_ms;               ///< to plan it, the best of all; of attention
  std::optional<std::int64_t> visible_scores;  ///< of attention
  std::optional<double> gflops;                ///< of attention
  double peak_gflops = 0;
  double gbps = 0;
  double read_gbps = 0;
  std::optional<double> copy_gbps;  ///< of softmax: what its bandwidth is a percentage of
  Accuracy accuracy;

  std::optional<double> percent_of_peak() const;
  double percent_of_bandwidth() const;
};

class Bench {
 public:
  virtual ~Bench() = default;
  /// Fills everything but what the workload says itself: names, shape and kind.
  virtual Status measure(int threads, Result& result) = 0;
};

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

/// Measures peak and read bandwidth once more and keeps the better figures: limits are measured
/// before and after a workload, since those of a shared machine move.
Status raise_limits(const Setting& setting, std::span<const float> memory, Residence residence,
                    Result& result);

}  // namespace heed::bench
