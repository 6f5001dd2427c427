// What the workers of one run share: the queue's head and the counters of split rows.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "runtime/plan/plan_data.h"

namespace heed::detail {

/// Lies at the start of every workspace, whatever the plan. All zero between runs.
struct alignas(64) RunControl {
  std::atomic<std::uint64_t> next_item;
  std::atomic<std::uint32_t> finished_shares;
  /// Parts of each split that are done; whoever completes the number merges.
  alignas(64) std::atomic<std::uint32_t> finished_parts[kMaxSplits];

  void clear(std::size_t splits) noexcept {
    next_item.store(0, std::memory_order_relaxed);
    finished_shares.store(0, std::memory_order_relaxed);
    for (std::size_t i = 0; i < splits; ++i) finished_parts[i].store(0, std::memory_order_relaxed);
  }
};

static_assert(sizeof(RunControl) == kRunControlBytes);

}  // namespace heed::detail
