#include "tests/support/paged_case.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>
#include <utility>

namespace heed::tests {

using proof::Case;
using proof::Row;

namespace {

/// Copies elements of one type.
void copy_vector(const InputData& from, std::int64_t dims, const OutputData& to) {
  std::memcpy(to.data(), from.data(),
              static_cast<std::size_t>(dtype_info(from.type()).bytes(dims)));
}

}  // namespace

void share_prefixes(Case& c, const Prefixes& prefixes) {
  const proof::Geometry& geometry = c.geometry();
  for (std::size_t b = 1; b < prefixes.size(); ++b) {
    const auto sequence = static_cast<std::int64_t>(b);
    for (std::int64_t head = 0; head < c.config().query_heads; head += geometry.group()) {
      const Row from{sequence - 1, 0, head}, to{sequence, 0, head};
      for (std::int64_t j = 0; j < prefixes[b]; ++j) {
        std::copy_n(c.k() + geometry.k(from, j), c.config().head_dim, c.k() + geometry.k(to, j));
        std::copy_n(c.v() + geometry.v(from, j), geometry.value_head_dim(),
                    c.v() + geometry.v(to, j));
      }
    }
  }
  c.narrow();
}

PagedCase::PagedCase(const Case& c, std::int64_t page_tokens, Pool pool, Prefixes prefixes)
    : case_(c), prefixes_(std::move(prefixes)) {
  for (std::int32_t& prefix : prefixes_) prefix -= prefix % static_cast<int>(page_tokens);
  const proof::Tokens& keys = c.geometry().keys();
  const std::int64_t sequences = c.geometry().sequences();
  indptr_.push_back(0);
  for (std::int64_t b = 0; b < sequences; ++b) {
    const std::int64_t pages = (keys.length(b) + page_tokens - 1) / page_tokens;
    indptr_.push_back(indptr_.back() + static_cast<std::int32_t>(pages));
    row_pages_ = std::max(row_pages_, pages);
  }
  constexpr std::int64_t spare = 3;
  layout_ = make_layout(indptr_.back() + spare, page_tokens, pool);
  number_pages();
  fill_block_table();
  make_buffers(pool);
  make_scales();
  for (std::int64_t b = 0; b < sequences; ++b) copy_sequence(b);
}

Batch PagedCase::batch() const {
  Batch batch = case_.batch();
  batch.k.reset();
  batch.v.reset();
  batch.k_scales.reset();
  batch.v_scales.reset();
  batch.pages = layout_;
  batch.shared_prefixes = prefixes_;
  return batch;
}

AttentionTensors PagedCase::tensors(bool csr) const {
  AttentionTensors tensors = case_.inputs();
  tensors.k = k_;
  tensors.v = v_;
  const auto data = [](const std::vector<float>& floats) {
    return floats.empty() ? nullptr : floats.data();
  };
  tensors.k_scales = {data(k_scales_), data(k_zero_points_)};
  tensors.v_scales = {data(v_scales_), data(v_zero_points_)};
  tensors.tables = csr ? PageTables{.pages = pages_, .indptr = indptr_}
                       : PageTables{.pages = block_table_, .stride = row_pages_ + 1};
  return tensors;
}

PagedLayout PagedCase::make_layout(std::int64_t pages, std::int64_t page_tokens, Pool pool) const {
  const AttentionConfig& config = case_.config();
  if (pool == Pool::bhsd) {
    return PagedLayout::bhsd(pages, page_tokens, config.kv_heads, config.head_dim,
                             config.value_head_dim);
  }
  const PagedLayout apart = PagedLayout::bshd(pages, page_tokens, config.kv_heads, config.head_dim,
                                              config.value_head_dim);
  return pool == Pool::together ? PagedLayout::together(apart) : apart;
}

/// Numbers in no order; those of a prefix are the ones of the sequence before.
void PagedCase::number_pages() {
  pages_.resize(static_cast<std::size_t>(layout_.pages));
  std::iota(pages_.begin(), pages_.end(), 0);
  std::shuffle(pages_.begin(), pages_.end(), std::mt19937_64(1));
  pages_.resize(static_cast<std::size_t>(indptr_.back()));
  for (std::size_t b = 1; b < prefixes_.size(); ++b) {
    std::copy_n(pages_.begin() + indptr_[b - 1], prefixes_[b] / layout_.page_tokens,
                pages_.begin() + indptr_[b]);
  }
}

/// Rows that are longer than need be, and end with what is no page.
void PagedCase::fill_block_table() {
  const std::size_t rows = indptr_.size() - 1;
  block_table_.assign(rows * static_cast<std::size_t>(row_pages_ + 1), -1);
  for (std::size_t b = 0; b < rows; ++b) {
    std::copy(pages_.begin() + indptr_[b], pages_.begin() + indptr_[b + 1],
              block_table_.begin() +
                  static_cast<std::ptrdiff_t>(b * static_cast<std::size_t>(row_pages_ + 1)));
  }
}

void PagedCase::make_buffers(Pool pool) {
  const auto elements = [&](const PageStrides& s, std::int64_t dims) {
    return (layout_.pages - 1) * s.page + (layout_.page_tokens - 1) * s.token +
           (layout_.kv_heads - 1) * s.head + dims;
  };
  const std::int64_t k = elements(layout_.k, layout_.head_dim);
  const std::int64_t v = elements(layout_.v, layout_.value_head_dim);
  const bool one = pool == Pool::together;
  const std::int64_t v_offset =
      one ? layout_.k.page -
                PageStrides::bshd(layout_.page_tokens, layout_.kv_heads, layout_.value_head_dim)
                    .page
          : 0;
  const AttentionConfig& config = case_.config();
  buffers_.emplace_back(config.k_type, one ? v_offset + v : k);
  if (!one) buffers_.emplace_back(config.v_type, v);
  k_ = buffers_.front().data();
  v_ = one ? OutputData((k_ + v_offset).data(), config.v_type) : buffers_.back().data();
}

/// Scales as those of the case, for pages.
void PagedCase::make_scales() {
  const proof::CaseSpec& spec = case_.spec();
  const auto make = [&](DType type, std::int64_t dims, std::optional<ScaleLayout>& layout,
                        std::vector<float>& scales, std::vector<float>& zero_points) {
    if (!dtype_info(type).scaled) return;
    layout = proof::scale_layout(spec.scaling, layout_.page_tokens, layout_.kv_heads, dims);
    const ScaleLayout all =
        layout.value_or(ScaleLayout::per_token(layout_.page_tokens, layout_.kv_heads, dims));
    const std::int64_t groups = all.group == 0 ? 1 : dims / all.group;
    const auto count = static_cast<std::size_t>((layout_.pages - 1) * all.sequence_stride +
                                                (layout_.page_tokens - 1) * all.token_stride +
                                                (layout_.kv_heads - 1) * all.head_stride + groups);
    scales.assign(count, std::numeric_limits<float>::quiet_NaN());
    if (spec.zero_points) zero_points = scales;
  };
  make(case_.config().k_type, layout_.head_dim, layout_.k_scales, k_scales_, k_zero_points_);
  make(case_.config().v_type, layout_.value_head_dim, layout_.v_scales, v_scales_, v_zero_points_);
}

/// The scales of all heads of a key and of its value.
void PagedCase::copy_scales(std::int64_t b, std::int64_t key) {
  if (k_scales_.empty() && v_scales_.empty()) return;
  const proof::Geometry& dense = case_.geometry();
  const proof::Geometry paged(case_.config(), batch(), tensors(true).tables);
  const auto copy = [](const float* from, std::int64_t groups, std::vector<float>& to,
                       std::int64_t offset) {
    if (from != nullptr) std::copy_n(from, groups, to.begin() + offset);
  };
  for (std::int64_t head = 0; head < layout_.kv_heads; ++head) {
    const Row row{b, 0, head * dense.group()};
    const proof::RowScales k = dense.scales_of_k(row, key, case_.inputs().k_scales);
    const proof::RowScales v = dense.scales_of_v(row, key, case_.inputs().v_scales);
    copy(k.scales, layout_.head_dim / k.group, k_scales_, paged.k_scales(row, key));
    copy(k.zero_points, layout_.head_dim / k.group, k_zero_points_, paged.k_scales(row, key));
    copy(v.scales, layout_.value_head_dim / v.group, v_scales_, paged.v_scales(row, key));
    copy(v.zero_points, layout_.value_head_dim / v.group, v_zero_points_, paged.v_scales(row, key));
  }
}

void PagedCase::copy_sequence(std::int64_t b) {
  const AttentionTensors dense = case_.inputs();
  for (std::int64_t j = 0; j < case_.geometry().keys().length(b); ++j) {
    const std::int64_t number = page(b, j / layout_.page_tokens);
    const auto place = [&](const PageStrides& s, std::int64_t head) {
      return number * s.page + j % layout_.page_tokens * s.token + head * s.head;
    };
    for (std::int64_t head = 0; head < layout_.kv_heads; ++head) {
      const Row row{b, 0, head * case_.geometry().group()};
      copy_vector(dense.k + case_.geometry().k(row, j), layout_.head_dim,
                  k_ + place(layout_.k, head));
      copy_vector(dense.v + case_.geometry().v(row, j), layout_.value_head_dim,
                  v_ + place(layout_.v, head));
    }
    copy_scales(b, j);
  }
}

Outputs run_paged(const Case& c, const PagedCase& paged, const PlanOptions& options, bool csr) {
  Outputs outputs = fresh_outputs(c);
  Plan plan;
  Status status = plan_attention(c.config(), paged.batch(), options, plan);
  EXPECT_TRUE(status.ok()) << status.message();
  Workspace workspace;
  status = workspace.reserve(plan);
  EXPECT_TRUE(status.ok()) << status.message();
  status = run(plan, outputs.with(paged.tensors(csr)), workspace);
  EXPECT_TRUE(status.ok()) << status.message();
  expect_exactly_rows_written(c.geometry(), outputs);
  return outputs;
}

}  // namespace heed::tests
