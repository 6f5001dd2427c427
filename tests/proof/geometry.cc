#include "tests/proof/geometry.h"

#include <algorithm>

#include "tests/proof/masks.h"

namespace heed::proof {

Tokens::Tokens(const Lengths& lengths, std::int64_t sequences) {
  ragged_ = !lengths.offsets.empty();
  for (std::int64_t b = 0; b < sequences; ++b) {
    const std::size_t i = index(b);
    first_.push_back(ragged_ ? lengths.offsets[i] : 0);
    if (ragged_) {
      length_.push_back(lengths.offsets[i + 1] - lengths.offsets[i]);
    } else {
      length_.push_back(lengths.lengths.empty() ? lengths.length : lengths.lengths[i]);
    }
  }
  slot_ = ragged_ ? lengths.offsets.back() : lengths.length;
}

std::int64_t Tokens::offset(const Layout& layout, std::int64_t sequence, std::int64_t token,
                            std::int64_t head) const {
  const std::int64_t start =
      ragged_ ? first_[index(sequence)] * layout.token_stride : sequence * layout.sequence_stride;
  return start + token * layout.token_stride + head * layout.head_stride;
}

PageLists::PageLists(const PagedLayout& layout, const PageTables& tables, const Tokens& keys,
                     std::int64_t sequences)
    : layout_(layout) {
  for (std::int64_t b = 0; b < sequences; ++b) {
    const std::int64_t count = (keys.length(b) + layout.page_tokens - 1) / layout.page_tokens;
    const std::int64_t first =
        tables.indptr.empty() ? b * tables.stride : tables.indptr[static_cast<std::size_t>(b)];
    const auto begin = tables.pages.begin() + first;
    pages_.emplace_back(begin, begin + count);
  }
}

std::int64_t PageLists::offset(const PageStrides& strides, std::int64_t sequence, std::int64_t key,
                               std::int64_t head) const {
  const auto& pages = pages_[static_cast<std::size_t>(sequence)];
  const std::int64_t page = pages[static_cast<std::size_t>(key / layout_.page_tokens)];
  return page * strides.page + key % layout_.page_tokens * strides.token + head * strides.head;
}

namespace {

RowScales row_scales(const Scales& all, std::int64_t offset, std::int64_t group) {
  if (all.scales == nullptr) return {};
  return {all.scales + offset, all.zero_points == nullptr ? nullptr : all.zero_points + offset,
          group};
}

ScaleLayout complete(const std::optional<ScaleLayout>& given, std::int64_t tokens,
                     std::int64_t heads, std::int64_t dims) {
  ScaleLayout layout = given.value_or(ScaleLayout::per_token(tokens, heads, dims));
  if (layout.group == 0) layout.group = dims;
  return layout;
}

Layout default_lse(const Tokens& tokens, std::int64_t heads) {
  return {heads * tokens.slot(), 1, tokens.slot()};
}

}  // namespace

Geometry::Geometry(const AttentionConfig& config, const Batch& batch, const PageTables& tables)
    : config_(config),
      sequences_(batch.sequences),
      value_head_dim_(config.value_head_dim == 0 ? config.head_dim : config.value_head_dim),
      queries_(batch.query, batch.sequences),
      keys_(batch.key, batch.sequences),
      visible_prefixes_(batch.visible_prefixes.begin(), batch.visible_prefixes.end()) {
  q_ = batch.q.value_or(Layout::bshd(queries_.slot(), config.query_heads, config.head_dim));
  k_ = batch.k.value_or(Layout::bshd(keys_.slot(), config.kv_heads, config.head_dim));
  v_ = batch.v.value_or(Layout::bshd(keys_.slot(), config.kv_heads, value_head_dim_));
  out_ = batch.out.value_or(Layout::bshd(queries_.slot(), config.query_heads, value_head_dim_));
  lse_ = batch.lse.value_or(default_lse(queries_, config.query_heads));
  const PagedLayout* const pages = batch.pages ? &*batch.pages : nullptr;
  const std::int64_t slot = pages != nullptr ? pages->page_tokens : keys_.slot();
  k_scales_ = complete(pages != nullptr ? pages->k_scales : batch.k_scales, slot, config.kv_heads,
                       config.head_dim);
  v_scales_ = complete(pages != nullptr ? pages->v_scales : batch.v_scales, slot, config.kv_heads,
                       value_head_dim_);
  if (pages != nullptr) pages_.emplace(*pages, tables, keys_, sequences_);
  if (batch.mask || batch.key_lists) read_masks(batch);
}

void Geometry::read_masks(const Batch& batch) {
  mask_ = batch.mask;
  std::int64_t query = 0;
  for (std::int64_t b = 0; b < sequences_; ++b) {
    first_query_.push_back(query);
    query += queries_.length(b);
    if (!batch.key_lists) continue;
    for (std::int64_t i = first_query_.back(); i < query; ++i) {
      const auto* const offsets = batch.key_lists->offsets.data() + i;
      std::vector<bool>& listed = listed_.emplace_back(static_cast<std::size_t>(keys_.length(b)));
      for (std::int64_t at = offsets[0]; at < offsets[1]; ++at) {
        const std::int32_t key = batch.key_lists->keys[static_cast<std::size_t>(at)];
        listed[static_cast<std::size_t>(key)] = true;
      }
    }
  }
}

/// What the mask or the lists say of a key.
bool Geometry::shown(const Row& row, std::int64_t key) const {
  if (first_query_.empty()) return true;
  const std::int64_t first = first_query_[static_cast<std::size_t>(row.sequence)];
  if (mask_) {
    return shows(*mask_, row.sequence, row.head, queries_.ragged() ? first : 0, row.token, key,
                 keys_.length(row.sequence));
  }
  return listed_[static_cast<std::size_t>(first + row.token)][static_cast<std::size_t>(key)];
}

bool Geometry::pairs() const {
  const bool types = config_.q_type == DType::bf16 && config_.k_type == DType::bf16 &&
                     config_.v_type == DType::bf16;
  return types && config_.head_dim % 2 == 0 && config_.products != Products::f32;
}

std::vector<Row> Geometry::rows() const {
  std::vector<Row> rows;
  std::int64_t tokens = 0;
  for (std::int64_t b = 0; b < sequences_; ++b) tokens += queries_.length(b);
  rows.reserve(static_cast<std::size_t>(tokens * config_.query_heads));
  for (std::int64_t b = 0; b < sequences_; ++b) {
    for (std::int64_t i = 0; i < queries_.length(b); ++i) {
      for (std::int64_t h = 0; h < config_.query_heads; ++h) rows.push_back({b, i, h});
    }
  }
  return rows;
}

std::int64_t Geometry::position(const Row& row) const {
  const std::int64_t n_q = queries_.length(row.sequence), n_kv = keys_.length(row.sequence);
  return config_.alignment == Alignment::end ? row.token + n_kv - n_q : row.token;
}

bool Geometry::sees(const Row& row, std::int64_t key) const {
  if (!shown(row, key)) return false;
  if (!visible_prefixes_.empty() &&
      key < visible_prefixes_[static_cast<std::size_t>(row.sequence)]) {
    return true;
  }
  const std::int64_t distance = key - position(row);
  if (config_.causal && distance > 0) return false;
  if (distance > 0) return distance <= config_.window_right;
  return -distance <= config_.window_left || key < config_.keep_first;
}

std::vector<std::int64_t> Geometry::seen(const Row& row) const {
  std::vector<std::int64_t> keys;
  const KeyRange range = visible(row);
  for (std::int64_t j = range.begin; j < range.end; ++j) {
    if (sees(row, j)) keys.push_back(j);
  }
  return keys;
}

/// The keys that causal masks and windows leave.
KeyRange Geometry::window(const Row& row) const {
  const std::int64_t n_q = queries_.length(row.sequence), n_kv = keys_.length(row.sequence);
  const std::int64_t position = this->position(row);
  // Beyond the numbers of keys and of queries together every window is the same.
  const auto side = [&](std::int64_t keys) { return std::min(keys, n_kv + n_q); };
  const std::int64_t right = config_.causal ? 0 : side(config_.window_right);
  return {std::max<std::int64_t>(0, position - side(config_.window_left)),
          std::min(n_kv, position + right + 1)};
}

KeyRange Geometry::visible(const Row& row) const {
  if (first_query_.empty() && visible_prefixes_.empty() && config_.keep_first == 0) {
    return window(row);
  }
  std::int64_t begin = 0, end = keys_.length(row.sequence);
  while (begin < end && !sees(row, begin)) ++begin;
  while (begin < end && !sees(row, end - 1)) --end;
  return {begin, end};
}

std::int64_t Geometry::q(const Row& row) const {
  return queries_.offset(q_, row.sequence, row.token, row.head);
}
std::int64_t Geometry::k(const Row& row, std::int64_t key) const {
  const std::int64_t head = row.head / group();
  return pages_ ? pages_->offset(pages_->layout().k, row.sequence, key, head)
                : keys_.offset(k_, row.sequence, key, head);
}
std::int64_t Geometry::v(const Row& row, std::int64_t key) const {
  const std::int64_t head = row.head / group();
  return pages_ ? pages_->offset(pages_->layout().v, row.sequence, key, head)
                : keys_.offset(v_, row.sequence, key, head);
}
std::int64_t Geometry::scale_offset(const ScaleLayout& s, const Row& row, std::int64_t key) const {
  const std::int64_t head = row.head / group();
  if (pages_) {
    return pages_->offset({s.sequence_stride, s.token_stride, s.head_stride}, row.sequence, key,
                          head);
  }
  return keys_.offset({s.sequence_stride, s.token_stride, s.head_stride}, row.sequence, key, head);
}
std::int64_t Geometry::k_scales(const Row& row, std::int64_t key) const {
  return scale_offset(k_scales_, row, key);
}
std::int64_t Geometry::v_scales(const Row& row, std::int64_t key) const {
  return scale_offset(v_scales_, row, key);
}
RowScales Geometry::scales_of_k(const Row& row, std::int64_t key, const Scales& all) const {
  return row_scales(all, k_scales(row, key), k_scales_.group);
}
RowScales Geometry::scales_of_v(const Row& row, std::int64_t key, const Scales& all) const {
  return row_scales(all, v_scales(row, key), v_scales_.group);
}
std::int64_t Geometry::bias(const ScoreBias& bias, const Row& row, std::int64_t key) const {
  return queries_.offset({bias.sequence_stride, bias.query_stride, bias.head_stride}, row.sequence,
                         row.token, row.head) +
         key * bias.key_stride;
}
float Geometry::temperature(const ScoreModifiers& modifiers, const Row& row) const {
  const RowTemperatures& own = modifiers.temperatures;
  if (own.data == nullptr) return config().temperature;
  return own.data[temperature_offset(own, row)];
}
std::int64_t Geometry::temperature_offset(const RowTemperatures& temperatures,
                                          const Row& row) const {
  return queries_.offset(
      {temperatures.sequence_stride, temperatures.query_stride, temperatures.head_stride},
      row.sequence, row.token, row.head);
}
std::int64_t Geometry::out(const Row& row) const {
  return queries_.offset(out_, row.sequence, row.token, row.head);
}
std::int64_t Geometry::lse(const Row& row) const {
  return queries_.offset(lse_, row.sequence, row.token, row.head);
}

std::int64_t extent(const Tokens& tokens, const Layout& layout, std::int64_t sequences,
                    std::int64_t heads, std::int64_t head_dim) {
  std::int64_t end = 0;
  for (std::int64_t b = 0; b < sequences; ++b) {
    if (tokens.length(b) == 0) continue;
    const std::int64_t last = tokens.offset(layout, b, tokens.length(b) - 1, heads - 1);
    end = std::max(end, last + head_dim);
  }
  return end;
}

}  // namespace heed::proof
