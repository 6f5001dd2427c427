// In place of tools/subject.cc: a heed whose checks fail, so that it can be seen how the program
// ends.
#include "tools/subject.h"

namespace heed::tools {

Subject heed_operators() {
  const auto fail = [](const auto&...) { return Status(StatusCode::internal, "a planted fault"); };
  Subject subject;
  subject.attend = fail;
  subject.softmax = subject.log_softmax = fail;
  subject.log_sum_exp = fail;
  subject.softmax_gradient = subject.log_softmax_gradient = fail;
  subject.sample = fail;
  return subject;
}

}  // namespace heed::tools
