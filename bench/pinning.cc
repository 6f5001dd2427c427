#include "bench/pinning.h"

#include <fmt/format.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>
#include <tuple>

namespace heed::bench {
namespace {

/// CPUs in order; empty: threads are not pinned.
std::vector<int> pinned_to;

/// A number in a file of the system's, or `unknown`.
int read_int(const std::string& path, int unknown) {
  int number = unknown;
  std::ifstream(path) >> number;
  return number;
}

std::string folder_of(int cpu) { return fmt::format("/sys/devices/system/cpu/cpu{}/", cpu); }

/// The NUMA node that a CPU belongs to: its folder has an entry of that name.
int node_of(int cpu) {
  for (int node = 0; node < numa_nodes(); ++node) {
    std::error_code error;
    if (std::filesystem::exists(folder_of(cpu) + fmt::format("node{}", node), error)) return node;
  }
  return 0;
}

/// Which of its core's hardware threads a CPU is: that many of its siblings have lower numbers.
int sibling_number(int cpu, const std::vector<int>& cpus) {
  const auto core = [](int each) {
    const std::string topology = folder_of(each) + "topology/";
    return std::pair(read_int(topology + "physical_package_id", 0),
                     read_int(topology + "core_id", each));
  };
  return static_cast<int>(std::ranges::count_if(
      cpus, [&](int other) { return other < cpu && core(other) == core(cpu); }));
}

int pin(pid_t thread, int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<std::size_t>(cpu), &set);
  return ::sched_setaffinity(thread, sizeof(set), &set);
}

/// The threads of this process, oldest first, the calling one left out.
std::vector<pid_t> other_threads() {
  std::vector<pid_t> threads;
  std::error_code error;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task", error)) {
    const std::string name = task.path().filename();
    pid_t thread = 0;
    std::from_chars(name.data(), name.data() + name.size(), thread);
    if (thread != ::gettid()) threads.push_back(thread);
  }
  std::ranges::sort(threads);
  return threads;
}

int cpu_of(std::size_t number) { return pinned_to[number % pinned_to.size()]; }

}  // namespace

int numa_nodes() {
  int nodes = 0;
  std::error_code error;
  while (std::filesystem::exists(fmt::format("/sys/devices/system/node/node{}", nodes), error)) {
    ++nodes;
  }
  return std::max(1, nodes);
}

std::vector<int> cpu_order() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof(set), &set) != 0) return {};
  std::vector<int> cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(static_cast<std::size_t>(cpu), &set)) cpus.push_back(cpu);
  }
  std::vector<std::tuple<int, int, int>> order;
  order.reserve(cpus.size());
  for (const int cpu : cpus) order.emplace_back(sibling_number(cpu, cpus), node_of(cpu), cpu);
  std::ranges::sort(order);
  std::ranges::transform(order, cpus.begin(), [](const auto& each) { return std::get<2>(each); });
  return cpus;
}

void start_pinning() { pinned_to = cpu_order(); }

Status pin_all_threads() {
  if (pinned_to.empty()) return {};
  const std::vector<pid_t> others = other_threads();
  bool pinned = pin(0, cpu_of(0)) == 0;
  for (std::size_t i = 0; i < others.size() && pinned; ++i) {
    // One that has just ended needs no CPU.
    pinned = pin(others[i], cpu_of(i + 1)) == 0 || errno == ESRCH;
  }
  if (pinned) return {};
  return {StatusCode::unsupported,
          fmt::format("threads cannot be pinned: {}", std::strerror(errno))};
}

void pin_this_thread(int number) {
  if (!pinned_to.empty()) pin(0, cpu_of(static_cast<std::size_t>(number)));
}

}  // namespace heed::bench
