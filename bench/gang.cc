#include "bench/gang.h"

#include <algorithm>
#include <barrier>
#include <chrono>
#include <limits>
#include <thread>
#include <vector>

namespace heed::bench {

double best_seconds(int threads, SampleCount samples,
                    const std::function<void(int ith, int sample)>& work) {
  using Clock = std::chrono::steady_clock;
  std::vector<Clock::time_point> moments;  // a start and an end per sample
  moments.reserve(2 * static_cast<std::size_t>(samples.untimed + samples.timed));
  std::barrier together(threads, [&]() noexcept { moments.push_back(Clock::now()); });
  const auto take_part = [&](int ith) {
    for (int sample = 0; sample < samples.untimed + samples.timed; ++sample) {
      together.arrive_and_wait();
      work(ith, sample);
      together.arrive_and_wait();
    }
  };
  {
    std::vector<std::jthread> others;
    for (int ith = 1; ith < threads; ++ith) others.emplace_back(take_part, ith);
    take_part(0);
  }
  double best = std::numeric_limits<double>::infinity();
  for (std::size_t i = 2 * static_cast<std::size_t>(samples.untimed); i < moments.size(); i += 2) {
    best = std::min(best, std::chrono::duration<double>(moments[i + 1] - moments[i]).count());
  }
  return best;
}

}  // namespace heed::bench
