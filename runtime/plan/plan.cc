// Planning: from a description to a schedule, and a workspace for it.
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <limits>
#include <memory>
#include <utility>

#include "heed/attention.h"
#include "heed/cpu.h"
#include "heed/tensor_data.h"
#include "kernels/scratch.h"
#include "kernels/temperature.h"
#include "runtime/base/element_types.h"
#include "runtime/base/float_environment.h"
#include "runtime/base/message.h"
#include "runtime/cpu/core_traits.h"
#include "runtime/cpu/dispatch.h"
#include "runtime/cpu/machine.h"
#include "runtime/plan/plan_data.h"
#include "runtime/plan/validate.h"

namespace heed::detail {
namespace {

/// One multiple of kAlignment after the other.
std::size_t aligned(std::size_t bytes) {
  return (bytes + kernels::kAlignment - 1) / kernels::kAlignment * kernels::kAlignment;
}

std::uint64_t next_number() {
  static std::atomic<std::uint64_t> last = 0;
  return last.fetch_add(1, std::memory_order_relaxed) + 1;
}

Layout in_bytes(const Layout& elements, DType type) {
  const DTypeInfo& info = dtype_info(type);
  return {stride_bytes(elements.sequence_stride, info), stride_bytes(elements.token_stride, info),
          stride_bytes(elements.head_stride, info)};
}

/// Bytes from which on a piece, in which the rows of a head lie together, is long: hardware
/// prefetchers follow it from block to block, and its pages of memory hold rows of this head alone.
constexpr std::int64_t kLongPiece = std::int64_t{128} << 10;

/// Of a stride, which may be any number.
std::uint64_t magnitude(std::int64_t stride) {
  const auto bits = static_cast<std::uint64_t>(stride);
  return stride < 0 ? 0 - bits : bits;
}

std::int64_t clamp_side(std::int64_t keys) {
  return std::min<std::int64_t>(keys, std::numeric_limits<std::int32_t>::max());
}

class Planner {
 public:
  Planner(const Description& description, const kernels::KernelTable& table, PlanData& plan)
      : d_(description), core_(core_traits(machine_vendor(), machine_features())), plan_(plan) {
    plan_.number = next_number();
    plan_.kernels = &table;
    plan_.config = d_.config;
    plan_.q = in_bytes(d_.q, d_.config.q_type);
    plan_.k = in_bytes(d_.k, d_.config.k_type);
    plan_.v = in_bytes(d_.v, d_.config.v_type);
    plan_.out = in_bytes(d_.out, d_.config.out_type);
    plan_.lse = d_.lse;
    plan_.k_scales = d_.k_scales;
    plan_.v_scales = d_.v_scales;
    plan_.shapes = d_.shapes;
    plan_.pages = d_.pages;
    if (d_.pages) {
      plan_.k_page = stride_bytes(d_.pages->k.page, dtype_info(d_.config.k_type));
      plan_.v_page = stride_bytes(d_.pages->v.page, dtype_info(d_.config.v_type));
    }
    plan_.shard = d_.shard.has_value();
    plan_.workers = d_.workers;
  }

  Status build() {
    fill_shape();
    place_sequences();
    HEED_RETURN_IF_ERROR(plan_.key_masks.build(d_, *plan_.kernels, plan_.masks));
    place_masks();
    count_tokens();
    find_shared_partitions();
    shape_states();
    choose_sizes();
    HEED_RETURN_IF_ERROR(check_items());
    schedule();
    place_tokens();
    lay_out_workspace();
    return {};
  }

 private:
  void fill_shape() {
    const AttentionConfig& c = d_.config;
    kernels::AttentionShape& shape = plan_.shape;
    shape.head_dim = static_cast<std::int32_t>(c.head_dim);
    shape.value_head_dim = static_cast<std::int32_t>(c.value_head_dim);
    shape.group = static_cast<std::int32_t>(c.query_heads / c.kv_heads);
    shape.rule = kernels::rule_at(c.temperature);
    shape.scale = *c.scale;
    shape.query_factor = d_.query_factor;
    shape.pairs = d_.bf16_products;
    shape.window_left = clamp_side(c.window_left);
    shape.window_right = c.causal ? 0 : clamp_side(c.window_right);
    shape.q_type = c.q_type, shape.k_type = c.k_type;
    shape.v_type = c.v_type, shape.out_type = c.out_type;
    shape.k_group = static_cast<std::int32_t>(std::max<std::int64_t>(d_.k_scales.group, 1));
    shape.v_group = static_cast<std::int32_t>(std::max<std::int64_t>(d_.v_scales.group, 1));
    shape.whole_pages =
        core_.whole_pages && d_.pages && !rows_lie_apart(plan_.k) && !rows_lie_apart(plan_.v);
    shape.reads_in_order = core_.reads_in_order;
  }

  void place_sequences() {
    plan_.sequences.clear();
    plan_.masks.clear();
    plan_.ragged_queries = !d_.query.offsets.empty();
    std::int64_t query_token = 0, key_token = 0;
    for (std::int64_t b = 0; b < d_.sequences; ++b) {
      const auto start = [b](const auto& layout, const Lengths& lengths, std::int64_t token) {
        return lengths.offsets.empty() ? times(b, layout.sequence_stride)
                                       : times(token, layout.token_stride);
      };
      plan_.sequences.push_back({.q = start(plan_.q, d_.query, query_token),
                                 .k = d_.pages ? 0 : start(plan_.k, d_.key, key_token),
                                 .v = d_.pages ? 0 : start(plan_.v, d_.key, key_token),
                                 .out = start(plan_.out, d_.query, query_token),
                                 .lse = start(d_.lse, d_.query, query_token),
                                 .k_scales = d_.pages ? 0 : start(d_.k_scales, d_.key, key_token),
                                 .v_scales = d_.pages ? 0 : start(d_.v_scales, d_.key, key_token),
                                 .state = start(state_layout(), d_.query, query_token),
                                 .first_query = plan_.ragged_queries ? query_token : 0});
      const std::int64_t keys = tokens_of(d_.key, b);
      const std::int64_t before = d_.shard ? first_key_of(*d_.shard, b) : 0;
      plan_.masks.push_back(
          {.queries = tokens_of(d_.query, b),
           .keys = keys,
           .group = plan_.shape.group,
           .window_left = plan_.shape.window_left,
           .window_right = plan_.shape.window_right,
           .alignment = d_.config.alignment,
           .keys_before = before,
           .keys_after = d_.shard ? whole_length_of(*d_.shard, b) - before - keys : 0,
           .prefix = std::clamp<std::int64_t>(visible_prefix(b) - before, 0, keys),
           .keep_first = kept_keys(before, keys)});
      query_token += plan_.masks.back().queries;
      key_token += plan_.masks.back().keys;
    }
  }

  /// The first keys of a sequence, of which `before` lie in other shards, that its windows do not
  /// hide; none where windows hide no keys before.
  std::int64_t kept_keys(std::int64_t before, std::int64_t keys) const {
    if (d_.config.window_left == kUnlimited) return 0;
    return std::clamp<std::int64_t>(clamp_side(d_.config.keep_first) - before, 0, keys);
  }

  void place_masks() {
    plan_.head_masks.clear();
    if (!plan_.key_masks.exist()) return;
    const std::int64_t heads = plan_.key_masks.per_head() ? d_.config.kv_heads : 1;
    for (std::int64_t b = 0; b < d_.sequences; ++b) {
      Visibility& own = plan_.masks[static_cast<std::size_t>(b)];
      if (heads == 1) own.mask = plan_.key_masks.of(b, 0);
      for (std::int64_t h = 0; heads > 1 && h < heads; ++h) {
        plan_.head_masks.push_back(own);
        plan_.head_masks.back().mask = plan_.key_masks.of(b, h);
      }
    }
  }

  void count_tokens() {
    TokenCounts& counts = plan_.counts;
    counts = {};
    bool first = true;
    for (const Visibility& mask : plan_.masks) {
      counts.queries += mask.queries;
      counts.most_queries = std::max(counts.most_queries, mask.queries);
      counts.most_keys = std::max(counts.most_keys, mask.keys);
      counts.fewest_queries = first ? mask.queries : std::min(counts.fewest_queries, mask.queries);
      counts.fewest_keys = first ? mask.keys : std::min(counts.fewest_keys, mask.keys);
      first = false;
    }
  }

  std::int64_t visible_prefix(std::int64_t sequence) const {
    return d_.visible_prefixes.empty() ? 0
                                       : d_.visible_prefixes[static_cast<std::size_t>(sequence)];
  }

  /// Sequences read keys together where their rows follow one another, in q and in states.
  void find_shared_partitions() {
    plan_.shared.clear();
    const std::int64_t heads = d_.config.query_heads;
    for (std::size_t b = 0; b < d_.shared_prefixes.size(); ++b) {
      std::int32_t partitions = d_.shared_prefixes[b] / kernels::kPartitionKeys;
      if (b > 0) {
        const PlannedSequence &before = plan_.sequences[b - 1], &own = plan_.sequences[b];
        const std::int64_t tokens = plan_.masks[b - 1].queries;
        if (own.q - before.q != tokens * plan_.q.token_stride ||
            own.state - before.state != tokens * heads) {
          partitions = 0;
        }
      }
      plan_.shared.push_back(partitions);
    }
  }

  /// Rows of states: one number for each (sequence, token, head).
  Layout state_layout() const { return Layout::bshd(d_.query.length, d_.config.query_heads, 1); }

  void shape_states() {
    const Lengths& q = d_.query;
    const std::int64_t tokens = q.offsets.empty() ? d_.sequences * q.length : q.offsets.back();
    std::int64_t keys = 0;
    for (const Visibility& mask : plan_.masks) keys = std::max(keys, mask.keys);
    plan_.states = {.partitions = (keys + kPartitionKeys - 1) / kPartitionKeys,
                    .rows = tokens * d_.config.query_heads,
                    .value_head_dim = d_.config.value_head_dim};
    plan_.shape.sections = plan_.states.partitions > kernels::kSectionPartitions;
  }

  void choose_sizes() {
    const CpuInfo& cpu = cpu_info();
    plan_.caches = {cpu.l1d_bytes, cpu.l2_bytes};
    plan_.tiles = choose_tiles(plan_.caches, plan_.row_shape(), d_.tiles);
    plan_.shape.tile_keys = plan_.tiles.tile_keys;
  }

  /// Before anything is made of them.
  Status check_items() const {
    const std::int64_t most = std::max(plan_.tiles.item_rows, plan_.kernels->lanes);
    std::int64_t items = 0;
    for (const Visibility& mask : plan_.masks) items += (mask.rows() + most - 1) / most;
    if (items <= kMaxItems / d_.config.kv_heads) return {};
    return invalid("the batch has ", items, " items of up to ", most, " rows for each of ",
                   d_.config.kv_heads, " KV heads; a plan may have ", kMaxItems, " in all");
  }

  void schedule() {
    const kernels::KernelTable& table = *plan_.kernels;
    const bool of_heads = !plan_.head_masks.empty();
    const Work work{.sequences = of_heads ? plan_.head_masks : plan_.masks,
                    .shared = of_heads ? std::span<const std::int32_t>() : plan_.shared,
                    .kv_heads = of_heads ? 1 : d_.config.kv_heads,
                    .cost = {table.lanes, plan_.shape.head_dim, plan_.shape.value_head_dim},
                    .block_rows = table.block_vectors * table.lanes,
                    .item_rows = plan_.tiles.item_rows,
                    .item_heads = of_heads ? 1 : heads_together(),
                    .short_pieces = has_short_pieces(),
                    .workers = d_.workers};
    plan_.scheduler.schedule(work, plan_.schedule);
    if (of_heads) name_heads();
    plan_.shape.item_rows = plan_.schedule.item_rows;
    plan_.shape.item_heads = plan_.schedule.item_heads;
    const auto items = static_cast<std::int64_t>(plan_.schedule.items.size());
    plan_.shares = plan_.schedule.small
                       ? 1
                       : static_cast<int>(std::clamp<std::int64_t>(items, 1, plan_.workers));
  }

  /// Where each KV head was scheduled as a sequence of its own, says which head of which it is.
  void name_heads() {
    const auto heads = static_cast<std::int32_t>(d_.config.kv_heads);
    const auto name = [&](auto& work) {
      work.kv_head = work.sequence % heads;
      work.sequence /= heads;
    };
    for (PlannedItem& item : plan_.schedule.items) {
      name(item);
      if (item.states < 0) continue;
      plan_.schedule.states[static_cast<std::size_t>(item.states)].kv_head = item.kv_head;
    }
    for (PlannedSplit& split : plan_.schedule.splits) name(split);
  }

  /// The places of tokens in items with rows of several sequences.
  void place_tokens() {
    plan_.places.clear();
    std::int32_t next = 0;  // of the sequences that have none yet
    for (const PrefixGroup& group : plan_.schedule.groups) {
      for (std::int32_t b = std::max(group.first, next); b < group.last; ++b) {
        PlannedSequence& own = plan_.sequences[static_cast<std::size_t>(b)];
        const Visibility& mask = plan_.masks[static_cast<std::size_t>(b)];
        own.place = plan_.places.size();
        for (std::int64_t i = 0; i < mask.queries; ++i) {
          plan_.places.push_back(
              {b, static_cast<std::int32_t>(own.first_query + i), mask.query_position(0) + i});
        }
      }
      next = std::max(next, group.last);
    }
  }

  /// Whether all tokens of a head share scales, of which the decode kernel makes vectors once for a
  /// head: with several heads it would make them for each block.
  static bool shared_by_tokens(DType type, const ScaleLayout& scales) {
    return kernels::is_scaled(type) && scales.token_stride == 0 && scales.sequence_stride == 0;
  }

  /// Whether rows of other heads lie between those of a head.
  static bool rows_lie_apart(const Layout& layout) {
    return magnitude(layout.head_stride) < magnitude(layout.token_stride);
  }

  /// Whether keys or values of a head lie in short pieces.
  bool has_short_pieces() const {
    const AttentionConfig& c = d_.config;
    const auto piece = [&](const Layout& layout, DType type, std::int64_t dims) {
      const std::int64_t row = stride_bytes(dims, dtype_info(type));
      if (rows_lie_apart(layout)) return row;
      return d_.pages ? d_.pages->page_tokens * row : kLongPiece;
    };
    return std::min(piece(plan_.k, c.k_type, c.head_dim),
                    piece(plan_.v, c.v_type, c.value_head_dim)) < kLongPiece;
  }

  /// KV heads that decode items had better have.
  std::int32_t heads_together() const {
    const AttentionConfig& c = d_.config;
    const bool remade =
        shared_by_tokens(c.k_type, d_.k_scales) || shared_by_tokens(c.v_type, d_.v_scales);
    if (remade) return 1;
    return std::min(static_cast<std::int32_t>(c.kv_heads),
                    has_short_pieces() ? kernels::kMaxItemHeads : core_.streams);
  }

  void lay_out_workspace() {
    WorkspaceLayout& w = plan_.workspace;
    w.split_counters = aligned(w.called + static_cast<std::size_t>(plan_.workers));
    w.states = aligned(w.split_counters + plan_.schedule.splits.size() * sizeof(std::uint32_t));
    w.scratch = w.states + aligned(plan_.schedule.state_floats * sizeof(float));
    w.scratch_stride =
        aligned(kernels::attention_scratch_floats(plan_.shape, *plan_.kernels) * sizeof(float));
    w.total = w.scratch + w.scratch_stride * static_cast<std::size_t>(plan_.workers);
  }

  const Description& d_;
  const CoreTraits& core_;
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
std::int64_t Plan::visible_scores() const noexcept {
  return data_ ? data_->schedule.visible_scores : 0;
}

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
    status = detail::Planner(description, *table, *plan.spare_).build();
    if (!status.ok()) return status;
    std::swap(plan.data_, plan.spare_);
    return {};
  });
}

}  // namespace heed
