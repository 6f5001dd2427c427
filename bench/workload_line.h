// The words that describe a workload: lines of workloads.txt, of files of one's own, and of
// --shape.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "bench/workloads.h"
#include "heed/status.h"

namespace heed::bench {

/// Workloads that one line may stand for.
inline constexpr std::size_t kMaxVariants = 1000;

/// Adds what a line stands for: one workload, or one for each choice of the values in its lists and
/// ranges, the last of which changes fastest. Fails with a sentence without saying which line it
/// is.
Status parse_line(std::string_view line, std::vector<Workload>& workloads);

/// The words of a shape with this setting in place of its own.
std::string with_setting(std::string_view shape, std::string_view key, std::string_view value);

}  // namespace heed::bench
