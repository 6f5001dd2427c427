#include "tools/text_lines.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <string_view>
#include <utility>

namespace heed::tools {
namespace {

constexpr std::string_view kUtf8Mark = "\xEF\xBB\xBF";

bool is_utf16(std::string_view text) {
  return text.starts_with("\xFF\xFE") || text.starts_with("\xFE\xFF");
}

Status fault(const std::string& path, std::string_view sentence) {
  return {StatusCode::invalid_argument, fmt::format("{}: {}", path, sentence)};
}

}  // namespace

Status read_lines(const std::string& path, std::vector<std::string>& lines) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  std::vector<std::string> read;
  for (std::string line; std::getline(file, line);) {
    if (read.empty() && line.starts_with(kUtf8Mark)) line.erase(0, kUtf8Mark.size());
    // Only before a line feed is a carriage return no part of the text.
    if (!file.eof() && line.ends_with('\r')) line.pop_back();
    read.push_back(std::move(line));
  }
  if (errno != 0) return fault(path, fmt::format("cannot be read: {}", std::strerror(errno)));
  if (read.empty()) return fault(path, "has no line");
  if (is_utf16(read.front())) return fault(path, "is in UTF-16: it must be in UTF-8");
  lines = std::move(read);
  return {};
}

Status read_text(const std::string& path, std::string& text) {
  std::vector<std::string> lines;
  if (Status status = read_lines(path, lines); !status) return status;
  text = fmt::format("{}", fmt::join(lines, "\n"));
  return {};
}

}  // namespace heed::tools
