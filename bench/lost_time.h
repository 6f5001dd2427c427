// Time that other programs took: how long threads were ready to run, and had no CPU.
#pragma once

#include <vector>

namespace heed::bench {

/// Seconds that the calling thread has waited for a CPU since it began; 0 where the system does not
/// count them.
double own_lost_seconds();

/// The same of all threads that this process has when it is made.
class LostTime {
 public:
  LostTime();
  ~LostTime();
  LostTime(const LostTime&) = delete;
  LostTime& operator=(const LostTime&) = delete;

  /// Whether the system counts.
  bool known() const { return !files_.empty(); }
  /// The sum over the threads, in seconds.
  double seconds() const;

 private:
  std::vector<int> files_;
};

}  // namespace heed::bench
