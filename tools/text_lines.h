// Lines of text files, whichever system wrote them.
#pragma once

#include <string>
#include <vector>

#include "heed/status.h"

namespace heed::tools {

/// The lines of a file in UTF-8, without their ends: a line feed, or a carriage return and a line
/// feed. A byte order mark at the beginning is no part of the text. Fails, with a sentence that
/// begins with the path, where the file cannot be read, has no line, or is in UTF-16.
Status read_lines(const std::string& path, std::vector<std::string>& lines);

/// The same lines as one text, with a line feed between them.
Status read_text(const std::string& path, std::string& text);

}  // namespace heed::tools
