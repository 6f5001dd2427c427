// Running a plan: workers take items from a queue; the last to finish a split row merges its parts.
#include "heed/attention.h"
#include "heed/partial_states.h"
#include "runtime/executor.h"
#include "runtime/float_environment.h"
#include "runtime/message.h"
#include "runtime/page_tables.h"
#include "runtime/plan_data.h"
#include "runtime/run_control.h"
#include "runtime/states.h"

namespace heed {
namespace detail {
namespace {

/// The partitions that hold an item's keys, of which there are some.
Range partitions_of(const PlannedItem& item) {
  return {item.key_begin / kernels::kPartitionKeys,
          (std::int64_t{item.key_end} - 1) / kernels::kPartitionKeys + 1};
}

/// The states of these partitions, from a row on.
kernels::States part_of(kernels::States states, const Range& partitions, std::ptrdiff_t row,
                        std::ptrdiff_t value_head_dim) {
  const std::ptrdiff_t before = partitions.first * states.rows + row;
  states.m += before;
  states.l += before;
  states.o += before * value_head_dim;
  states.partitions = static_cast<std::int32_t>(partitions.last - partitions.first);
  return states;
}

/// One run of one plan.
class Run {
 public:
  /// Writes states where they are given, else outputs.
  Run(const PlanData& plan, const AttentionTensors& tensors, const PartialStates* states,
      Workspace& workspace) noexcept
      : plan_(plan),
        tensors_(tensors),
        states_(states),
        memory_(static_cast<std::byte*>(workspace.data())) {}

  RunControl& control() const noexcept { return *reinterpret_cast<RunControl*>(memory_); }

  /// Forgets what an unfinished run has left in the workspace: a host may stop in the middle of its
  /// shares, and memory may run out while they are started.
  void begin() const noexcept { control().clear(plan_.schedule.splits.size()); }

  /// Takes items until none is left. The last of nth shares leaves the counters as it found them.
  void share(int ith, int nth) const noexcept {
    const FloatEnvironment environment;
    float* scratch = floats(plan_.workspace.scratch +
                            plan_.workspace.scratch_stride * static_cast<std::size_t>(ith));
    RunControl& c = control();
    for (;;) {
      const std::size_t i = c.next_item.fetch_add(1, std::memory_order_relaxed);
      if (i >= plan_.schedule.items.size()) break;
      work(plan_.schedule.items[i], scratch);
    }
    const auto before = c.finished_shares.fetch_add(1, std::memory_order_acq_rel);
    if (before + 1 == static_cast<std::uint32_t>(nth)) {
      c.next_item.store(0, std::memory_order_relaxed);
      c.finished_shares.store(0, std::memory_order_release);
    }
  }

 private:
  float* floats(std::size_t offset) const noexcept {
    return reinterpret_cast<float*>(memory_ + offset);
  }

  void work(const PlannedItem& planned, float* scratch) const noexcept {
    const kernels::AttentionItem item = bind(planned);
    plan_.kernels->attend(plan_.shape, item, scratch);
    if (planned.split < 0 || states_ != nullptr) return;
    const PlannedSplit& split = plan_.schedule.splits[static_cast<std::size_t>(planned.split)];
    auto& finished = control().finished_parts[planned.split];
    const auto before = finished.fetch_add(1, std::memory_order_acq_rel);
    if (before + 1 != static_cast<std::uint32_t>(split.parts)) return;
    finished.store(0, std::memory_order_relaxed);
    merge(item, split);
  }

  /// The states of a split's rows.
  kernels::States states_of(const PlannedSplit& split, std::int32_t rows) const noexcept {
    float* const m = floats(plan_.workspace.states) + split.states;
    const std::ptrdiff_t count = std::ptrdiff_t{rows} * split.partitions;
    return {m, m + count, m + 2 * count, rows, split.partitions};
  }

  void merge(const kernels::AttentionItem& item, const PlannedSplit& split) const noexcept {
    const kernels::States all = states_of(split, item.rows);
    const kernels::ConstStates states{all.m, all.l, all.o, all.rows, all.partitions};
    kernels::MergeRows rows;
    rows.states = &states;
    rows.count = 1;
    rows.state_stride = item.state_stride;
    rows.out = item.out;
    rows.lse = item.lse;
    rows.out_stride = item.out_stride;
    rows.lse_stride = item.lse_stride;
    rows.group = plan_.shape.group;
    rows.value_head_dim = plan_.shape.value_head_dim;
    rows.row_begin = item.row_begin;
    rows.rows = item.rows;
    rows.rule = plan_.shape.rule;
    plan_.kernels->merge(rows);
  }

  /// The planned item with the run's addresses.
  kernels::AttentionItem bind(const PlannedItem& p) const noexcept {
    const PlannedSequence& s = plan_.sequences[static_cast<std::size_t>(p.sequence)];
    const std::ptrdiff_t query_head = std::ptrdiff_t{p.kv_head} * plan_.shape.group;
    kernels::AttentionItem item;
    item.q = tensors_.q + s.q + query_head * plan_.q.head_stride;
    item.q_stride = {plan_.q.token_stride, plan_.q.head_stride};
    item.row_begin = p.row_begin;
    item.rows = p.rows;
    item.key_begin = p.key_begin;
    item.key_end = p.key_end;
    const Visibility& mask = plan_.masks[static_cast<std::size_t>(p.sequence)];
    item.keys = static_cast<std::int32_t>(mask.keys);
    item.diagonal = mask.diagonal();
    if (p.key_begin < p.key_end) bind_keys(p, item);  // else both may be null
    if (states_ != nullptr) {
      bind_states(p, item);
    } else {
      bind_outputs(p, item);
    }
    return item;
  }

  void bind_keys(const PlannedItem& p, kernels::AttentionItem& item) const noexcept {
    const PlannedSequence& s = plan_.sequences[static_cast<std::size_t>(p.sequence)];
    item.k = tensors_.k + s.k + p.kv_head * plan_.k.head_stride;
    item.v = tensors_.v + s.v + p.kv_head * plan_.v.head_stride;
    item.k_stride = plan_.k.token_stride;
    item.v_stride = plan_.v.token_stride;
    if (plan_.pages) {
      item.pages = pages_of(tensors_.tables, p.sequence).data();
      item.page_tokens = static_cast<std::int32_t>(plan_.pages->page_tokens);
      item.k_page = plan_.pages->k.page;
      item.v_page = plan_.pages->v.page;
    }
  }

  /// Outputs, and the states of the item's part of a split.
  void bind_outputs(const PlannedItem& p, kernels::AttentionItem& item) const noexcept {
    const PlannedSequence& s = plan_.sequences[static_cast<std::size_t>(p.sequence)];
    const std::ptrdiff_t query_head = std::ptrdiff_t{p.kv_head} * plan_.shape.group;
    item.out = tensors_.out + s.out + query_head * plan_.out.head_stride;
    item.out_stride = {plan_.out.token_stride, plan_.out.head_stride};
    if (tensors_.lse != nullptr) {
      item.lse = tensors_.lse + s.lse + query_head * plan_.lse.head_stride;
    }
    item.lse_stride = {plan_.lse.token_stride, plan_.lse.head_stride};
    if (p.split < 0) return;
    const PlannedSplit& split = plan_.schedule.splits[static_cast<std::size_t>(p.split)];
    const Range partitions = partitions_of(p);
    item.states =
        part_of(states_of(split, p.rows),
                {partitions.first - split.first_partition, partitions.last - split.first_partition},
                0, plan_.shape.value_head_dim);
    item.state_stride = {plan_.shape.group, 1};
    item.first_partition = static_cast<std::int32_t>(partitions.first);
  }

  /// The caller's states: of all partitions, or where keys are split of those of the part, to which
  /// the first and the last one add what lies before and behind the split.
  void bind_states(const PlannedItem& p, kernels::AttentionItem& item) const noexcept {
    Range partitions{0, plan_.states.partitions};
    if (p.split >= 0) {
      const PlannedSplit& split = plan_.schedule.splits[static_cast<std::size_t>(p.split)];
      const Range own = partitions_of(p);
      if (own.first > split.first_partition) partitions.first = own.first;
      if (own.last < split.first_partition + split.partitions) partitions.last = own.last;
    }
    const std::int32_t group = plan_.shape.group;
    const std::ptrdiff_t row = plan_.sequences[static_cast<std::size_t>(p.sequence)].state +
                               p.row_begin / group * plan_.config.query_heads + p.kv_head * group +
                               p.row_begin % group;
    item.states = part_of({states_->m, states_->l, states_->o, plan_.states.rows,
                           static_cast<std::int32_t>(states_->partitions)},
                          partitions, row, plan_.shape.value_head_dim);
    item.state_stride = {plan_.config.query_heads, 1};
    item.first_partition = static_cast<std::int32_t>(partitions.first);
  }

  const PlanData& plan_;
  const AttentionTensors& tensors_;
  const PartialStates* states_;
  std::byte* memory_;
};

Status check_run(const PlanData* plan, const AttentionTensors& t, const PartialStates* states,
                 const Workspace& workspace) {
  if (plan == nullptr) return invalid("the plan is empty: make it with plan_attention first");
  if (states != nullptr && states->partitions != plan->states.partitions) {
    return invalid("states.partitions (", states->partitions, ") must be that of the plan (",
                   plan->states.partitions, ")");
  }
  if (plan->schedule.items.empty()) return {};
  if (workspace.bytes() < plan->workspace.total) {
    return invalid("the workspace has ", workspace.bytes(), " bytes and the plan needs ",
                   plan->workspace.total, ": call Workspace::reserve(plan) first");
  }
  if (t.q == nullptr) return invalid("q is null");
  if (states != nullptr) {
    HEED_RETURN_IF_ERROR(check_states({"states"}, *states, *plan));
  } else if (t.out == nullptr) {
    return invalid("out is null");
  }
  if (t.k == nullptr && plan->schedule.visible_scores > 0) return invalid("k is null");
  if (t.v == nullptr && plan->schedule.visible_scores > 0) return invalid("v is null");
  return plan->pages ? check_tables(*plan, t.tables) : Status();
}

Status run(const PlanData* plan, const AttentionTensors& tensors, const PartialStates* states,
           Workspace& workspace, Executor* executor) {
  Status status = check_run(plan, tensors, states, workspace);
  if (!status.ok() || plan->schedule.items.empty()) return status;
  struct Context {
    Run run;
    int shares;
  } context{Run(*plan, tensors, states, workspace), plan->shares};
  const auto share = [](void* pointer, int ith) {
    const Context& c = *static_cast<const Context*>(pointer);
    c.run.share(ith, c.shares);
  };
  context.run.begin();
  return run_shares(plan->shares, executor, share, &context);
}

Status run_share(const PlanData* plan, const AttentionTensors& tensors, const PartialStates* states,
                 Workspace& workspace, int ith, int nth) {
  Status status = check_run(plan, tensors, states, workspace);
  if (!status.ok() || plan->schedule.items.empty()) return status;
  if (nth < 1 || nth > plan->workers) {
    return invalid("nth (", nth, ") must be from 1 to the plan's workers (", plan->workers, ")");
  }
  if (ith < 0 || ith >= nth) {
    return invalid("ith (", ith, ") must be from 0 to nth - 1 (", nth - 1, ")");
  }
  Run(*plan, tensors, states, workspace).share(ith, nth);
  return {};
}

}  // namespace
}  // namespace detail

Status run(const Plan& plan, const AttentionTensors& tensors, Workspace& workspace,
           Executor* executor) noexcept {
  return detail::guarded(
      [&] { return detail::run(plan.data(), tensors, nullptr, workspace, executor); });
}

Status run_share(const Plan& plan, const AttentionTensors& tensors, Workspace& workspace, int ith,
                 int nth) noexcept {
  return detail::guarded(
      [&] { return detail::run_share(plan.data(), tensors, nullptr, workspace, ith, nth); });
}

Status run_partial(const Plan& plan, const AttentionTensors& tensors, const PartialStates& states,
                   Workspace& workspace, Executor* executor) noexcept {
  return detail::guarded(
      [&] { return detail::run(plan.data(), tensors, &states, workspace, executor); });
}

Status run_partial_share(const Plan& plan, const AttentionTensors& tensors,
                         const PartialStates& states, Workspace& workspace, int ith,
                         int nth) noexcept {
  return detail::guarded(
      [&] { return detail::run_share(plan.data(), tensors, &states, workspace, ith, nth); });
}

}  // namespace heed
