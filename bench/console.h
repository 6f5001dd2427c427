// Standard output and standard error, as programs meet them that run for long.
#pragma once

#include <string_view>

#include "heed/status.h"

namespace heed::bench {

/// Fails where standard output is closed: for those who work for long before they print.
Status check_output();

/// Passes on what was printed. Fails with the system's reason where standard output did not take
/// all that was ever printed: who calls this as output comes notices soon.
Status flush_output();

/// Writes text to standard error that may be lost: where that is closed or full, nothing happens.
void write_note(std::string_view text);

/// Shows what is under way, on standard error: replaces the line by `text`; an empty one clears it.
/// Does nothing unless standard error is a terminal.
void show_progress(std::string_view text);

}  // namespace heed::bench
