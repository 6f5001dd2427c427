#include "tools/llama/file_size.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <system_error>

namespace heed::llama {

Status file_size(const std::string& path, std::int64_t& bytes) {
  std::error_code error;
  const std::uintmax_t size = std::filesystem::file_size(path, error);
  errno = 0;
  if (!error && !std::ifstream(path)) error = {errno, std::generic_category()};
  if (error) {
    return {StatusCode::invalid_argument,
            fmt::format("{}: cannot be read: {}", path, error.message())};
  }
  bytes = static_cast<std::int64_t>(size);
  return {};
}

}  // namespace heed::llama
