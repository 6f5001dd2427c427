// What the workers of one run share: the queue's head and the counters of split rows.
#pragma once

#include <atomic>
#include <cstdint>

namespace heed::detail {

/// Splits of a plan at most. Only as many items as half the workers' number can be long enough to
/// be split, so this is reached with thousands of workers; items then stay whole.
inline constexpr std::size_t kMaxSplits = 4096;

/// Lies at the start of every workspace, whatever the plan. All zero between runs.
struct alignas(64) RunControl {
  std::atomic<std::uint32_t> next_item;
  std::atomic<std::uint32_t> finished_shares;
  /// Parts of each split that are done; whoever completes the number merges.
  std::atomic<std::uint32_t> finished_parts[kMaxSplits];
};

}  // namespace heed::detail
