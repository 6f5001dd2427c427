#include "heed/version.h"

namespace heed {

std::string_view version() noexcept { return HEED_VERSION_STRING; }

}  // namespace heed
