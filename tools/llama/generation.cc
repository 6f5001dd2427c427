#include "tools/llama/generation.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <utility>

#include "tools/status.h"

namespace heed::llama {
namespace {

std::int64_t pages_of(std::int64_t tokens, std::int64_t page_tokens) {
  return (tokens + page_tokens - 1) / page_tokens;
}

/// How many of the texts at once the options allow: the cache has pages for all they may come to
/// need.
std::int64_t texts_at_once(const ModelShape& shape, const GenerationOptions& options,
                           std::size_t texts) {
  const std::int64_t text_tokens =
      pages_of(options.steps, options.page_tokens) * options.page_tokens;
  const std::int64_t text_bytes = std::max<std::int64_t>(
      1, dtype_info(options.kv_type).bytes(2 * shape.layers * text_tokens * shape.kv_dim()));
  const std::int64_t most = std::min(options.running, options.cache_bytes / text_bytes);
  return std::clamp(static_cast<std::int64_t>(texts), std::int64_t{1},
                    std::max<std::int64_t>(1, most));
}

KvCacheConfig cache_config(const ModelShape& shape, const GenerationOptions& options,
                           std::int64_t at_once) {
  KvCacheConfig config;
  config.layout = PagedLayout::bhsd(at_once * pages_of(options.steps, options.page_tokens),
                                    options.page_tokens, shape.kv_heads, shape.head_dim());
  config.layers = shape.layers;
  config.sequences = at_once;
  config.sequence_tokens = options.steps;
  config.k_type = config.v_type = options.kv_type;
  config.prefixes = true;
  return config;
}

/// Why a text has no next token.
Status no_probabilities(std::int64_t position) {
  return {StatusCode::invalid_argument,
          fmt::format("the model gives no probabilities at position {}: its logits are not finite",
                      position)};
}

}  // namespace

Status Generation::create(Model& model, const GenerationOptions& options,
                          std::vector<std::vector<std::int32_t>> prompts, Generation& generation) {
  Generation made;
  made.model_ = &model;
  made.options_ = options;
  made.sampler_ = Sampler(options.sampler);
  made.at_once_ = texts_at_once(model.shape(), options, prompts.size());
  const auto most = static_cast<std::size_t>(options.steps) + 1;
  for (std::vector<std::int32_t>& prompt : prompts) {
    prompt.resize(std::min(prompt.size(), most));
    const End end = prompt.size() == most ? End::steps : End::none;
    made.texts_.push_back({std::move(prompt), end});
  }
  Status status = KvCache::create(cache_config(model.shape(), options, made.at_once_), made.cache_);
  if (!status) return status;
  made.admit();
  generation = std::move(made);
  return {};
}

void Generation::admit() {
  for (; waiting_ < texts_.size() && std::ssize(running_) < at_once_; ++waiting_) {
    if (!texts_[waiting_].ended()) running_.push_back({waiting_});
  }
}

/// Tokens that the cache has.
std::int64_t Generation::read_tokens(const Running& running) const {
  return running.begun() ? cache_.tokens(running.sequence) : 0;
}

/// Tokens that the model has not seen.
std::int64_t Generation::unread(const Running& running) {
  return std::ssize(ids_of(running)) - read_tokens(running);
}

/// Whether an earlier text will have more whole pages of what a text begins with than it has now.
bool Generation::waits(std::size_t place) const {
  const std::vector<std::int32_t>& ids = texts_[running_[place].text].ids;
  const std::int64_t page = options_.page_tokens;
  const auto will_have_more = [&](const Running& earlier) {
    const std::vector<std::int32_t>& others = texts_[earlier.text].ids;
    // The last token is never found: its logits are wanted.
    const auto differs = std::mismatch(ids.begin(), ids.end() - 1, others.begin(), others.end());
    return (differs.first - ids.begin()) / page > read_tokens(earlier) / page;
  };
  return std::ranges::any_of(std::span(running_).first(place), will_have_more);
}

/// Texts that have no reason to wait become sequences, with the pages that are there.
Status Generation::begin_texts() {
  for (std::size_t i = 0; i < running_.size(); ++i) {
    Running& running = running_[i];
    if (running.begun() || waits(i)) continue;
    Text& text = texts_[running.text];
    HEED_RETURN_IF_ERROR(cache_.begin(text.ids, running.sequence, text.found));
  }
  return {};
}

/// The next `tokens` tokens of a text become part of the step.
Status Generation::read(const Running& running, std::int64_t tokens) {
  const std::vector<std::int32_t>& ids = ids_of(running);
  const auto first = ids.begin() + cache_.tokens(running.sequence);
  slots_.resize(static_cast<std::size_t>(tokens));
  HEED_RETURN_IF_ERROR(cache_.extend(running.sequence, slots_));
  sequences_.push_back({running.sequence, tokens});
  tokens_.insert(tokens_.end(), first, first + tokens);
  if (unread(running) > 0) return {};
  wanted_.push_back(std::ssize(tokens_) - 1);
  growing_.push_back(running.text);
  return {};
}

/// Single tokens of all texts that have but one; then prompts, up to a chunk.
Status Generation::gather() {
  sequences_.clear();
  tokens_.clear();
  wanted_.clear();
  growing_.clear();
  std::int64_t chunk = options_.chunk;
  for (const bool single : {true, false}) {
    for (const Running& running : running_) {
      if (!running.begun()) continue;
      const std::int64_t left = unread(running);
      const std::int64_t tokens = single ? left : std::min(left, chunk);
      if (tokens == 0 || single != (left == 1)) continue;
      HEED_RETURN_IF_ERROR(read(running, tokens));
      if (!single) chunk -= tokens;
    }
  }
  return {};
}

/// What a step has read can be found from now on.
Status Generation::publish() {
  for (const Running& running : running_) {
    if (!running.begun()) continue;
    const auto read = static_cast<std::size_t>(read_tokens(running));
    HEED_RETURN_IF_ERROR(cache_.publish(running.sequence, std::span(ids_of(running)).first(read)));
  }
  return {};
}

/// Each text whose last token the model has seen gets another one, or ends: a text of which the
/// model makes nonsense is no reason for others to end.
Status Generation::pick_tokens() {
  positions_.clear();
  for (const std::size_t text : growing_) positions_.push_back(std::ssize(texts_[text].ids));
  picked_.resize(growing_.size());
  HEED_RETURN_IF_ERROR(sampler_.pick(logits_, positions_, picked_));
  for (std::size_t i = 0; i < growing_.size(); ++i) grow(growing_[i], picked_[i]);
  return {};
}

void Generation::grow(std::size_t number, std::int32_t token) {
  Text& text = texts_[number];
  if (token == kNoToken) {
    text.fault = no_probabilities(std::ssize(text.ids));
    text.end = End::fault;
  } else if (std::ranges::find(options_.end_tokens, token) != options_.end_tokens.end()) {
    text.end = End::token;
  } else {
    text.ids.push_back(token);
    const bool stops = options_.stops && options_.stops(number, text.ids);
    const bool full = std::ssize(text.ids) == options_.steps + 1;
    text.end = stops ? End::stop : full ? End::steps : End::none;
  }
}

/// Texts that have ended make room for others.
Status Generation::retire() {
  for (const Running& running : running_) {
    if (!texts_[running.text].ended()) continue;
    HEED_RETURN_IF_ERROR(cache_.remove(running.sequence));
  }
  std::erase_if(running_, [&](const Running& running) { return texts_[running.text].ended(); });
  admit();
  return {};
}

Status Generation::step() {
  Status status = begin_texts();
  if (status.ok()) status = gather();
  if (!status) return status;
  logits_.resize(wanted_.size() * static_cast<std::size_t>(model_->shape().vocab_size));
  status = model_->forward(cache_, {sequences_, tokens_, wanted_}, logits_);
  if (status.ok()) status = publish();
  if (status.ok()) status = pick_tokens();
  return status.ok() ? retire() : status;
}

}  // namespace heed::llama
