// Counts allocations, and lets them fail: a program that this is linked into has the C library's
// allocation functions, and with them what operator new calls, replaced by ones that do so.
#pragma once

namespace heed::tests {

/// False in builds with sanitizers, which replace the allocator themselves: nothing is counted.
bool counts_allocations();

/// Calls so far, in any thread.
struct Count {
  int allocations;  ///< of malloc and its kin, by anybody
  int news;         ///< of operator new, by C++ code: heed's own, for oneTBB uses its own allocator
};
Count allocations_so_far();

/// The calls that `action` makes, in any thread.
template <class Action>
Count count(const Action& action) {
  const Count before = allocations_so_far();
  action();
  const Count after = allocations_so_far();
  return {after.allocations - before.allocations, after.news - before.news};
}

/// Which allocations of a thread fail, counted from 1.
enum class Failing {
  one,          ///< the nth
  all_from,     ///< the nth and all after it
  one_of_news,  ///< the nth of operator new
};

/// Lets allocations of the calling thread fail for as long as it lives. One at a time.
class FailingAllocations {
 public:
  FailingAllocations(Failing which, int n);
  ~FailingAllocations();
  FailingAllocations(const FailingAllocations&) = delete;
  FailingAllocations& operator=(const FailingAllocations&) = delete;

  /// True where an allocation has failed.
  bool failed() const;
};

}  // namespace heed::tests
