// Something done in a process of its own: what may end a process, and what can only be seen the
// first time that a process does it.
#pragma once

#include <functional>
#include <string>

namespace heed::tests {

/// Runs `action` in a child of this process, which must not have started threads, and returns what
/// it returns, or how the child ended: "killed by signal 6". A child that takes more than a minute
/// is ended.
std::string in_child(const std::function<std::string()>& action);

}  // namespace heed::tests
