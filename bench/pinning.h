// Threads that stay where they are, for `heed bench --pin`.
#pragma once

#include <vector>

#include "heed/status.h"

namespace heed::bench {

/// The CPUs of this process in the order in which threads take them: one of each core first, those
/// of one NUMA node together.
std::vector<int> cpu_order();

/// NUMA nodes of the machine; 1 where the system tells of none.
int numa_nodes();

/// From now on pin_all_threads and pin_this_thread pin.
void start_pinning();

/// Pins the calling thread to the first CPU, and each other thread of this process to one of those
/// that follow. Fails with the system's reason. Does nothing before start_pinning.
Status pin_all_threads();

/// Pins the calling thread to the CPU with this number in the order. Does nothing before
/// start_pinning.
void pin_this_thread(int number);

}  // namespace heed::bench
