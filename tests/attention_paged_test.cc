// Keys and values in pages give the bits that they give in one piece, and page tables are checked
// before any work.
#include <algorithm>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "tests/attention_run.h"

namespace heed::tests {
namespace {

using proof::Case;
using proof::CaseSpec;
using proof::Form;
using proof::GuardedBuffer;
using proof::Row;

enum class Pool { bshd, bhsd, together };

/// The keys and values of a case, moved to pages of a pool in no order. What no key lies in is NaN.
class PagedCase {
 public:
  PagedCase(const Case& c, std::int64_t page_tokens, Pool pool) : case_(c) {
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
    shuffle_pages();
    make_buffers(pool);
    for (std::int64_t b = 0; b < sequences; ++b) copy_sequence(b);
  }

  const PagedLayout& layout() const { return layout_; }

  Batch batch() const {
    Batch batch = case_.batch();
    batch.k.reset();
    batch.v.reset();
    batch.pages = layout_;
    return batch;
  }

  AttentionTensors tensors(bool csr) const {
    AttentionTensors tensors = case_.inputs();
    tensors.k = k_;
    tensors.v = v_;
    tensors.tables = csr ? PageTables{.pages = pages_, .indptr = indptr_}
                         : PageTables{.pages = block_table_, .stride = row_pages_ + 1};
    return tensors;
  }

  /// A page number of sequence b's `page`th page.
  std::int32_t& page(std::int64_t b, std::int64_t page) {
    return pages_[static_cast<std::size_t>(indptr_[static_cast<std::size_t>(b)] + page)];
  }

 private:
  PagedLayout make_layout(std::int64_t pages, std::int64_t page_tokens, Pool pool) const {
    const AttentionConfig& config = case_.config();
    if (pool == Pool::bhsd) {
      return PagedLayout::bhsd(pages, page_tokens, config.kv_heads, config.head_dim,
                               config.value_head_dim);
    }
    const PagedLayout apart = PagedLayout::bshd(pages, page_tokens, config.kv_heads,
                                                config.head_dim, config.value_head_dim);
    return pool == Pool::together ? PagedLayout::together(apart) : apart;
  }

  void shuffle_pages() {
    pages_.resize(static_cast<std::size_t>(layout_.pages));
    std::iota(pages_.begin(), pages_.end(), 0);
    std::shuffle(pages_.begin(), pages_.end(), std::mt19937_64(1));
    pages_.resize(static_cast<std::size_t>(indptr_.back()));
    // Rows of the block table are longer than need be, and end with what is no page.
    const std::size_t rows = indptr_.size() - 1;
    block_table_.assign(rows * static_cast<std::size_t>(row_pages_ + 1), -1);
    for (std::size_t b = 0; b < rows; ++b) {
      std::copy(pages_.begin() + indptr_[b], pages_.begin() + indptr_[b + 1],
                block_table_.begin() +
                    static_cast<std::ptrdiff_t>(b * static_cast<std::size_t>(row_pages_ + 1)));
    }
  }

  void make_buffers(Pool pool) {
    const auto elements = [&](const PageStrides& s, std::int64_t dims) {
      return static_cast<std::size_t>((layout_.pages - 1) * s.page +
                                      (layout_.page_tokens - 1) * s.token +
                                      (layout_.kv_heads - 1) * s.head + dims);
    };
    const std::size_t k = elements(layout_.k, layout_.head_dim);
    const std::size_t v = elements(layout_.v, layout_.value_head_dim);
    const bool one = pool == Pool::together;
    const std::int64_t v_offset =
        one ? layout_.k.page -
                  PageStrides::bshd(layout_.page_tokens, layout_.kv_heads, layout_.value_head_dim)
                      .page
            : 0;
    keys_ = GuardedBuffer(one ? static_cast<std::size_t>(v_offset) + v : k);
    values_ = GuardedBuffer(one ? 0 : v);
    k_ = keys_.data();
    v_ = one ? k_ + v_offset : values_.data();
  }

  void copy_sequence(std::int64_t b) {
    const AttentionTensors dense = case_.inputs();
    for (std::int64_t j = 0; j < case_.geometry().keys().length(b); ++j) {
      const std::int64_t number = page(b, j / layout_.page_tokens);
      const auto place = [&](const PageStrides& s, std::int64_t head) {
        return number * s.page + j % layout_.page_tokens * s.token + head * s.head;
      };
      for (std::int64_t head = 0; head < layout_.kv_heads; ++head) {
        const Row row{b, 0, head * case_.geometry().group()};
        std::copy_n(dense.k + case_.geometry().k(row, j), layout_.head_dim,
                    k_ + place(layout_.k, head));
        std::copy_n(dense.v + case_.geometry().v(row, j), layout_.value_head_dim,
                    v_ + place(layout_.v, head));
      }
    }
  }

  const Case& case_;
  PagedLayout layout_;
  std::int64_t row_pages_ = 0;
  std::vector<std::int32_t> indptr_, pages_, block_table_;
  GuardedBuffer keys_, values_;
  float* k_ = nullptr;
  float* v_ = nullptr;
};

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

/// Prompts, chunks and single tokens together, in heads whose rows are no whole vectors.
CaseSpec mixed() {
  CaseSpec spec = small_case(0, 0);
  spec.config.causal = true;
  spec.form = Form::ragged;
  spec.queries = {70, 1, 3, 130, 1, 0};
  spec.keys = {70, 600, 40, 300, 1, 17};
  return spec;
}

/// The same with heads of whole vectors, which the kernel for few rows reads in place.
CaseSpec mixed_whole_vectors() {
  CaseSpec spec = mixed();
  spec.config.head_dim = spec.config.value_head_dim = 64;
  return spec;
}

CaseSpec windowed() {
  CaseSpec spec = mixed_whole_vectors();
  spec.config.window_left = 45;
  return spec;
}

/// One token of one head against keys that several workers share.
CaseSpec split() {
  CaseSpec spec = small_case(1, 6000);
  spec.config.query_heads = spec.config.kv_heads = 1;
  spec.config.head_dim = spec.config.value_head_dim = 32;
  return spec;
}

TEST(AttentionPaged, HasTheBitsOfOnePiece) {
  const std::vector<CaseSpec> specs = {mixed(), mixed_whole_vectors(), windowed(), split()};
  const std::vector<std::int64_t> sizes =
      thorough() ? std::vector<std::int64_t>{1, 5, 7, 16, 24, 100, 128, 300, 1000}
                 : std::vector<std::int64_t>{1, 7, 16, 128};
  for (const CaseSpec& spec : specs) {
    const Case c(spec);
    for (const std::string_view isa : supported_isas()) {
      const Outputs expected = run_case(c, on(isa));
      for (const std::int64_t page_tokens : sizes) {
        for (const Pool pool : {Pool::bshd, Pool::bhsd, Pool::together}) {
          SCOPED_TRACE(to_string(spec) + " on " + std::string(isa) + ", pages of " +
                       std::to_string(page_tokens) + ", pool " +
                       std::to_string(static_cast<int>(pool)));
          const PagedCase paged(c, page_tokens, pool);
          const int workers = pool == Pool::bshd ? 1 : 3;
          expect_same_rows(c.geometry(), expected, c.geometry(),
                           run_paged(c, paged, on(isa, workers), pool == Pool::bhsd));
          if (HasFailure()) return;
        }
      }
    }
  }
}

/// A run of a case with pages of 16 tokens whose tables have been changed must fail with exactly
/// this sentence, and write nothing.
class AttentionPagedTables : public testing::Test {
 protected:
  void expect_refused(const AttentionTensors& tensors, const std::string& sentence) {
    Plan plan;
    ASSERT_TRUE(plan_attention(case_.config(), paged_.batch(), {}, plan).ok());
    Workspace workspace;
    ASSERT_TRUE(workspace.reserve(plan).ok());
    Outputs outputs = fresh_outputs(case_);
    const Outputs untouched = fresh_outputs(case_);
    const Status status = run(plan, outputs.with(tensors), workspace);
    EXPECT_EQ(status.code(), StatusCode::invalid_argument);
    EXPECT_EQ(status.message(), sentence);
    EXPECT_TRUE(std::ranges::equal(outputs.out.span(), untouched.out.span(), same_bits));
  }

  const Case case_{mixed()};
  PagedCase paged_{case_, 16, Pool::bshd};
};

TEST_F(AttentionPagedTables, PagesThatDoNotExist) {
  const std::string last = std::to_string(paged_.layout().pages - 1);
  for (const std::int32_t number : {-1, static_cast<std::int32_t>(paged_.layout().pages)}) {
    const std::int32_t former = std::exchange(paged_.page(1, 37), number);
    expect_refused(paged_.tensors(true),
                   "tables.pages[42] (" + std::to_string(number) +
                       "), page 37 of sequence 1, must be from 0 to pages.pages - 1 (" + last +
                       ")");
    paged_.page(1, 37) = former;
  }
}

TEST_F(AttentionPagedTables, TablesThatAreTooShort) {
  AttentionTensors tensors = paged_.tensors(true);
  const std::span<const std::int32_t> indptr = tensors.tables.indptr;
  tensors.tables.indptr = indptr.first(indptr.size() - 1);
  expect_refused(tensors, "tables.indptr has 6 entries; it must have 7, one more than sequences");

  std::vector<std::int32_t> moved(indptr.begin(), indptr.end());
  moved[2] -= 1;
  tensors.tables.indptr = moved;
  expect_refused(tensors, "tables: sequence 1 has 37 pages; its keys need 38");

  moved[2] = 1000;
  expect_refused(tensors,
                 "tables: the pages of sequence 1 (5 … 1000) must lie within the 68 of "
                 "tables.pages");
  moved[2] = 2;
  expect_refused(tensors,
                 "tables: the pages of sequence 1 (5 … 2) must lie within the 68 of tables.pages");

  tensors = paged_.tensors(false);
  tensors.tables.pages = tensors.tables.pages.first(4 * 39);
  expect_refused(tensors,
                 "tables: the pages of sequence 4 (156 … 157) must lie within the 156 of "
                 "tables.pages");
  tensors.tables.stride = -1;
  expect_refused(tensors, "tables.stride (-1) must be 0 or more");
  tensors.tables.stride = std::numeric_limits<std::int64_t>::max() / 2;
  expect_refused(tensors,
                 "tables: the pages of sequence 1 (4611686018427387903 … 4611686018427387941) must "
                 "lie within the 156 of tables.pages");
}

TEST(AttentionPaged, PagesBeforeAWindowMayBeGone) {
  const Case c(windowed());
  const Outputs expected = run_case(c, {});
  PagedCase paged(c, 16, Pool::bshd);
  paged.page(1, 0) = -1;        // the window of the last of 600 tokens begins at key 554
  paged.page(1, 33) = 1 << 30;  // keys 528 … 543
  expect_same_rows(c.geometry(), expected, c.geometry(), run_paged(c, paged, {}, true));
}

TEST(AttentionPaged, LayoutsThatDoNotFitAreRefused) {
  const Case c(mixed());
  const PagedCase paged(c, 16, Pool::bshd);
  const auto message = [&](const auto& change) {
    Batch batch = paged.batch();
    change(batch);
    Plan plan;
    return plan_attention(c.config(), batch, {}, plan).message();
  };
  EXPECT_EQ(message([](Batch& b) { b.pages->kv_heads = 1; }),
            "pages.kv_heads (1) must be that of the attention (2)");
  EXPECT_EQ(message([](Batch& b) { b.pages->head_dim = 16; }),
            "pages.head_dim (16) must be that of the attention (20)");
  EXPECT_EQ(message([](Batch& b) { b.pages->value_head_dim = 8; }),
            "pages.value_head_dim (8) must be that of the attention (12)");
  EXPECT_EQ(message([](Batch& b) { b.k = Layout(); }),
            "pages exclude k and v: give one or the other layout");
  EXPECT_NE(message([](Batch& b) { b.pages->page_tokens = 0; }), "");
}

}  // namespace
}  // namespace heed::tests
