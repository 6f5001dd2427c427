#include "runtime/layer/step.h"

#include <algorithm>
#include <utility>

#include "runtime/base/message.h"

namespace heed {
namespace detail {

Status complete_config(LayerConfig& config) {
  AttentionConfig& attention = config.attention;
  HEED_RETURN_IF_ERROR(check_range("dim", config.dim, 1, kMaxCount));
  if (attention.value_head_dim == 0) attention.value_head_dim = attention.head_dim;
  if (attention.alignment != Alignment::end) {
    return invalid("alignment must be end: a step's tokens are the last ones of their sequences");
  }
  if (attention.q_type != DType::f32 || attention.out_type != DType::f32) {
    return invalid("q_type and out_type must be f32: a layer's products are computed in it");
  }
  // An empty batch: what is wrong with the configuration itself.
  attention.k_type = attention.v_type = DType::f32;  // those of caches take their place
  Plan plan;
  HEED_RETURN_IF_ERROR(plan_attention(attention, {.sequences = 0}, {}, plan));
  HEED_RETURN_IF_ERROR(check_range("query_heads * head_dim",
                                   attention.query_heads * attention.head_dim, 1, kMaxCount));
  HEED_RETURN_IF_ERROR(check_range("query_heads * value_head_dim",
                                   attention.query_heads * attention.value_head_dim, 1, kMaxCount));
  if (config.rotary == nullptr) return {};
  const std::int64_t rotary_dim = config.rotary->config().rotary_dim;
  if (rotary_dim == 0) return invalid("rotary must have been created");
  if (rotary_dim <= attention.head_dim) return {};
  return invalid("rotary_dim (", rotary_dim, ") must be at most head_dim (", attention.head_dim,
                 ")");
}

namespace {

Status check_layout(const LayerConfig& config, const PagedLayout& layout) {
  const AttentionConfig& a = config.attention;
  if (layout.kv_heads == a.kv_heads && layout.head_dim == a.head_dim &&
      layout.value_head_dim == a.value_head_dim) {
    return {};
  }
  return invalid("the cache has ", layout.kv_heads, " heads of ", layout.head_dim, " and ",
                 layout.value_head_dim, " dimensions; the layer has ", a.kv_heads, " of ",
                 a.head_dim, " and ", a.value_head_dim);
}

/// Whether the pages are there whose keys the new tokens of a sequence see.
Status check_pages(const AttentionConfig& attention, const KvCache& cache,
                   const StepTokens& sequence) {
  const auto& [id, tokens] = sequence;
  const std::int64_t page_tokens = cache.layout().page_tokens;
  const std::int64_t position = cache.tokens(id) - tokens;
  const bool sees_all = attention.window_left == kUnlimited;
  const std::int64_t first =
      sees_all ? 0 : std::max<std::int64_t>(0, position - attention.window_left);
  const std::span<const std::int32_t> pages = cache.pages(id);
  for (std::int64_t i = 0; tokens > 0 && i < std::ssize(pages); ++i) {
    const bool seen = (i + 1) * page_tokens > first || i * page_tokens < attention.keep_first;
    if (!seen || pages[static_cast<std::size_t>(i)] != kForgottenPage) continue;
    return invalid("sequence ", id, " has forgotten its page ", i, " of ", page_tokens,
                   " tokens; the step sees keys from ", first, " on and the first ",
                   attention.keep_first);
  }
  return {};
}

Status check_sequences(const LayerConfig& config, const KvCache& cache,
                       std::span<const StepTokens> sequences) {
  HEED_RETURN_IF_ERROR(
      check_range("sequences", static_cast<std::int64_t>(sequences.size()), 0, kMaxCount));
  std::int64_t rows = 0;
  for (const auto& [id, tokens] : sequences) {
    const std::int64_t length = cache.tokens(id);
    if (length < 0) return invalid("sequence ", id, " is not in use");
    if (tokens < 0 || tokens > length) {
      return invalid("tokens (", tokens, ") must be from 0 to the ", length, " of sequence ", id);
    }
    HEED_RETURN_IF_ERROR(check_range("tokens of a sequence", length, 0, kMaxCount));
    if (config.rotary != nullptr && length > config.rotary->config().positions) {
      return invalid("sequence ", id, " has ", length, " tokens; rotary has ",
                     config.rotary->config().positions, " positions");
    }
    HEED_RETURN_IF_ERROR(check_pages(config.attention, cache, {id, tokens}));
    rows += tokens;
  }
  return check_range("tokens of the step", rows, 0, kMaxCount);
}

/// Fails where two sequences are the same one.
Status check_distinct(std::span<const std::int32_t> ids, std::vector<std::int32_t>& sorted) {
  sorted.assign(ids.begin(), ids.end());
  std::ranges::sort(sorted);
  const auto twice = std::ranges::adjacent_find(sorted);
  if (twice == sorted.end()) return {};
  return invalid("sequence ", *twice, " must be in a step only once");
}

void list_tokens(const KvCache& cache, const StepTokens& sequence, StepBatch& batch) {
  const std::span<const std::int32_t> pages = cache.pages(sequence.sequence);
  const std::int64_t page_tokens = cache.layout().page_tokens;
  const std::int64_t length = cache.tokens(sequence.sequence);
  for (std::int64_t t = length - sequence.tokens; t < length; ++t) {
    const std::int64_t page = pages[static_cast<std::size_t>(t / page_tokens)];
    batch.slots.push_back(page * page_tokens + t % page_tokens);
    batch.positions.push_back(t);
  }
  batch.query_offsets.push_back(static_cast<std::int32_t>(batch.rows()));
  batch.key_lengths.push_back(static_cast<std::int32_t>(length));
}

Status list_pages(const KvCache& cache, StepBatch& batch) {
  std::size_t pages = 0;
  for (const std::int32_t id : batch.ids) pages += cache.pages(id).size();
  HEED_RETURN_IF_ERROR(
      check_range("pages of the step", static_cast<std::int64_t>(pages), 0, kMaxCount));
  batch.page_offsets.resize(batch.ids.size() + 1);
  batch.page_numbers.resize(pages);
  HEED_RETURN_IF_ERROR(cache.page_lists(batch.ids, batch.page_offsets, batch.page_numbers));
  batch.shared_prefixes.resize(batch.ids.size());
  return cache.shared_prefixes(batch.ids, batch.shared_prefixes);
}

Status list_sequences(const KvCache& cache, std::span<const StepTokens> sequences,
                      StepBatch& batch) {
  batch.layout = cache.layout();
  batch.k_type = cache.k_type();
  batch.v_type = cache.v_type();
  batch.ids.clear();
  for (const StepTokens& sequence : sequences) batch.ids.push_back(sequence.sequence);
  HEED_RETURN_IF_ERROR(check_distinct(batch.ids, batch.key_lengths));
  batch.key_lengths.clear();
  batch.slots.clear();
  batch.positions.clear();
  batch.query_offsets.assign(1, 0);
  for (const StepTokens& sequence : sequences) list_tokens(cache, sequence, batch);
  return list_pages(cache, batch);
}

Status plan_batch(const StepData& step, StepBatch& batch) {
  Batch described{.sequences = static_cast<std::int64_t>(batch.ids.size())};
  described.query.offsets = batch.query_offsets;
  described.key.lengths = batch.key_lengths;
  if (!batch.key_lengths.empty()) described.key.length = std::ranges::max(batch.key_lengths);
  described.pages = batch.layout;
  described.shared_prefixes = batch.shared_prefixes;
  const PlanOptions options{.isa = step.isa, .workers = step.options.workers};
  AttentionConfig attention = step.config.attention;
  attention.k_type = batch.k_type;
  attention.v_type = batch.v_type;
  return plan_attention(attention, described, options, batch.plan);
}

void grow(std::vector<float>& buffer, std::int64_t rows, std::int64_t row_elements) {
  const auto elements = static_cast<std::size_t>(rows * row_elements);
  if (buffer.size() < elements) buffer.resize(elements);
}

void grow(const AttentionConfig& config, std::int64_t rows, StepScratch& scratch) {
  grow(scratch.q, rows, config.query_heads * config.head_dim);
  grow(scratch.k, rows, config.kv_heads * config.head_dim);
  grow(scratch.v, rows, config.kv_heads * config.value_head_dim);
  grow(scratch.context, rows, config.query_heads * config.value_head_dim);
}

}  // namespace
}  // namespace detail

AttentionStep::AttentionStep() noexcept = default;
AttentionStep::~AttentionStep() = default;
AttentionStep::AttentionStep(AttentionStep&&) noexcept = default;
AttentionStep& AttentionStep::operator=(AttentionStep&&) noexcept = default;

Status AttentionStep::create(const LayerConfig& config, const RunOptions& options,
                             AttentionStep& step) noexcept {
  return detail::guarded([&]() -> Status {
    auto made = std::make_unique<detail::StepData>();
    made->config = config;
    HEED_RETURN_IF_ERROR(detail::complete_config(made->config));
    made->isa = options.isa;
    made->options = options;
    made->options.isa = made->isa;
    // An empty step: what is wrong with the options.
    made->now.layout =
        PagedLayout::bshd(1, 1, made->config.attention.kv_heads, made->config.attention.head_dim,
                          made->config.attention.value_head_dim);
    made->now.query_offsets.assign(1, 0);
    HEED_RETURN_IF_ERROR(detail::plan_batch(*made, made->now));
    step.data_ = std::move(made);
    return {};
  });
}

Status AttentionStep::prepare(const KvCache& cache,
                              std::span<const StepTokens> sequences) noexcept {
  return detail::guarded([&]() -> Status {
    if (data_ == nullptr) return detail::invalid("the step must have been created");
    detail::StepBatch& next = data_->next;
    HEED_RETURN_IF_ERROR(detail::check_layout(data_->config, cache.layout()));
    HEED_RETURN_IF_ERROR(detail::check_sequences(data_->config, cache, sequences));
    HEED_RETURN_IF_ERROR(detail::list_sequences(cache, sequences, next));
    HEED_RETURN_IF_ERROR(detail::plan_batch(*data_, next));
    detail::grow(data_->config.attention, next.rows(), data_->scratch);
    HEED_RETURN_IF_ERROR(data_->workspace.reserve(next.plan));
    std::swap(data_->now, next);
    return {};
  });
}

std::int64_t AttentionStep::tokens() const noexcept {
  return data_ == nullptr ? 0 : data_->now.rows();
}

const Plan& AttentionStep::plan() const noexcept {
  static const Plan none;
  return data_ == nullptr ? none : data_->now.plan;
}

}  // namespace heed
