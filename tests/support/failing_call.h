// Calls while memory runs out.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "heed/status.h"
#include "tests/support/allocation_count.h"

namespace heed::tests {

/// A call with all that it needs, and what can be seen of it afterwards.
struct Call {
  std::function<Status()> run;
  std::function<std::vector<float>()> results;
};

/// Makes the call with its first allocation failing, then with its second, and so on until none is
/// left, each time as the first call of a process of its own. A call must succeed, or tell that
/// memory is out and then succeed with the same results as ever. Returns the first fault: "" for
/// none.
std::string fault_of_failing(Failing which, const std::function<Call()>& make);

}  // namespace heed::tests
