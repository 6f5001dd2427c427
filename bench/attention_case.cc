#include "bench/attention_case.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

namespace heed::bench {
namespace {

bool uniform(const std::vector<std::int32_t>& lengths) {
  return std::all_of(lengths.begin(), lengths.end(),
                     [&](std::int32_t length) { return length == lengths.front(); });
}

std::vector<std::int32_t> offsets_of(const std::vector<std::int32_t>& lengths) {
  std::vector<std::int32_t> offsets{0};
  std::partial_sum(lengths.begin(), lengths.end(), std::back_inserter(offsets));
  return offsets;
}

}  // namespace

AttentionCase::AttentionCase(const AttentionWorkload& workload) : workload_(workload) {
  config_.k_type = config_.v_type = workload.kv_type;
  config_.q_type = workload.q_type;
  config_.query_heads = workload.query_heads;
  config_.kv_heads = workload.kv_heads;
  config_.head_dim = workload.head_dim;
  config_.causal = workload.causal;
  if (workload.window > 0) config_.window_left = workload.window - 1;
  batch_.sequences = workload.sequences();
  batch_.query = describe_queries();
  batch_.key = describe_keys();
  lay_out();
  if (workload.shown != Shown::all) {
    mask_ = KeyMaskOf(workload.shown, batch_.sequences, workload.query_heads, batch_.query.length,
                      batch_.key.length);
    batch_.mask = mask_.get();
  }
  if (dtype_info(workload.kv_type).scaled) lay_out_scales();
  size_tensors();
  modifiers_.emplace(geometry(), workload.modifiers, 1);
}

Lengths AttentionCase::describe_queries() {
  Lengths lengths;
  if (uniform(workload_.query_lengths)) {
    lengths.length = workload_.query_lengths.front();
  } else {
    query_offsets_ = offsets_of(workload_.query_lengths);
    lengths.offsets = query_offsets_;
  }
  return lengths;
}

Lengths AttentionCase::describe_keys() {
  const std::vector<std::int32_t>& each = workload_.kv_lengths;
  Lengths lengths;
  if (uniform(each)) {
    lengths.length = each.front();
  } else if (workload_.cached()) {
    lengths.length = *std::max_element(each.begin(), each.end());
    lengths.lengths = each;
  } else {
    key_offsets_ = offsets_of(each);
    lengths.offsets = key_offsets_;
  }
  return lengths;
}

bool AttentionCase::keys_by_head() const {
  const bool cache = workload_.cached() || workload_.paged();
  return queries_by_head() || (workload_.layout == TensorLayout::usual && cache);
}

void AttentionCase::lay_out() {
  const auto by_head = [&](const Lengths& lengths, std::int64_t heads) {
    const std::int64_t tokens = lengths.offsets.empty() ? lengths.length : lengths.offsets.back();
    return Layout::bhsd(tokens, heads, workload_.head_dim);
  };
  if (queries_by_head()) batch_.q = batch_.out = by_head(batch_.query, workload_.query_heads);
  if (workload_.paged()) {
    pages_ = CachePages(workload_.kv_lengths, workload_.page_tokens, workload_.shared_keys);
    batch_.pages = page_layout();
    share_prefixes();
  } else if (keys_by_head()) {
    batch_.k = batch_.v = by_head(batch_.key, workload_.kv_heads);
  }
}

/// One for each token and head, in the order of the keys.
void AttentionCase::lay_out_scales() {
  const std::int64_t heads = workload_.kv_heads;
  const auto order = [&](std::int64_t tokens) {
    return keys_by_head() ? ScaleLayout{0, heads * tokens, 1, tokens}
                          : ScaleLayout{0, heads * tokens, heads, 1};
  };
  if (batch_.pages) {
    batch_.pages->k_scales = batch_.pages->v_scales = order(workload_.page_tokens);
  } else {
    batch_.k_scales = batch_.v_scales =
        order(batch_.key.offsets.empty() ? batch_.key.length : batch_.key.offsets.back());
  }
}

void AttentionCase::share_prefixes() {
  if (workload_.shared_keys == 0) return;
  shared_prefixes_.assign(workload_.kv_lengths.size(), workload_.shared_keys);
  shared_prefixes_.front() = 0;
  batch_.shared_prefixes = shared_prefixes_;
}

PagedLayout AttentionCase::page_layout() const {
  const auto layout = keys_by_head() ? PagedLayout::bhsd : PagedLayout::bshd;
  return layout(pages_.count(), workload_.page_tokens, workload_.kv_heads, workload_.head_dim, 0);
}

void AttentionCase::size_tensors() {
  const proof::Geometry shape = geometry();
  const auto floats = [&](const proof::Tokens& tokens, const Layout& layout, std::int64_t heads) {
    return static_cast<std::size_t>(
        proof::extent(tokens, layout, batch_.sequences, heads, workload_.head_dim));
  };
  query_floats_ = floats(shape.queries(), shape.q_layout(), workload_.query_heads);
  key_floats_ = workload_.paged()
                    ? static_cast<std::size_t>(batch_.pages->pages * batch_.pages->k.page)
                    : floats(shape.keys(), shape.k_layout(), workload_.kv_heads);
  if (dtype_info(config_.k_type).scaled) {
    scale_floats_ = key_floats_ / static_cast<std::size_t>(workload_.head_dim);
  }
}

std::string AttentionCase::layout() const {
  const auto name = [](bool ragged, bool by_head) -> std::string {
    if (!ragged) return by_head ? "bhsd" : "bshd";
    return by_head ? "ragged hsd" : "ragged shd";
  };
  const std::string queries = name(!batch_.query.offsets.empty(), queries_by_head());
  const bool ragged = !batch_.key.offsets.empty() && !workload_.paged();
  const std::string keys = name(ragged, keys_by_head()) + pages_in_words();
  std::string where = queries == keys ? queries : "q " + queries + ", kv " + keys;
  std::string scores = proof::to_string(workload_.modifiers);
  if (!scores.empty()) scores.pop_back();  // the last space
  const std::string_view shown = kShownNames[static_cast<std::size_t>(workload_.shown)];
  if (workload_.shown != Shown::all) {
    scores += fmt::format("{}mask of {}", scores.empty() ? "" : " ", shown);
  }
  return scores.empty() ? where : where + "; " + scores;
}

std::string AttentionCase::pages_in_words() const {
  if (!workload_.paged()) return "";
  std::string pages = fmt::format(" in pages of {}", workload_.page_tokens);
  if (workload_.shared_keys == 0) return pages;
  return fmt::format("{}, the first {} keys shared", pages, workload_.shared_keys);
}

Inputs AttentionCase::inputs(std::uint64_t seed) const {
  if (!workload_.sharp) return {.seed = seed};
  return {.seed = seed,
          .distribution = proof::Distribution::sharp,
          .vector_length = workload_.head_dim};
}

std::size_t AttentionCase::value_offset() const {
  constexpr std::size_t kStep = 128;  // whole lines of elements of any whole number of bytes
  const std::size_t steps = (key_floats_ + kStep - 1) / kStep * kStep;
  return steps % repetition(kv_inputs().vector_length) == 0 ? steps + kStep : steps;
}

std::size_t AttentionCase::kv_copy_bytes() const {
  const auto elements = static_cast<std::int64_t>(kv_copy_floats());
  return static_cast<std::size_t>(dtype_info(config_.k_type).bytes(elements));
}

double AttentionCase::needed_bytes() const {
  double keys = -static_cast<double>(workload_.sequences() - 1) * workload_.shared_keys;
  for (std::size_t b = 0; b < workload_.kv_lengths.size(); ++b) {
    const std::int32_t all = workload_.kv_lengths[b];
    const std::int32_t seen = workload_.window + workload_.query_lengths[b] - 1;
    keys += workload_.window > 0 ? std::min(all, seen) : all;
  }
  const std::int64_t numbers = workload_.kv_heads * 2 * workload_.head_dim;
  const DTypeInfo& type = dtype_info(config_.k_type);
  const double scales =
      type.scaled ? static_cast<double>(2 * workload_.kv_heads) * sizeof(float) : 0;
  return keys * (static_cast<double>(type.bytes(numbers)) + scales);
}

}  // namespace heed::bench
