// Weights of attention, and what they tell: logits of a block of rows at a time, by the prefill
// kernel, which then become weights row by row.
#include "heed/attention_weights.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <limits>
#include <memory>
#include <new>

#include "kernels/scratch.h"
#include "kernels/temperature.h"
#include "runtime/base/check_executor.h"
#include "runtime/base/element_types.h"
#include "runtime/base/float_environment.h"
#include "runtime/base/message.h"
#include "runtime/base/regions.h"
#include "runtime/plan/plan_data.h"
#include "runtime/run/inputs.h"
#include "runtime/run/page_tables.h"
#include "runtime/run/score_modifiers.h"
#include "runtime/run/scratch_check.h"
#include "runtime/threads/executor.h"

namespace heed {
namespace detail {
namespace {

/// Logits of a row begin at a line.
constexpr std::int64_t kLineFloats = kernels::kAlignment / sizeof(float);

/// Floats, rounded up to whole lines.
std::int64_t whole_lines(std::int64_t floats) {
  return (floats + kLineFloats - 1) / kLineFloats * kLineFloats;
}

struct FreeAligned {
  void operator()(float* memory) const {
    ::operator delete[](memory, std::align_val_t(kernels::kAlignment));
  }
};
using AlignedFloats = std::unique_ptr<float[], FreeAligned>;

AlignedFloats allocate_floats(std::size_t count) {
  return AlignedFloats(static_cast<float*>(
      ::operator new[](count * sizeof(float), std::align_val_t(kernels::kAlignment))));
}

/// What is asked for, with default layouts.
struct Request {
  AttentionWeights asked;
  WeightLayout layout;
  MassLayout mass_layout;
};

Request complete(const PlanData& plan, const AttentionWeights& asked) {
  const std::int64_t heads = plan.config.query_heads;
  const std::int64_t queries = plan.counts.most_queries, keys = plan.counts.most_keys;
  return {asked, asked.layout.value_or(WeightLayout{heads * queries * keys, queries * keys, keys}),
          asked.mass_layout.value_or(MassLayout{heads * keys, keys})};
}

/// The elements of the longest sequences.
StridedShape shape_of(const PlanData& plan, const WeightLayout& layout) {
  return {{{{"sequence_stride", layout.sequence_stride, std::ssize(plan.masks)},
            {"head_stride", layout.head_stride, plan.config.query_heads},
            {"query_stride", layout.query_stride, plan.counts.most_queries}}},
          plan.counts.most_keys};
}

StridedShape shape_of(const PlanData& plan, const MassLayout& layout) {
  return {{{{"sequence_stride", layout.sequence_stride, std::ssize(plan.masks)},
            {"head_stride", layout.head_stride, plan.config.query_heads},
            {"key_stride", 1, 1}}},
          plan.counts.most_keys};
}

/// Numbers of rows, `count` for each.
StridedShape shape_of_rows(const PlanData& plan, std::int32_t count) {
  StridedShape shape = plan.shapes.lse;
  for (Axis& axis : shape.axes) axis.stride = times(axis.stride, count);
  shape.dims = count;
  return shape;
}

Status check_layout(const char* name, const StridedShape& shape) {
  HEED_RETURN_IF_ERROR(check_reach(name, shape.axes, shape.dims));
  return check_apart(name, shape.axes, shape.dims);
}

Status check_outputs(const PlanData& plan, const AttentionTensors& tensors, const Request& r) {
  const AttentionWeights& asked = r.asked;
  const StridedShape rows = shape_of_rows(plan, 1), tops = shape_of_rows(plan, asked.top);
  if (asked.weights != nullptr) {
    if (!is_dtype(asked.weights.type()) || !dtype_info(asked.weights.type()).computes) {
      return invalid("weights are of ", name_of(asked.weights.type()),
                     "; they must be of f32, f16 or bf16");
    }
    HEED_RETURN_IF_ERROR(check_layout("weights", shape_of(plan, r.layout)));
  }
  if (asked.mass != nullptr) {
    HEED_RETURN_IF_ERROR(check_layout("mass", shape_of(plan, r.mass_layout)));
  }
  if ((asked.top_weights == nullptr) != (asked.top_keys == nullptr)) {
    return invalid("top_weights and top_keys belong together: give both or neither");
  }
  if (asked.top_weights != nullptr) {
    HEED_RETURN_IF_ERROR(check_range("top", asked.top, 1, kMaxTopWeights));
    HEED_RETURN_IF_ERROR(check_reach("top_weights", tops.axes, tops.dims));
  }
  const std::array outputs = {
      Region({"weights"}, asked.weights.data(), shape_of(plan, r.layout), asked.weights.type()),
      Region({"entropy"}, asked.entropy, rows), Region({"top_weights"}, asked.top_weights, tops),
      Region({"top_keys"}, asked.top_keys, tops),
      Region({"mass"}, asked.mass, shape_of(plan, r.mass_layout))};
  return check_regions(outputs, input_regions(plan, tensors));
}

/// The rows of one KV head of a sequence, one after the other: their masses are added in order.
class HeadRows {
 public:
  HeadRows(const PlanData& plan, const AttentionTensors& tensors, const Request& request,
           float* scratch, float* logits, std::int64_t row_floats)
      : plan_(plan),
        tensors_(tensors),
        request_(request),
        shape_(with_modifiers(plan, tensors.modifiers)),
        scratch_(scratch),
        logits_(logits),
        row_floats_(row_floats) {}

  /// Returns whether kernels kept to their scratch.
  bool explain(std::int32_t sequence, std::int32_t kv_head) const {
    bool intact = true;
    const Visibility& mask = plan_.visibility(sequence, kv_head);
    clear_mass(sequence, kv_head);
    const std::int64_t block = plan_.kernels->block_vectors * plan_.kernels->lanes;
    for (std::int64_t row = 0; row < mask.rows(); row += block) {
      const Range rows{row, std::min(mask.rows(), row + block)};
      const Range keys = mask.of_rows(rows);
      PlannedItem item;
      item.sequence = sequence;
      item.kv_head = kv_head;
      item.row_begin = static_cast<std::int32_t>(rows.first);
      item.rows = static_cast<std::int32_t>(rows.last - rows.first);
      item.key_begin = static_cast<std::int32_t>(keys.first);
      item.key_end = static_cast<std::int32_t>(keys.last);
      intact &= compute_logits(item);
      for (std::int32_t i = 0; i < item.rows; ++i) weigh(item, i, mask.keys);
    }
    return intact;
  }

 private:
  void clear_mass(std::int32_t sequence, std::int32_t kv_head) const {
    if (request_.asked.mass == nullptr) return;
    const std::int64_t keys = plan_.visibility(sequence, kv_head).keys;
    for (std::int32_t h = 0; h < shape_.group; ++h) {
      std::fill_n(mass_of(sequence, kv_head * shape_.group + h), keys, 0.0F);
    }
  }

  float* mass_of(std::int32_t sequence, std::int64_t head) const {
    return request_.asked.mass + sequence * request_.mass_layout.sequence_stride +
           head * request_.mass_layout.head_stride;
  }

  bool compute_logits(const PlannedItem& planned) const {
    if (planned.key_begin >= planned.key_end) return true;
    const std::int64_t first = planned.key_begin / kLineFloats * kLineFloats;
    const std::int64_t last = whole_lines(planned.key_end);
    for (std::int64_t i = 0; i < planned.rows; ++i) {
      float* const row = logits_ + i * row_floats_;
      std::fill(row + first, row + last, -std::numeric_limits<float>::infinity());
    }
    kernels::AttentionItem item = bind_inputs(plan_, tensors_, planned);
    item.sinks = nullptr;
    item.logits = logits_;
    item.logits_stride = row_floats_;
    const ScratchCheck check(plan_, item, scratch_);
    plan_.kernels->attend(shape_, item, scratch_);
    return check.intact();
  }

  /// Makes the logits of a row of the item what is asked for.
  void weigh(const PlannedItem& item, std::int32_t index, std::int64_t keys) const {
    const AttentionWeights& asked = request_.asked;
    const std::int32_t group = shape_.group, row = item.row_begin + index;
    const std::int64_t token = row / group, head = item.kv_head * group + row % group;
    const PlannedSequence& s = plan_.sequences[static_cast<std::size_t>(item.sequence)];
    const std::ptrdiff_t number =
        s.lse + token * plan_.lse.token_stride + head * plan_.lse.head_stride;
    kernels::WeightRow own;
    own.logits = logits_ + index * row_floats_;
    own.keys = static_cast<std::int32_t>(keys);
    if (item.key_begin < item.key_end) own.first = item.key_begin, own.last = item.key_end;
    own.rule = shape_.rule;
    own.unit = shape_.unit;
    const RowTemperatures& temperatures = tensors_.modifiers.temperatures;
    if (temperatures.data != nullptr) {
      const float temperature = temperatures_of(plan_, temperatures, item.sequence,
                                                head)[token * temperatures.query_stride];
      own.rule = kernels::rule_at(temperature);
      own.unit = static_cast<float>(kernels::unit_at(temperature));
    }
    const float* const sinks = tensors_.modifiers.sinks;
    if (sinks != nullptr) own.sink = sinks + head;
    if (asked.weights != nullptr) {
      const WeightLayout& layout = request_.layout;
      own.type = asked.weights.type();
      own.weights = static_cast<std::byte*>(
          (asked.weights + (item.sequence * layout.sequence_stride + head * layout.head_stride +
                            token * layout.query_stride))
              .data());
    }
    if (asked.entropy != nullptr) own.entropy = asked.entropy + number;
    if (asked.top_weights != nullptr) {
      own.top = asked.top;
      own.top_weights = asked.top_weights + number * asked.top;
      own.top_keys = asked.top_keys + number * asked.top;
    }
    if (asked.mass != nullptr) own.mass = mass_of(item.sequence, head);
    plan_.kernels->weigh_row(own);
  }

  const PlanData& plan_;
  const AttentionTensors& tensors_;
  const Request& request_;
  kernels::AttentionShape shape_;
  float* scratch_;
  float* logits_;
  std::int64_t row_floats_;
};

/// What workers share: heads of sequences, which they take one after the other.
struct Heads {
  const PlanData& plan;
  const AttentionTensors& tensors;
  const Request& request;
  std::size_t scratch_floats;  ///< of a worker
  std::int64_t row_floats;
  float* memory;
  std::size_t worker_floats;
  std::atomic<std::int64_t> next = 0;
  std::atomic<bool> intact = true;

  static void share(void* context, int ith) {
    auto& all = *static_cast<Heads*>(context);
    const FloatEnvironment environment(all.plan.shape.pairs ? Denormals::zero : Denormals::kept);
    float* const scratch = all.memory + static_cast<std::size_t>(ith) * all.worker_floats;
    const HeadRows rows(all.plan, all.tensors, all.request, scratch, scratch + all.scratch_floats,
                        all.row_floats);
    const std::int64_t heads = all.plan.config.kv_heads, count = heads * std::ssize(all.plan.masks);
    for (;;) {
      const std::int64_t i = all.next.fetch_add(1, std::memory_order_relaxed);
      if (i >= count) return;
      if (!rows.explain(static_cast<std::int32_t>(i / heads),
                        static_cast<std::int32_t>(i % heads))) {
        all.intact.store(false, std::memory_order_relaxed);
      }
    }
  }
};

Status explain(const PlanData* plan, const AttentionTensors& tensors, const AttentionWeights& asked,
               Executor* executor) {
  HEED_RETURN_IF_ERROR(check_executor(executor));
  if (plan == nullptr) return invalid("the plan is empty: make it with plan_attention first");
  const Request request = complete(*plan, asked);
  if (!plan->schedule.items.empty()) {
    HEED_RETURN_IF_ERROR(check_inputs(*plan, tensors, false));
  }
  HEED_RETURN_IF_ERROR(check_outputs(*plan, tensors, request));
  if (plan->pages && !plan->schedule.items.empty()) {
    HEED_RETURN_IF_ERROR(check_tables(*plan, tensors.tables));
  }
  const kernels::KernelTable& table = *plan->kernels;
  const std::int32_t block = table.block_vectors * table.lanes;
  const std::size_t scratch =
      kernels::prefill_scratch(plan->shape, block, table.lanes, table.block_vectors).floats;
  // Pairs of keys may end one key further on.
  const std::int64_t row = whole_lines(plan->counts.most_keys + 1);
  const std::size_t worker =
      scratch + static_cast<std::size_t>(row) * static_cast<std::size_t>(block);
  const std::int64_t units = plan->config.kv_heads * std::ssize(plan->masks);
  const int workers = static_cast<int>(std::clamp<std::int64_t>(units, 1, plan->shares));
  const AlignedFloats memory = allocate_floats(worker * static_cast<std::size_t>(workers));
  Heads heads{*plan, tensors, request, scratch, row, memory.get(), worker};
  HEED_RETURN_IF_ERROR(run_shares(workers, executor, &Heads::share, &heads));
  if (heads.intact) return {};
  return failure(StatusCode::internal, "a kernel wrote outside the regions of its scratch");
}

}  // namespace
}  // namespace detail

Status attention_weights(const Plan& plan, const AttentionTensors& tensors,
                         const AttentionWeights& weights, Executor* executor) noexcept {
  return detail::guarded([&] { return detail::explain(plan.data(), tensors, weights, executor); });
}

}  // namespace heed
