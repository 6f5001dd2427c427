#include "tools/subject.h"

#include "tools/status.h"

namespace heed::tools {
namespace {

Status plan_and_run(const AttentionConfig& config, const Batch& batch, const PlanOptions& options,
                    const AttentionTensors& tensors) {
  Plan plan;
  HEED_RETURN_IF_ERROR(plan_attention(config, batch, options, plan));
  Workspace workspace;
  HEED_RETURN_IF_ERROR(workspace.reserve(plan));
  return run(plan, tensors, workspace);
}

}  // namespace

Subject heed_operators() {
  Subject subject;
  subject.attend = plan_and_run;
  subject.softmax = softmax;
  subject.log_softmax = log_softmax;
  subject.log_sum_exp = log_sum_exp;
  subject.softmax_gradient = [](const auto&... arguments) {
    return softmax_gradient(arguments...);
  };
  subject.log_softmax_gradient = [](const auto&... arguments) {
    return log_softmax_gradient(arguments...);
  };
  subject.sample = [](const auto&... arguments) { return sample(arguments...); };
  return subject;
}

}  // namespace heed::tools
