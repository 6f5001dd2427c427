// What the workers of one run share: the queue's head and the counters of split rows.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace heed::detail {

/// Splits of a plan at most. Items are split that are more than a 32nd of a worker's fair share,
/// and there are at most 32 times as many of those as workers; where this is reached the others
/// stay whole. Sequences that have a prefix in common need one for each KV head: 512 of 32 heads.
inline constexpr std::size_t kMaxSplits = 16384;

/// Lies at the start of every workspace, whatever the plan. All zero between runs.
struct alignas(64) RunControl {
  std::atomic<std::uint64_t> next_item;
  std::atomic<std::uint32_t> finished_shares;
  /// Parts of each split that are done; whoever completes the number merges.
  std::atomic<std::uint32_t> finished_parts[kMaxSplits];

  void clear(std::size_t splits) noexcept {
    next_item.store(0, std::memory_order_relaxed);
    finished_shares.store(0, std::memory_order_relaxed);
    for (std::size_t i = 0; i < splits; ++i) finished_parts[i].store(0, std::memory_order_relaxed);
  }
};

}  // namespace heed::detail
