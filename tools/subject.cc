#include "tools/subject.h"

namespace heed::tools {
namespace {

Status plan_and_run(const AttentionConfig& config, const Batch& batch, const PlanOptions& options,
                    const AttentionTensors& tensors) {
  Plan plan;
  if (Status status = plan_attention(config, batch, options, plan); !status) return status;
  Workspace workspace;
  if (Status status = workspace.reserve(plan); !status) return status;
  return run(plan, tensors, workspace);
}

}  // namespace

Subject heed_operators() {
  Subject subject;
  subject.attend = plan_and_run;
  subject.softmax = softmax;
  subject.log_softmax = log_softmax;
  subject.log_sum_exp = log_sum_exp;
  subject.softmax_gradient = softmax_gradient;
  subject.log_softmax_gradient = log_softmax_gradient;
  return subject;
}

}  // namespace heed::tools
