#include "bindings/ggml/takeover.h"

#include <cstring>
#include <exception>

#include "ggml-impl.h"

namespace heed::plugin {
namespace {

Status plan_of(const NodeShape& shape, const NodeMask& mask, int workers, Plan& plan) {
  const AttentionConfig config{.query_heads = shape.heads,
                               .kv_heads = shape.kv_heads,
                               .head_dim = shape.head_dim,
                               .value_head_dim = shape.value_head_dim,
                               .scale = shape.scale,
                               .q_type = shape.q_type,
                               .k_type = shape.k_type,
                               .v_type = shape.v_type,
                               .products = Products::f32};
  Batch batch{.sequences = shape.sequences,
              .query = {.length = shape.queries},
              .key = {.length = shape.keys},
              .q = shape.q,
              .k = shape.k,
              .v = shape.v,
              .out = shape.out};
  mask.add_to(batch);
  return plan_attention(config, batch, {.workers = workers}, plan);
}

}  // namespace

ggml_status Takeover::compute(ggml_backend_t backend, ggml_cgraph* graph, Compute next) noexcept {
  failed_ = false;
  try {
    take(graph);
  } catch (const std::exception&) {
    say_once("there is no memory for a plan; ggml computes the rest of a graph's attention");
  }
  ggml_status status = next(backend, graph);
  put_back();
  if (status == GGML_STATUS_SUCCESS && failed_) status = GGML_STATUS_FAILED;
  return status;
}

void Takeover::take(ggml_cgraph* graph) {
  used_ = 0;
  const int count = host_.graph_n_nodes(graph);
  for (int i = 0; i < count; ++i) {
    ggml_tensor* const node = host_.graph_node(graph, i);
    if (node->op == GGML_OP_FLASH_ATTN_EXT) take_node(*node);
  }
}

void Takeover::take_node(ggml_tensor& node) {
  if (const std::string_view unknown = find_unknown(node); !unknown.empty()) {
    say_once("attention has " + std::string(unknown) + "; ggml computes it itself");
  }
  NodeShape shape;
  if (const std::string_view reason = read_node(node, shape); !reason.empty()) {
    return tally_.count(reason);
  }
  const Planned& planned = planned_for(shape);
  tally_.count(planned.refusal);
  if (!planned.refusal.empty()) return;

  auto task = std::make_unique<Task>();
  task->owner = this;
  task->planned = &planned;
  task->tensors = tensors_of(node, shape);
  planned.mask.add_to(task->tensors.modifiers);
  task->node = &node;
  task->op = node.op;
  std::memcpy(task->op_params, node.op_params, sizeof task->op_params);

  ggml_custom_op_params params;
  std::memset(&params, 0, sizeof params);
  params.fun = run_share_of;
  params.n_tasks = GGML_N_TASKS_MAX;
  params.userdata = task.get();
  tasks_.push_back(std::move(task));
  node.op = GGML_OP_CUSTOM;
  std::memcpy(node.op_params, &params, sizeof params);
}

Takeover::Planned& Takeover::planned_for(const NodeShape& shape) {
  for (std::size_t i = 0; i < used_; ++i) {
    if (plans_[i]->shape == shape) return *plans_[i];
  }
  if (used_ == plans_.size()) plans_.push_back(std::make_unique<Planned>());
  Planned& planned = *plans_[used_];
  planned.shape = shape;
  plan(planned);
  ++used_;
  return planned;
}

void Takeover::plan(Planned& planned) {
  planned.refusal = planned.mask.read(planned.shape);
  if (!planned.refusal.empty()) return;
  Status status = plan_of(planned.shape, planned.mask, threads_, planned.plan);
  if (status.ok()) status = workspace_.reserve(planned.plan);
  if (!status.ok()) planned.refusal = status.message();
}

void Takeover::put_back() noexcept {
  for (const std::unique_ptr<Task>& task : tasks_) {
    task->node->op = task->op;
    std::memcpy(task->node->op_params, task->op_params, sizeof task->op_params);
  }
  tasks_.clear();
}

void Takeover::fail(const Status& status) noexcept {
  failed_ = true;
  say_once(status.message());
}

void Takeover::run_share_of(ggml_tensor*, int ith, int nth, void* userdata) noexcept {
  const Task& task = *static_cast<const Task*>(userdata);
  const Plan& plan = task.planned->plan;
  task.owner->threads_ = nth;
  // A graph may have more threads than the one before it had, for which the plan was made.
  const int shares = nth < plan.workers() ? nth : plan.workers();
  if (ith >= shares) return;
  const Status status = run_share(plan, task.tensors, task.owner->workspace_, ith, shares);
  if (!status.ok()) task.owner->fail(status);
}

}  // namespace heed::plugin
