// Running a plan: workers take items from a queue; the last to finish an item of a split
// merges its states.
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include "heed/attention.h"
#include "heed/partial_states.h"
#include "runtime/base/check_executor.h"
#include "runtime/base/element_types.h"
#include "runtime/base/float_environment.h"
#include "runtime/base/message.h"
#include "runtime/base/regions.h"
#include "runtime/base/scale_layout.h"
#include "runtime/plan/plan_data.h"
#include "runtime/run/inputs.h"
#include "runtime/run/outputs.h"
#include "runtime/run/page_tables.h"
#include "runtime/run/run_control.h"
#include "runtime/run/score_modifiers.h"
#include "runtime/run/states.h"
#include "runtime/threads/executor.h"

namespace heed {
namespace detail {
namespace {

/// The states of these partitions, from a row on.
kernels::States states_from(kernels::States states, const Range& partitions, std::ptrdiff_t row,
                            std::ptrdiff_t value_head_dim) {
  const std::ptrdiff_t before = partitions.first * states.rows + row;
  states.m += before;
  states.l += before;
  states.o += before * value_head_dim;
  states.partitions = static_cast<std::int32_t>(partitions.last - partitions.first);
  return states;
}

static_assert(sizeof(RunControl) <= kRunControlBytes);

/// Keys at least of an item that a decode item looks ahead to. Fewer lie near those that are read
/// already: looking ahead to 32 and 16 keys costs 2 to 6% and gains nothing.
constexpr std::int32_t kKeysAhead = 64;

/// Whether an item gains by prefetching the next one. Where that has several heads, which decode
/// reads in turn, the first keys of one of them gain nothing.
bool looks_ahead(const PlannedItem& item, const PlannedItem& next) {
  return !item.decode || (next.heads == 1 && next.key_end - next.key_begin >= kKeysAhead);
}

/// One run of one plan.
class Run {
 public:
  /// Writes states where they are given, else outputs.
  Run(const PlanData& plan, const AttentionTensors& tensors, const PartialStates* states,
      Workspace& workspace) noexcept
      : plan_(plan),
        tensors_(tensors),
        shape_(with_modifiers(plan, tensors.modifiers)),
        states_(states),
        memory_(static_cast<std::byte*>(workspace.data())) {}

  RunControl& control() const noexcept { return *reinterpret_cast<RunControl*>(memory_); }

  RunCounters counters() const noexcept {
    return {{reinterpret_cast<std::uint8_t*>(memory_ + plan_.workspace.called),
             static_cast<std::size_t>(plan_.workers)},
            {finished_items(), plan_.schedule.splits.size()}};
  }

  RunIdentity identity(int nth) const noexcept {
    RunIdentity run{.plan = plan_.number,
                    .q = tensors_.q.data(),
                    .k = tensors_.k.data(),
                    .v = tensors_.v.data(),
                    .k_scales = tensors_.k_scales.scales,
                    .v_scales = tensors_.v_scales.scales,
                    .k_zero_points = tensors_.k_scales.zero_points,
                    .v_zero_points = tensors_.v_scales.zero_points,
                    .modifiers = tensors_.modifiers};
    if (states_ == nullptr) {
      run.out = tensors_.out.data(), run.lse = tensors_.lse;
    } else {
      run.m = states_->m, run.l = states_->l, run.o = states_->o;
    }
    run.nth = nth;
    return run;
  }

  /// Takes items until none is left, as one of `nth` workers. False where a kernel left its
  /// scratch, as far as that is checked.
  bool share(int ith, int nth) const noexcept {
    const FloatEnvironment environment(plan_.shape.pairs ? Denormals::zero : Denormals::kept);
    float* scratch = floats(plan_.workspace.scratch +
                            plan_.workspace.scratch_stride * static_cast<std::size_t>(ith));
    std::atomic<std::size_t>& next_item = control().next_item;
    const std::vector<PlannedItem>& items = plan_.schedule.items;
    bool intact = true;
    // A worker's next item is probably as far from this one as this one was from its last.
    auto step = static_cast<std::size_t>(nth);
    for (std::size_t i = next_item.fetch_add(1, std::memory_order_relaxed); i < items.size();) {
      intact &= work(items[i], i + step < items.size() ? &items[i + step] : nullptr, scratch);
      const std::size_t last = i;
      i = next_item.fetch_add(1, std::memory_order_relaxed);
      step = i - last;
    }
    return intact;
  }

 private:
  float* floats(std::size_t offset) const noexcept {
    return reinterpret_cast<float*>(memory_ + offset);
  }

  std::atomic<std::uint32_t>* finished_items() const noexcept {
    return reinterpret_cast<std::atomic<std::uint32_t>*>(memory_ + plan_.workspace.split_counters);
  }

  /// Computes an item, and prefetches the one that is likely to come next, if any. Returns whether
  /// the kernel kept to its scratch.
  bool work(const PlannedItem& planned, const PlannedItem* likely, float* scratch) const noexcept {
    kernels::AttentionShape shape = shape_;
    if (planned.sequences > 1) {  // whose rows see all of the keys
      shape.window_left = shape.window_right = std::numeric_limits<std::int32_t>::max();
    }
    kernels::AttentionItem item = bind(planned);
    std::optional<kernels::AttentionItem> next;
    if (likely != nullptr && looks_ahead(planned, *likely)) {
      item.next = &next.emplace(bind_ahead(plan_, tensors_, *likely));
    }
    const bool intact = compute(plan_, shape, item, scratch);
    if (states_ == nullptr) {
      planned.for_each_split([&](std::int32_t split) { finish_split_item(split); });
    }
    return intact;
  }

  /// Merges a split where this was its last item.
  void finish_split_item(std::int32_t index) const noexcept {
    const PlannedSplit& split = plan_.schedule.splits[static_cast<std::size_t>(index)];
    const auto before = finished_items()[index].fetch_add(1, std::memory_order_acq_rel);
    if (before + 1 == static_cast<std::uint32_t>(split.items)) merge(split);
  }

  /// The states of one head, from a row on.
  kernels::States states_of(const PlannedStates& planned, std::int32_t head,
                            std::int32_t row) const noexcept {
    const std::int32_t partitions = planned.summed ? 1 : planned.partitions;
    const std::ptrdiff_t count = std::ptrdiff_t{planned.rows} * partitions;
    float* const m = floats(plan_.workspace.states) + planned.begin +
                     static_cast<std::size_t>(head - planned.kv_head) * planned.head_floats;
    return states_from({m, m + count, m + 2 * count, planned.rows, partitions,
                        planned.summed ? planned.partitions : 1},
                       {0, partitions}, row, plan_.shape.value_head_dim);
  }

  void merge(const PlannedSplit& split) const noexcept {
    kernels::ConstStates states[kMaxSources];
    for (std::int32_t i = 0; i < split.sources; ++i) {
      const StateSource& source =
          plan_.schedule
              .sources[static_cast<std::size_t>(split.first_source) + static_cast<std::size_t>(i)];
      const kernels::States s =
          states_of(plan_.schedule.states[static_cast<std::size_t>(source.states)], split.kv_head,
                    source.row);
      states[i] = {s.m, s.l, s.o, s.rows, s.partitions, s.merged};
    }
    const Outputs outputs = outputs_of(plan_, tensors_, split.sequence, split.kv_head);
    kernels::MergeRows rows;
    rows.states = states;
    rows.count = split.sources;
    rows.state_stride = {plan_.shape.group, 1};
    rows.out = outputs.out;
    rows.lse = outputs.lse;
    rows.out_type = plan_.shape.out_type;
    rows.out_stride = {plan_.out.token_stride, plan_.out.head_stride};
    rows.lse_stride = {plan_.lse.token_stride, plan_.lse.head_stride};
    rows.group = plan_.shape.group;
    rows.value_head_dim = plan_.shape.value_head_dim;
    rows.row_begin = split.row_begin;
    rows.rows = split.rows;
    rows.rule = plan_.shape.rule;
    rows.unit = shape_.unit;
    const ScoreModifiers& modifiers = tensors_.modifiers;
    const std::ptrdiff_t head = std::ptrdiff_t{split.kv_head} * rows.group;
    if (modifiers.sinks != nullptr) rows.sinks = modifiers.sinks + head;
    rows.temperatures = temperatures_of(plan_, modifiers.temperatures, split.sequence, head);
    rows.temperature_stride = strides_of(modifiers.temperatures);
    plan_.kernels->merge(rows);
  }

  /// The planned item with the run's addresses.
  kernels::AttentionItem bind(const PlannedItem& p) const noexcept {
    kernels::AttentionItem item = bind_inputs(plan_, tensors_, p);
    if (p.heads > 1) bind_head_steps(p, item.head_step);
    if (states_ != nullptr) {
      bind_states(p, item);
    } else {
      bind_outputs(plan_, tensors_, p, item);
      if (p.states >= 0) bind_planned_states(p, item);
    }
    return item;
  }

  /// Those of outputs and states.
  void bind_head_steps(const PlannedItem& p, kernels::HeadSteps& step) const noexcept {
    const std::ptrdiff_t group = plan_.shape.group;
    step.out = group * plan_.out.head_stride;
    step.lse = group * plan_.lse.head_stride;
    if (states_ != nullptr) {
      step.state_sums = group;
      step.state_outputs = group * plan_.shape.value_head_dim;
    } else if (p.states >= 0) {
      step.state_sums = step.state_outputs = static_cast<std::ptrdiff_t>(
          plan_.schedule.states[static_cast<std::size_t>(p.states)].head_floats);
    }
  }

  /// Binds the item's states.
  void bind_planned_states(const PlannedItem& p, kernels::AttentionItem& item) const noexcept {
    const PlannedStates& states = plan_.schedule.states[static_cast<std::size_t>(p.states)];
    const Range partitions = partitions_of(p);
    const Range part{partitions.first - states.first_partition,
                     states.summed ? 1 : partitions.last - states.first_partition};
    item.states = states_from(states_of(states, p.kv_head, 0), part, 0, plan_.shape.value_head_dim);
    item.state_stride = {plan_.shape.group, 1};
    item.first_partition = static_cast<std::int32_t>(partitions.first);
    item.merge_partitions = states.summed;
  }

  /// The caller's states: of all partitions, or of those of the item's keys, to which the first and
  /// the last one of a row add what lies before and after its keys.
  void bind_states(const PlannedItem& p, kernels::AttentionItem& item) const noexcept {
    Range partitions{0, plan_.states.partitions};
    if (p.states >= 0) {
      const PlannedStates& states = plan_.schedule.states[static_cast<std::size_t>(p.states)];
      const Range own = partitions_of(p);
      if (!states.first || own.first > states.first_partition) partitions.first = own.first;
      if (!states.last || own.last < states.first_partition + states.partitions) {
        partitions.last = own.last;
      }
    }
    const std::int32_t group = plan_.shape.group;
    const std::ptrdiff_t row = plan_.sequences[static_cast<std::size_t>(p.sequence)].state +
                               p.row_begin / group * plan_.config.query_heads + p.kv_head * group +
                               p.row_begin % group;
    item.states = states_from({states_->m, states_->l, states_->o, plan_.states.rows,
                               static_cast<std::int32_t>(states_->partitions)},
                              partitions, row, plan_.shape.value_head_dim);
    item.state_stride = {plan_.config.query_heads, 1};
    item.first_partition = static_cast<std::int32_t>(partitions.first);
  }

  const PlanData& plan_;
  const AttentionTensors& tensors_;
  kernels::AttentionShape shape_;
  const PartialStates* states_;
  std::byte* memory_;
};

/// Whether tensors are aligned, and outputs overlap neither inputs nor each other.
Status check_places(const PlanData& plan, const AttentionTensors& t, const PartialStates* states) {
  const std::array inputs = input_regions(plan, t);
  if (states != nullptr) return check_regions(regions_of({"states"}, *states, plan), inputs);
  return check_regions(output_regions(plan, t), inputs);
}

/// Without rows, or states of no partition.
bool nothing_to_write(const PlanData& plan, const PartialStates* states) {
  return plan.schedule.items.empty() || (states != nullptr && states->partitions == 0);
}

Status check_run(const PlanData* plan, const AttentionTensors& t, const PartialStates* states,
                 const Workspace& workspace) {
  if (plan == nullptr) return invalid("the plan is empty: make it with plan_attention first");
  if (states != nullptr && states->partitions != plan->states.partitions) {
    return invalid("states.partitions (", states->partitions, ") must be that of the plan (",
                   plan->states.partitions, ")");
  }
  if (nothing_to_write(*plan, states)) return {};
  if (workspace.bytes() < plan->workspace.total) {
    return invalid("the workspace has ", workspace.bytes(), " bytes and the plan needs ",
                   plan->workspace.total, ": call Workspace::reserve(plan) first");
  }
  if (states != nullptr) {
    HEED_RETURN_IF_ERROR(check_states({"states"}, *states, *plan));
  } else if (t.out == nullptr) {
    return invalid("out is null");
  }
  HEED_RETURN_IF_ERROR(check_inputs(*plan, t, true));
  if (states == nullptr) {
    HEED_RETURN_IF_ERROR(check_given_type("out", t.out, plan->config.out_type));
  }
  HEED_RETURN_IF_ERROR(check_places(*plan, t, states));
  return plan->pages ? check_tables(*plan, t.tables) : Status();
}

Status scratch_fault() {
  return failure(StatusCode::internal, "a kernel wrote outside the regions of its scratch");
}

Status run(const PlanData* plan, const AttentionTensors& tensors, const PartialStates* states,
           Workspace& workspace, Executor* executor) {
  HEED_RETURN_IF_ERROR(check_executor(executor));
  Status status = check_run(plan, tensors, states, workspace);
  if (!status.ok() || nothing_to_write(*plan, states)) return status;
  struct Context {
    Run run;
    int shares;
    std::atomic<bool> intact = true;
  } context{Run(*plan, tensors, states, workspace), plan->shares};
  const auto share = [](void* pointer, int ith) {
    Context& c = *static_cast<Context*>(pointer);
    if (!c.run.share(ith, c.shares)) c.intact.store(false, std::memory_order_relaxed);
  };
  RunControl& control = context.run.control();
  HEED_RETURN_IF_ERROR(control.begin(context.run.counters()));
  status = run_shares(plan->shares, executor, share, &context);
  control.end();
  return context.intact ? status : scratch_fault();
}

Status run_share(const PlanData* plan, const AttentionTensors& tensors, const PartialStates* states,
                 Workspace& workspace, int ith, int nth) {
  HEED_RETURN_IF_ERROR(check_run(plan, tensors, states, workspace));
  if (nth < 1 || nth > plan->workers) {
    return invalid("nth (", nth, ") must be from 1 to the plan's workers (", plan->workers,
                   "), which PlanOptions::workers sets");
  }
  if (ith < 0 || ith >= nth) {
    return invalid("ith (", ith, ") must be from 0 to nth - 1 (", nth - 1, ")");
  }
  if (nothing_to_write(*plan, states)) return {};
  const Run run(*plan, tensors, states, workspace);
  HEED_RETURN_IF_ERROR(run.control().begin_share(run.identity(nth), ith, run.counters()));
  const bool intact = run.share(ith, nth);
  run.control().end_share();
  return intact ? Status() : scratch_fault();
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
