#include "tests/support/failing_call.h"

#include <cstring>

#include "tests/support/child.h"

namespace heed::tests {
namespace {

constexpr const char* kNoneLeft = "none left";

bool same_bytes(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

std::string try_failure(Failing which, int n, const std::function<Call()>& make) {
  const Call call = make();
  Status status;
  bool failed = false;
  {
    const FailingAllocations failing(which, n);
    status = call.run();
    failed = failing.failed();
  }
  if (!status.ok() && status.code() != StatusCode::out_of_memory) return status.message();
  if (!status.ok() && !status.message().starts_with("out of memory")) return "another message";
  if (!status.ok() && !failed) return "a failure without a cause: " + status.message();
  if (!status.ok()) status = call.run();
  if (!status.ok()) return "the next call: " + status.message();
  const Call undisturbed = make();
  if (!undisturbed.run().ok()) return "the undisturbed call";
  if (!same_bytes(call.results(), undisturbed.results())) return "other results";
  return failed ? "" : kNoneLeft;
}

}  // namespace

std::string fault_of_failing(Failing which, const std::function<Call()>& make) {
  for (int n = 1;; ++n) {
    const std::string fault = in_child([&] { return try_failure(which, n, make); });
    if (fault == kNoneLeft) return "";
    if (!fault.empty()) return "allocation " + std::to_string(n) + ": " + fault;
  }
}

}  // namespace heed::tests
