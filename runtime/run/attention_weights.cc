// Weights of attention, and what they tell: a block of rows at a time, by the prefill kernel, which
// keeps the block's weights until it knows what all of them sum to.
#include "heed/attention_weights.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cmath>
#include <new>

#include "kernels/scratch.h"
#include "runtime/base/check_executor.h"
#include "runtime/base/element_types.h"
#include "runtime/base/float_environment.h"
#include "runtime/base/message.h"
#include "runtime/base/regions.h"
#include "runtime/plan/plan_data.h"
#include "runtime/run/inputs.h"
#include "runtime/run/outputs.h"
#include "runtime/run/page_tables.h"
#include "runtime/run/run_control.h"
#include "runtime/run/score_modifiers.h"
#include "runtime/threads/executor.h"

namespace heed {
namespace detail {
namespace {

/// Floats, rounded up to whole lines.
std::size_t whole_lines(std::size_t floats) {
  constexpr std::size_t line = kernels::kAlignment / sizeof(float);
  return (floats + line - 1) / line * line;
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
  std::array<Region, 2> of_run;
  if (tensors.out != nullptr) {
    HEED_RETURN_IF_ERROR(check_given_type("out", tensors.out, plan.config.out_type));
    of_run = output_regions(plan, tensors);
  }
  const std::array outputs = {
      Region({"weights"}, asked.weights.data(), shape_of(plan, r.layout), asked.weights.type()),
      Region({"entropy"}, asked.entropy, rows),
      Region({"top_weights"}, asked.top_weights, tops),
      Region({"top_keys"}, asked.top_keys, tops),
      Region({"mass"}, asked.mass, shape_of(plan, r.mass_layout)),
      of_run[0],
      of_run[1]};
  return check_regions(outputs, input_regions(plan, tensors));
}

/// Rows of a unit of work: as many as the largest item of a run, and whole blocks of every ISA,
/// whose masses are added in the order of rows.
constexpr std::int64_t kUnitRows = kernels::kMaxItemRows;

/// Rows of a KV head of a sequence, from this one on.
struct Unit {
  std::int32_t sequence, kv_head;
  std::int64_t row;
};

/// The units of a plan, numbered so that later rows of a sequence, which see most keys under a
/// causal mask, have larger numbers.
class Units {
 public:
  explicit Units(const PlanData& plan) : plan_(plan) {
    for (std::int32_t b = 0; b < std::ssize(plan.masks); ++b) count_ += units_of(b);
  }

  std::int64_t count() const { return count_; }

  Unit operator[](std::int64_t number) const {
    const std::int64_t heads = plan_.config.kv_heads;
    std::int32_t b = 0;
    for (; number >= units_of(b); ++b) number -= units_of(b);
    return {b, static_cast<std::int32_t>(number % heads), number / heads * kUnitRows};
  }

 private:
  std::int64_t units_of(std::int32_t sequence) const {
    return (plan_.visibility(sequence, 0).rows() + kUnitRows - 1) / kUnitRows *
           plan_.config.kv_heads;
  }

  const PlanData& plan_;
  std::int64_t count_ = 0;
};

/// Bytes of the weights that a worker keeps, as far as it has a choice: they are read once more
/// from the last cache, of which this is a worker's share on many machines.
constexpr std::int64_t kKeptBytes = std::int64_t{8} << 20U;

/// Rows of an item. Blocks of rows share each tile of keys and values; two at least, which makes
/// copies of tiles pay (kBlocksPerCopyOfFewSets).
std::int32_t item_rows(const PlanData& plan) {
  const std::int64_t block = plan.kernels->block_vectors * plan.kernels->lanes;
  const std::int64_t row_bytes = std::max<std::int64_t>(4 * plan.counts.most_keys, 1);
  const std::int64_t blocks = std::max<std::int64_t>(kKeptBytes / row_bytes / block, 2);
  return static_cast<std::int32_t>(std::min(blocks * block, kUnitRows));
}

/// What a call's workspace holds, in floats: the state of runs, masses as doubles, and for each
/// worker the kernel's scratch, what its items keep of their weights, and the masses of a unit.
struct CallLayout {
  std::int32_t rows;  ///< of an item
  std::size_t totals, total_floats = 0, workers, scratch, kept, masses = 0, worker_floats;
  int shares;

  CallLayout(const PlanData& plan, bool has_masses)
      : rows(item_rows(plan)),
        totals(kRunControlBytes / sizeof(float)),
        shares(static_cast<int>(std::min<std::int64_t>(Units(plan).count(), plan.shares))) {
    const kernels::KernelTable& table = *plan.kernels;
    const auto keys = static_cast<std::size_t>(plan.counts.most_keys);
    if (has_masses) {
      const std::int64_t heads = std::ssize(plan.masks) * plan.config.query_heads;
      total_floats = whole_lines(2 * static_cast<std::size_t>(heads) * keys);
      masses = whole_lines(static_cast<std::size_t>(plan.shape.group) * keys);
    }
    workers = totals + total_floats;
    scratch = whole_lines(
        kernels::prefill_scratch(plan.shape, rows, table.lanes, table.block_vectors).floats);
    kept = whole_lines(kernels::explanation_floats(static_cast<std::int32_t>(keys), rows,
                                                   plan.shape.tile_keys, table));
    worker_floats = scratch + kept + kernels::kScratchGuard + masses;
  }

  std::size_t bytes() const {
    return sizeof(float) * (workers + static_cast<std::size_t>(shares) * worker_floats);
  }
};
static_assert(kRunControlBytes % kernels::kAlignment == 0);

/// Masses while units add to them. What a unit adds is rounded to multiples of a power of two that
/// is so large that all sums are exact, and so small that this is far below the rounding of floats.
/// So it does not matter in which order units come.
class Masses {
 public:
  /// In memory of these doubles.
  Masses(const PlanData& plan, std::atomic<double>* totals, std::size_t count)
      : plan_(plan), totals_(totals) {
    for (std::size_t i = 0; i < count; ++i) new (totals + i) std::atomic<double>(0.0);
    // No key has more mass than there are queries, n < 2^k: multiples of ulp(2^k) = 2^(k - 52).
    const auto queries = static_cast<std::uint64_t>(plan.counts.queries);
    rounding_ = std::scalbln(1.5, static_cast<long>(std::bit_width(queries)));
  }

  /// Adds the sums of keys [keys.first, keys.last), which begin with that of key 0.
  void add(std::int64_t sequence, std::int64_t head, const Range& keys, const float* sums) {
    std::atomic<double>* const totals = totals_of(sequence, head);
    for (std::int64_t j = keys.first; j < keys.last; ++j) {
      const double rounded = (static_cast<double>(sums[j]) + rounding_) - rounding_;
      totals[j].fetch_add(rounded, std::memory_order_relaxed);
    }
  }

  void write(const Request& request) {
    for (std::int64_t b = 0; b < std::ssize(plan_.masks); ++b) {
      for (std::int64_t h = 0; h < plan_.config.query_heads; ++h) {
        float* const mass = request.asked.mass + b * request.mass_layout.sequence_stride +
                            h * request.mass_layout.head_stride;
        const std::int64_t keys = plan_.visibility(static_cast<std::int32_t>(b), 0).keys;
        for (std::int64_t j = 0; j < keys; ++j) {
          mass[j] = static_cast<float>(totals_of(b, h)[j].load(std::memory_order_relaxed));
        }
      }
    }
  }

 private:
  std::atomic<double>* totals_of(std::int64_t sequence, std::int64_t head) {
    return totals_ + (sequence * plan_.config.query_heads + head) * plan_.counts.most_keys;
  }

  const PlanData& plan_;
  std::atomic<double>* totals_;
  double rounding_;
};

/// A call: what workers share, and the units that they take, one after the other.
class Call {
 public:
  Call(const PlanData& plan, const AttentionTensors& tensors, const Request& request,
       const CallLayout& layout, float* memory)
      : plan_(plan),
        tensors_(tensors),
        request_(request),
        shape_(shape_of_call(plan, tensors)),
        units_(plan),
        layout_(layout),
        memory_(memory),
        masses_(plan, reinterpret_cast<std::atomic<double>*>(memory + layout.totals),
                layout.total_floats / 2) {}

  Status run(Executor* executor) {
    if (layout_.shares > 0) {
      HEED_RETURN_IF_ERROR(run_shares(layout_.shares, executor, &Call::share, this));
    }
    if (request_.asked.mass != nullptr) masses_.write(request_);
    if (intact_) return {};
    return failure(StatusCode::internal, "a kernel wrote outside the regions of its scratch");
  }

 private:
  bool computes_outputs() const { return tensors_.out != nullptr; }

  /// Without outputs there are no values.
  static kernels::AttentionShape shape_of_call(const PlanData& plan,
                                               const AttentionTensors& tensors) {
    kernels::AttentionShape shape = with_modifiers(plan, tensors.modifiers);
    if (tensors.out == nullptr) shape.value_head_dim = 0;
    return shape;
  }

  static void share(void* context, int ith) {
    auto& call = *static_cast<Call*>(context);
    const FloatEnvironment environment(call.plan_.shape.pairs ? Denormals::zero : Denormals::kept);
    float* const memory = call.memory_ + call.layout_.workers +
                          static_cast<std::size_t>(ith) * call.layout_.worker_floats;
    for (;;) {
      const std::int64_t i = call.next_.fetch_add(1, std::memory_order_relaxed);
      if (i >= call.units_.count()) return;
      call.explain(call.units_[call.units_.count() - 1 - i], memory);
    }
  }

  void explain(const Unit& unit, float* memory) {
    const Visibility& mask = plan_.visibility(unit.sequence, unit.kv_head);
    const Range rows{unit.row, std::min(mask.rows(), unit.row + kUnitRows)};
    const Range keys = mask.of_rows(rows);
    float* const kept = memory + layout_.scratch;
    float* const masses = kept + layout_.kept + kernels::kScratchGuard;
    const bool has_masses = layout_.masses > 0;
    for (std::int64_t h = 0; has_masses && h < shape_.group; ++h) {
      std::fill(masses + h * mask.keys + keys.first, masses + h * mask.keys + keys.last, 0.0F);
    }
    kernels::Explanation asked = bind(unit);
    asked.memory = kept;
    asked.memory_floats = layout_.kept;
    if (has_masses) asked.mass = masses, asked.mass_stride = mask.keys;
    for (std::int64_t row = rows.first; row < rows.last; row += layout_.rows) {
      compute_item(unit, {row, std::min(rows.last, row + layout_.rows)}, asked, memory);
    }
    for (std::int64_t h = 0; has_masses && h < shape_.group; ++h) {
      masses_.add(unit.sequence, std::int64_t{unit.kv_head} * shape_.group + h, keys,
                  masses + h * mask.keys);
    }
  }

  void compute_item(const Unit& unit, const Range& rows, const kernels::Explanation& asked,
                    float* scratch) {
    const Range keys = plan_.visibility(unit.sequence, unit.kv_head).of_rows(rows);
    PlannedItem planned;
    planned.sequence = unit.sequence;
    planned.kv_head = unit.kv_head;
    planned.row_begin = static_cast<std::int32_t>(rows.first);
    planned.rows = static_cast<std::int32_t>(rows.last - rows.first);
    planned.key_begin = static_cast<std::int32_t>(keys.first);
    planned.key_end = static_cast<std::int32_t>(keys.last);
    kernels::AttentionItem item = bind_inputs(plan_, tensors_, planned);
    if (computes_outputs()) bind_outputs(plan_, tensors_, planned, item);
    item.explanation = &asked;
    if (!compute(plan_, shape_, item, scratch)) intact_.store(false, std::memory_order_relaxed);
  }

  /// Where the answers of a KV head's first query head begin.
  kernels::Explanation bind(const Unit& unit) const {
    const AttentionWeights& asked = request_.asked;
    const WeightLayout& layout = request_.layout;
    const std::ptrdiff_t head = std::ptrdiff_t{unit.kv_head} * shape_.group;
    const std::ptrdiff_t number =
        plan_.sequences[static_cast<std::size_t>(unit.sequence)].lse + head * plan_.lse.head_stride;
    kernels::Explanation own;
    own.row_stride = {plan_.lse.token_stride, plan_.lse.head_stride};
    if (asked.entropy != nullptr) own.entropy = asked.entropy + number;
    if (asked.top_weights != nullptr) {
      own.top = asked.top;
      own.top_weights = asked.top_weights + number * asked.top;
      own.top_keys = asked.top_keys + number * asked.top;
    }
    if (asked.weights == nullptr) return own;
    const std::ptrdiff_t bytes = dtype_info(asked.weights.type()).bytes(1);
    own.type = asked.weights.type();
    own.weight_stride = {layout.query_stride * bytes, layout.head_stride * bytes};
    own.weights = static_cast<std::byte*>(
        (asked.weights + (unit.sequence * layout.sequence_stride + head * layout.head_stride))
            .data());
    return own;
  }

  const PlanData& plan_;
  const AttentionTensors& tensors_;
  const Request& request_;
  const kernels::AttentionShape shape_;
  const Units units_;
  const CallLayout& layout_;
  float* const memory_;
  Masses masses_;
  std::atomic<std::int64_t> next_ = 0;
  std::atomic<bool> intact_ = true;
};

Status explain(const PlanData* plan, const AttentionTensors& tensors, const AttentionWeights& asked,
               Workspace& workspace, Executor* executor) {
  HEED_RETURN_IF_ERROR(check_executor(executor));
  if (plan == nullptr) return invalid("the plan is empty: make it with plan_attention first");
  const Request request = complete(*plan, asked);
  if (!plan->schedule.items.empty()) {
    HEED_RETURN_IF_ERROR(check_inputs(*plan, tensors, tensors.out != nullptr));
  }
  HEED_RETURN_IF_ERROR(check_outputs(*plan, tensors, request));
  if (plan->pages && !plan->schedule.items.empty()) {
    HEED_RETURN_IF_ERROR(check_tables(*plan, tensors.tables));
  }
  const CallLayout layout(*plan, asked.mass != nullptr);
  if (workspace.bytes() < layout.bytes()) {
    return invalid("the workspace has ", workspace.bytes(), " bytes and these weights need ",
                   layout.bytes(), ": call Workspace::reserve(plan, weights) first");
  }
  RunControl& control = *static_cast<RunControl*>(workspace.data());
  HEED_RETURN_IF_ERROR(control.begin({}));
  Status status =
      Call(*plan, tensors, request, layout, static_cast<float*>(workspace.data())).run(executor);
  control.end();
  return status;
}

}  // namespace
}  // namespace detail

Status attention_weights(const Plan& plan, const AttentionTensors& tensors,
                         const AttentionWeights& weights, Workspace& workspace,
                         Executor* executor) noexcept {
  return detail::guarded(
      [&] { return detail::explain(plan.data(), tensors, weights, workspace, executor); });
}

Status Workspace::reserve(const Plan& plan, const AttentionWeights& weights) noexcept {
  return detail::guarded([&]() -> Status {
    if (plan.data() == nullptr) return reserve(plan);
    return reserve(detail::CallLayout(*plan.data(), weights.mass != nullptr).bytes());
  });
}

}  // namespace heed
