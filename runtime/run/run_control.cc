#include "runtime/run/run_control.h"

#include <algorithm>

#include "runtime/base/message.h"

namespace heed::detail {
namespace {

constexpr const char* kWayOut =
    "where that run is not to be finished, call Workspace::reserve before the next one";

Status in_use() {
  return invalid(
      "the workspace is in use by another run: runs at the same time need a workspace each");
}

}  // namespace

Status RunControl::begin(const RunCounters& counters) {
  const std::lock_guard lock(mutex_);
  if (executing_ > 0) return in_use();
  run_ = {};
  start(counters);
  executing_ = called_ = 1;
  return {};
}

void RunControl::end() noexcept {
  const std::lock_guard lock(mutex_);
  executing_ = called_ = 0;
}

Status RunControl::begin_share(const RunIdentity& run, int ith, const RunCounters& counters) {
  const std::lock_guard lock(mutex_);
  if (called_ == 0) {
    run_ = run;
    start(counters);
  }
  HEED_RETURN_IF_ERROR(check_share(run, ith, counters));
  counters.called[static_cast<std::size_t>(ith)] = 1;
  ++executing_;
  ++called_;
  return {};
}

void RunControl::end_share() noexcept {
  const std::lock_guard lock(mutex_);
  --executing_;
  if (executing_ == 0 && called_ == run_.nth) called_ = 0;
}

Status RunControl::forget() {
  const std::lock_guard lock(mutex_);
  if (executing_ > 0) return in_use();
  called_ = 0;
  return {};
}

/// Whether a share belongs to the run that has begun, and was not called before.
Status RunControl::check_share(const RunIdentity& run, int ith, const RunCounters& counters) const {
  RunIdentity same_shares = run;
  same_shares.nth = run_.nth;
  if (run_.nth == 0) return in_use();
  if (run_ != same_shares) {
    return invalid("the workspace has a run of another plan or of other tensors, of whose ",
                   run_.nth, " shares ", called_, " were called: ", kWayOut);
  }
  if (run_.nth != run.nth) {
    return invalid("nth (", run.nth, ") must be that of the run's other shares (", run_.nth,
                   "): ", kWayOut);
  }
  if (counters.called[static_cast<std::size_t>(ith)] == 0) return {};
  return invalid("share ", ith, " of ", run_.nth, " was already called in this run: ", kWayOut);
}

void RunControl::start(const RunCounters& counters) {
  next_item.store(0, std::memory_order_relaxed);
  std::ranges::fill(counters.called, std::uint8_t{0});
  for (auto& items : counters.finished_items) items.store(0, std::memory_order_relaxed);
}

}  // namespace heed::detail
