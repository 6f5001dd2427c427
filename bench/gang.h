// Several threads that do the same thing at the same moment.
#pragma once

#include <functional>
#include <vector>

namespace heed::bench {

/// Samples of a measurement: the first few let caches, clock and page tables settle.
struct SampleCount {
  int untimed = 1;
  int timed = 1;
};

/// How long one sample took, in seconds.
struct GangTime {
  double wall = 0;  ///< from the common start to the end of the last thread
  /// Of a thread, without the time in which others had its CPU: the harmonic mean, by which equal
  /// shares of work divide to what all threads do together.
  double own = 0;
};

/// Calls work(ith, sample) on `threads` threads (ith = 0 … threads − 1, the caller's is 0), all
/// starting together, for each sample in turn, pinned where threads are. Returns the times of the
/// timed samples.
std::vector<GangTime> run_gang(int threads, SampleCount samples,
                               const std::function<void(int ith, int sample)>& work);

}  // namespace heed::bench
