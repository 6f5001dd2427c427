// What the workers of one run share: who is in the workspace, the queue's head, and the counters of
// split rows.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>

#include "heed/score_modifiers.h"
#include "heed/status.h"
#include "kernels/interface.h"

namespace heed::detail {

/// What all shares of a run have in common, and shares of another run have not.
struct RunIdentity {
  std::uint64_t plan = 0;  ///< PlanData::number
  const void *q = nullptr, *k = nullptr, *v = nullptr;
  const float *k_scales = nullptr, *v_scales = nullptr;
  const float *k_zero_points = nullptr, *v_zero_points = nullptr;
  ScoreModifiers modifiers;
  const void *out = nullptr, *lse = nullptr;             ///< null for run_partial
  const float *m = nullptr, *l = nullptr, *o = nullptr;  ///< null for run
  int nth = 0;                                           ///< shares

  friend bool operator==(const RunIdentity&, const RunIdentity&) = default;
};

/// The counters of a run, which follow its RunControl in the workspace.
struct RunCounters {
  std::span<std::uint8_t> called;                        ///< shares, 1 for those that were called
  std::span<std::atomic<std::uint32_t>> finished_items;  ///< of each split; the last one merges
};

/// Lies at the start of every workspace, whatever the plan.
///
/// A workspace is idle, or has a run, which begins with the first of its shares and ends with the
/// return of the last. Shares that are called meanwhile must be others of the same run. A run of
/// which no share is being executed, for the host has not called all of them, can be forgotten:
/// each share leaves the queue empty, so nothing of it is half done.
class RunControl {
 public:
  /// Begins a run of which the caller executes all shares, in the place of one that was not
  /// finished. Fails where a share is being executed.
  Status begin(const RunCounters& counters);
  /// Ends it.
  void end() noexcept;

  /// Begins the ith share of a run, and the run itself where the workspace is idle.
  Status begin_share(const RunIdentity& run, int ith, const RunCounters& counters);
  /// Ends a share, and the run with the last of them.
  void end_share() noexcept;

  /// Makes the workspace idle. Fails where a share is being executed.
  Status forget();

  /// The number of the next item that nobody has taken, or more than there are items.
  std::atomic<std::size_t> next_item = 0;

 private:
  Status check_share(const RunIdentity& run, int ith, const RunCounters& counters) const;
  void start(const RunCounters& counters);

  /// Keeps next_item, which all workers write to, in a line of its own.
  [[maybe_unused]] std::byte line_[kernels::kAlignment - sizeof(std::atomic<std::size_t>)] = {};
  std::mutex mutex_;  ///< guards what follows, and RunCounters::called
  RunIdentity run_;
  int executing_ = 0;  ///< shares that were called and have not returned
  int called_ = 0;     ///< shares that were called; 0: the workspace is idle
};

}  // namespace heed::detail
