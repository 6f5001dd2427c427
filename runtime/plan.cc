// Planning: from a description to items, longest first, and a workspace for them.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <tuple>
#include <utility>

#include "heed/attention.h"
#include "heed/cpu.h"
#include "runtime/dispatch.h"
#include "runtime/float_environment.h"
#include "runtime/message.h"
#include "runtime/plan_data.h"
#include "runtime/run_control.h"
#include "runtime/validate.h"

namespace heed::detail {
namespace {

using kernels::kPartitionKeys;

/// Items per worker below which rows are spread over more, smaller items: with the longest first,
/// the last to finish then overruns by at most a few percent of the whole.
constexpr int kItemsPerWorker = 8;

/// A worker's fair share is split once a single item would be more than this part of it, into parts
/// of half that size.
constexpr double kLargestShare = 0.5;

/// The states of split items take at most this part of the memory of all keys and values: those of
/// a few rows take a hundredth of it, those of many rows could take more than all of it.
constexpr double kStateShare = 0.25;

/// Multiply-adds (of one lane) that take about as long as waking a sleeping worker does, 20 µs at
/// 50 of them per ns: less work than that runs on the calling thread alone.
constexpr double kInlineCost = 1e6;

/// One multiple of kAlignment after the other.
std::size_t aligned(std::size_t bytes) {
  return (bytes + kernels::kAlignment - 1) / kernels::kAlignment * kernels::kAlignment;
}

std::int64_t clamp_side(std::int64_t keys) {
  return std::min<std::int64_t>(keys, std::numeric_limits<std::int32_t>::max());
}

/// The keys [first, last) that token i of a sequence sees.
struct VisibleKeys {
  std::int64_t first, last;
};

class Planner {
 public:
  Planner(const Description& description, const kernels::KernelTable& table, PlanData& plan)
      : d_(description), plan_(plan) {
    plan_.kernels = &table;
    plan_.config = d_.config;
    plan_.q = d_.q, plan_.k = d_.k, plan_.v = d_.v, plan_.out = d_.out, plan_.lse = d_.lse;
    plan_.workers = d_.workers;
    plan_.visible_scores = 0;
    plan_.total_cost = 0;
    plan_.sequences.clear();
    plan_.items.clear();
    plan_.splits.clear();
    shape_sequences();
  }

  void build() {
    fill_shape();
    choose_sizes();
    const std::int64_t vectors = item_vectors();
    for (std::int32_t b = 0; b < d_.sequences; ++b) cut_sequence(b, vectors);
    const std::size_t states = split_long_items();
    std::sort(plan_.items.begin(), plan_.items.end(), longer);
    lay_out_workspace(states);
  }

 private:
  static bool longer(const PlannedItem& a, const PlannedItem& b) {
    const auto order = [](const PlannedItem& i) {
      return std::make_tuple(-i.cost, i.sequence, i.kv_head, i.row_begin, i.key_begin);
    };
    return order(a) < order(b);
  }

  std::int64_t group() const { return d_.config.query_heads / d_.config.kv_heads; }
  std::int64_t lanes() const { return plan_.kernels->lanes; }

  std::int64_t row_vectors(const PlannedSequence& s) const {
    return (s.queries * group() + lanes() - 1) / lanes();
  }

  void shape_sequences() {
    std::int64_t query_token = 0, key_token = 0;
    for (std::int64_t b = 0; b < d_.sequences; ++b) {
      const auto start = [b](const Layout& layout, const Lengths& lengths, std::int64_t token) {
        return lengths.offsets.empty() ? b * layout.sequence_stride : token * layout.token_stride;
      };
      PlannedSequence s;
      s.queries = static_cast<std::int32_t>(tokens_of(d_.query, b));
      s.keys = static_cast<std::int32_t>(tokens_of(d_.key, b));
      s.q = start(d_.q, d_.query, query_token);
      s.out = start(d_.out, d_.query, query_token);
      s.lse = start(d_.lse, d_.query, query_token);
      s.k = start(d_.k, d_.key, key_token);
      s.v = start(d_.v, d_.key, key_token);
      query_token += s.queries;
      key_token += s.keys;
      plan_.sequences.push_back(s);
    }
  }

  void choose_sizes() {
    const CpuInfo& cpu = cpu_info();
    plan_.caches = {cpu.l1d_bytes, cpu.l2_bytes};
    plan_.tiles = choose_tiles(plan_.caches, plan_.row_shape(), d_.tiles);
    plan_.shape.tile_keys = plan_.tiles.tile_keys;
  }

  void fill_shape() {
    const AttentionConfig& c = d_.config;
    kernels::AttentionShape& shape = plan_.shape;
    shape.head_dim = static_cast<std::int32_t>(c.head_dim);
    shape.value_head_dim = static_cast<std::int32_t>(c.value_head_dim);
    shape.group = static_cast<std::int32_t>(group());
    shape.rule =
        c.temperature == 0 ? kernels::WeightRule::argmax : kernels::WeightRule::exponential;
    shape.query_factor = d_.query_factor;
    shape.window_left = clamp_side(c.window_left);
    shape.window_right = c.causal ? 0 : clamp_side(c.window_right);
    shape.item_rows = 0;
  }

  /// The largest number of row vectors an item may have: as many as the caches hold, fewer where
  /// the workers would run out of items.
  std::int64_t item_vectors() const {
    const std::int64_t block = plan_.kernels->block_vectors;
    std::int64_t most = (plan_.tiles.item_rows + lanes() - 1) / lanes();
    const std::int64_t wanted =
        plan_.workers == 1 ? 1 : std::int64_t{kItemsPerWorker} * plan_.workers;
    while (most > block && count_items(most) < wanted) most = std::max(block, most - block);
    return most;
  }

  std::int64_t count_items(std::int64_t most) const {
    std::int64_t items = 0;
    for (const PlannedSequence& s : plan_.sequences) {
      items += (row_vectors(s) + most - 1) / most * d_.config.kv_heads;
    }
    return items;
  }

  VisibleKeys visible_keys(const PlannedSequence& s, std::int64_t token) const {
    const std::int64_t position = token + diagonal(s);
    const auto clamp = [&](std::int64_t key) { return std::clamp<std::int64_t>(key, 0, s.keys); };
    return {clamp(position - plan_.shape.window_left),
            clamp(position + plan_.shape.window_right + 1)};
  }

  std::int64_t diagonal(const PlannedSequence& s) const {
    return plan_.config.alignment == Alignment::start ? 0 : std::int64_t{s.keys} - s.queries;
  }

  /// Cuts a sequence's rows into items of equal numbers of vectors, the same for every KV head.
  void cut_sequence(std::int32_t b, std::int64_t most) {
    const PlannedSequence& s = plan_.sequences[static_cast<std::size_t>(b)];
    const std::int64_t vectors = row_vectors(s), rows = s.queries * group();
    const std::int64_t count = (vectors + most - 1) / most;
    for (std::int64_t i = 0; i < count; ++i) {
      PlannedItem item;
      item.sequence = b;
      item.row_begin = static_cast<std::int32_t>(vectors * i / count * lanes());
      item.rows = static_cast<std::int32_t>(std::min(rows, vectors * (i + 1) / count * lanes()) -
                                            item.row_begin);
      const std::int64_t visible = measure(s, item);
      count_scores(visible);
      plan_.shape.item_rows = std::max(plan_.shape.item_rows, item.rows);
      for (std::int32_t head = 0; head < d_.config.kv_heads; ++head) {
        item.kv_head = head;
        plan_.items.push_back(item);
        plan_.total_cost += item.cost;
      }
    }
  }

  /// Counts an item's scores for every KV head, up to the largest number that there is.
  void count_scores(std::int64_t visible) {
    std::int64_t scores = 0;
    if (__builtin_mul_overflow(visible, d_.config.kv_heads, &scores) ||
        __builtin_add_overflow(plan_.visible_scores, scores, &plan_.visible_scores)) {
      plan_.visible_scores = std::numeric_limits<std::int64_t>::max();
    }
  }

  /// Rows that cost as much as `rows` do: lanes without a row cost as much as others; the kernel
  /// for few rows has none, but transposes keys, 4 shuffles on one port for each vector of them,
  /// where a row takes one multiply-add, two a cycle, for each vector of keys and of values.
  double filled_rows(std::int32_t rows) const {
    if (rows <= kernels::few_rows(plan_.kernels->lanes)) return rows + 4.0;
    return static_cast<double>(kernels::padded(rows, plan_.kernels->lanes));
  }

  /// Finds the item's keys and cost; returns the scores that its rows see.
  std::int64_t measure(const PlannedSequence& s, PlannedItem& item) const {
    const std::int64_t end = item.row_begin + item.rows;
    std::int64_t visible = 0;
    for (std::int64_t row = item.row_begin; row < end;) {
      const std::int64_t token = row / group(), next = std::min(end, (token + 1) * group());
      const VisibleKeys keys = visible_keys(s, token);
      visible += (next - row) * std::max<std::int64_t>(keys.last - keys.first, 0);
      row = next;
    }
    item.key_begin = static_cast<std::int32_t>(visible_keys(s, item.row_begin / group()).first);
    item.key_end = static_cast<std::int32_t>(visible_keys(s, (end - 1) / group()).last);
    const double filled = filled_rows(item.rows);
    const double dims = static_cast<double>(d_.config.head_dim + d_.config.value_head_dim);
    // Each row is also packed, normalised and written once: about as much as ten keys.
    item.cost = filled * dims * (static_cast<double>(visible) / item.rows + 10.0);
    return visible;
  }

  /// Splits the keys of items that one worker would still be busy with when all others are done.
  /// Returns the floats that their states need.
  std::size_t split_long_items() {
    if (plan_.workers == 1 || plan_.total_cost < kInlineCost) return 0;
    const double largest = kLargestShare * plan_.total_cost / plan_.workers;
    const double most_states = kStateShare * key_and_value_floats();
    const std::size_t whole = plan_.items.size();
    std::size_t states = 0;
    for (std::size_t i = 0; i < whole && plan_.splits.size() < kMaxSplits; ++i) {
      const PlannedItem& item = plan_.items[i];
      const std::int32_t first = item.key_begin / kPartitionKeys;
      const std::int32_t partitions =
          (item.key_end - 1) / kPartitionKeys + 1 - first;  // none reach 2³¹ keys
      if (item.cost <= largest || partitions < 2) continue;
      const std::size_t more =
          static_cast<std::size_t>(partitions) *
          kernels::state_floats(plan_.shape.value_head_dim, item.rows, plan_.kernels->lanes);
      if (static_cast<double>(states + more) > most_states) continue;
      const double parts = std::min<double>(partitions, std::ceil(2 * item.cost / largest));
      split(i, {states, static_cast<std::int32_t>(parts), first, partitions});
      states += more;
    }
    return states;
  }

  double key_and_value_floats() const {
    double keys = 0;
    for (const PlannedSequence& s : plan_.sequences) keys += s.keys;
    const AttentionConfig& c = d_.config;
    return keys * static_cast<double>(c.kv_heads * (c.head_dim + c.value_head_dim));
  }

  /// Replaces item i by its parts.
  void split(std::size_t i, const PlannedSplit& split) {
    const PlannedItem item = plan_.items[i];
    const auto bound = [&](std::int64_t part) {
      const std::int64_t partition = split.first_partition + split.partitions * part / split.parts;
      return std::clamp<std::int64_t>(partition * kPartitionKeys, item.key_begin, item.key_end);
    };
    for (std::int32_t p = 0; p < split.parts; ++p) {
      PlannedItem part = item;
      part.key_begin = static_cast<std::int32_t>(bound(p));
      part.key_end = static_cast<std::int32_t>(bound(p + 1));
      part.split = static_cast<std::int32_t>(plan_.splits.size());
      part.cost = item.cost * (part.key_end - part.key_begin) / (item.key_end - item.key_begin);
      if (p == 0) {
        plan_.items[i] = part;
      } else {
        plan_.items.push_back(part);
      }
    }
    plan_.splits.push_back(split);
  }

  void lay_out_workspace(std::size_t states) {
    const bool small = plan_.total_cost < kInlineCost;
    const auto items = static_cast<std::int64_t>(plan_.items.size());
    plan_.shares = small ? 1 : static_cast<int>(std::clamp<std::int64_t>(items, 1, plan_.workers));
    WorkspaceLayout& w = plan_.workspace;
    w.states = aligned(sizeof(RunControl));
    w.scratch = w.states + aligned(states * sizeof(float));
    w.scratch_stride =
        aligned(kernels::attention_scratch_floats(plan_.shape, *plan_.kernels) * sizeof(float));
    w.total = w.scratch + w.scratch_stride * static_cast<std::size_t>(plan_.workers);
  }

  const Description& d_;
  PlanData& plan_;
};

}  // namespace
}  // namespace heed::detail

namespace heed {

Plan::Plan() noexcept = default;
Plan::~Plan() = default;
Plan::Plan(Plan&&) noexcept = default;
Plan& Plan::operator=(Plan&&) noexcept = default;

std::string_view Plan::isa() const noexcept { return data_ ? data_->kernels->name : ""; }
int Plan::workers() const noexcept { return data_ ? data_->workers : 0; }
std::size_t Plan::workspace_bytes() const noexcept { return data_ ? data_->workspace.total : 0; }
std::int64_t Plan::visible_scores() const noexcept { return data_ ? data_->visible_scores : 0; }

Status plan_attention(const AttentionConfig& config, const Batch& batch, const PlanOptions& options,
                      Plan& plan) noexcept {
  const detail::FloatEnvironment environment;  // the scale is part of the result
  return detail::guarded([&]() -> Status {
    detail::Description description;
    Status status = detail::complete_description(config, batch, options, description);
    if (!status.ok()) return status;
    const kernels::KernelTable* table = nullptr;
    status = detail::select_kernels(options.isa, table);
    if (!status.ok()) return status;
    if (plan.spare_ == nullptr) plan.spare_ = std::make_unique<detail::PlanData>();
    detail::Planner(description, *table, *plan.spare_).build();
    std::swap(plan.data_, plan.spare_);
    return {};
  });
}

}  // namespace heed
