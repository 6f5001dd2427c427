// What is under way, on standard error, where somebody may be watching.
#pragma once

#include <string_view>

namespace heed::tools {

/// Replaces the line by `text`; an empty one clears it. Does nothing unless standard error is a
/// terminal.
void show_progress(std::string_view text);

}  // namespace heed::tools
