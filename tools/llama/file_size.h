// The size of a file that is read whole.
#pragma once

#include <cstdint>
#include <string>

#include "heed/status.h"

namespace heed::llama {

/// The bytes of a regular file. Fails with a sentence that begins with the path.
Status file_size(const std::string& path, std::int64_t& bytes);

}  // namespace heed::llama
