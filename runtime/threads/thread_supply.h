// How many threads the system grants this process.
#pragma once

namespace heed::detail {

/// Starts threads until there are `wanted` of them at once, ends them all, and returns how many
/// could be started: fewer where a limit on processes or memory is in the way, 0 where memory for
/// the attempt itself is missing. What other threads and processes start meanwhile is not known.
int count_startable_threads(int wanted) noexcept;

}  // namespace heed::detail
