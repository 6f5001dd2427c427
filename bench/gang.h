// Several threads that do the same thing at the same moment.
#pragma once

#include <functional>

namespace heed::bench {

/// Samples of a measurement: the first few let caches, clock and page tables settle.
struct SampleCount {
  int untimed = 1;
  int timed = 1;
};

/// Calls work(ith, sample) on `threads` threads (ith = 0 … threads − 1, the caller's is 0), all
/// starting together, for each sample in turn. Returns the shortest time, in seconds, from the
/// common start of a timed sample to the end of its last thread.
double best_seconds(int threads, SampleCount samples,
                    const std::function<void(int ith, int sample)>& work);

}  // namespace heed::bench
