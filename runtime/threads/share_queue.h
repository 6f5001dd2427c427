// Shares that threads take, one after the other, until none is left.
#pragma once

#include <atomic>

#include "heed/executor.h"

namespace heed::detail {

/// Whoever drains it runs shares, so that it does not matter who does, how often, or in what order.
/// Without shares, as it is at first and when all were taken, draining does nothing.
class ShareQueue {
 public:
  /// Puts shares 0 … shares − 1 in. Only when all earlier ones are finished.
  void fill(int shares, TaskFunction share, void* context) noexcept {
    share_ = share;
    context_ = context;
    shares_ = shares;
    unfinished_.store(shares, std::memory_order_relaxed);
    left_.store(shares, std::memory_order_release);
  }

  /// Takes shares and runs them until none is left. Others may still be running then.
  void drain() noexcept {
    int left = left_.load(std::memory_order_relaxed);
    while (left > 0) {
      // Whoever takes a share sees what `fill` wrote, even where `left` is of an earlier filling.
      if (!left_.compare_exchange_weak(left, left - 1, std::memory_order_acquire,
                                       std::memory_order_relaxed)) {
        continue;
      }
      share_(context_, shares_ - left);
      unfinished_.fetch_sub(1, std::memory_order_release);
      left = left_.load(std::memory_order_relaxed);
    }
  }

  bool empty() const noexcept { return left_.load(std::memory_order_relaxed) == 0; }
  /// Whether all shares have returned; what they wrote is visible then.
  bool finished() const noexcept { return unfinished_.load(std::memory_order_acquire) == 0; }

 private:
  TaskFunction share_ = nullptr;
  void* context_ = nullptr;
  int shares_ = 0;
  std::atomic<int> left_ = 0, unfinished_ = 0;
};

}  // namespace heed::detail
