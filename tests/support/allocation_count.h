// Counts allocations: a program that this is linked into has the C library's allocation functions,
// and with them what operator new calls, replaced by ones that count.
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

}  // namespace heed::tests
