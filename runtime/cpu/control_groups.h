// What the control groups (cgroups, versions 1 and 2) of this process leave it of the machine.
#pragma once

#include <cstdint>
#include <string>

namespace heed::detail {

/// The tightest limits of the process's group and of the groups around it.
struct GroupLimits {
  double cpus = 0;                ///< CPUs' worth of time; 0: no limit
  std::int64_t memory_bytes = 0;  ///< 0: no limit
};

/// Reads them below `root`, "" for those of this process: its groups in ROOT/proc/self/cgroup,
/// where their files are in ROOT/proc/self/mountinfo. What is missing or not understood limits
/// nothing.
GroupLimits read_group_limits(const std::string& root);

}  // namespace heed::detail
