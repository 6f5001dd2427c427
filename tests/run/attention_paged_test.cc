// Keys and values in pages give the bits that they give in one piece, and page tables are checked
// before any work.
#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "runtime/cpu/core_traits.h"
#include "runtime/cpu/machine.h"
#include "runtime/plan/plan_data.h"
#include "tests/support/attention_run.h"
#include "tests/support/paged_case.h"

namespace heed::tests {
namespace {

using proof::Case;
using proof::CaseSpec;
using proof::Form;

/// Prompts, chunks and single tokens together, in heads whose rows are no whole vectors.
CaseSpec mixed() {
  CaseSpec spec = small_case(0, 0);
  spec.config.causal = true;
  spec.form = Form::ragged;
  spec.queries = {70, 1, 3, 130, 1, 0};
  spec.keys = {70, 600, 40, 300, 1, 17};
  return spec;
}

/// The same with heads of whole vectors, which decode reads in place.
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

/// Single tokens of more heads than an item has.
CaseSpec many_heads() {
  CaseSpec spec = mixed_whole_vectors();
  spec.config.query_heads = 22;
  spec.config.kv_heads = 11;
  spec.queries = {1, 2, 1};
  spec.keys = {300, 600, 33};
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
  const std::vector<CaseSpec> specs = {mixed(), mixed_whole_vectors(), windowed(), many_heads(),
                                       split()};
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

/// As cores of some makers read: of several heads a page of each in turn, or a block.
Outputs run_reading(const Case& c, const PagedCase& paged, const PlanOptions& options,
                    bool whole_pages) {
  Plan plan;
  const Status status = plan_attention(c.config(), paged.batch(), options, plan);
  EXPECT_TRUE(status.ok()) << status.message();
  if (!status.ok()) return fresh_outputs(c);
  EXPECT_GT(plan.data()->schedule.item_heads, 1);
  const_cast<detail::PlanData*>(plan.data())->shape.whole_pages = whole_pages;
  Workspace workspace;
  EXPECT_TRUE(workspace.reserve(plan).ok());
  fill_with_nan(workspace);
  Outputs outputs = fresh_outputs(c);
  EXPECT_TRUE(run(plan, outputs.with(paged.tensors(true)), workspace).ok());
  expect_exactly_rows_written(c.geometry(), outputs);
  return outputs;
}

TEST(AttentionPaged, HasTheSameBitsByBlocksAndByPages) {
  std::vector<CaseSpec> specs(5, many_heads());
  specs[1].config.window_left = 45;
  specs[2].config.k_type = specs[2].config.v_type = DType::bf16;
  specs[3] = specs[2];  // products of pairs
  specs[3].config.q_type = DType::bf16;
  specs[4].config.k_type = specs[4].config.v_type = DType::q8_0;
  for (const CaseSpec& spec : specs) {
    const Case c(spec);
    for (const std::string_view isa : supported_isas()) {
      const Outputs expected = run_case(c, on(isa));
      for (const std::int64_t page_tokens : {16, 24, 33, 64, 128, 300}) {
        SCOPED_TRACE(to_string(spec) + " on " + std::string(isa) + ", pages of " +
                     std::to_string(page_tokens));
        const PagedCase paged(c, page_tokens, Pool::bhsd);
        for (const bool whole_pages : {false, true}) {
          expect_same_rows(c.geometry(), expected, c.geometry(),
                           run_reading(c, paged, on(isa), whole_pages));
        }
        if (HasFailure()) return;
      }
    }
  }
}

// Where rows of other heads lie between those of one, a page of a head is no piece.
TEST(AttentionPaged, ReadsPagesWholeWhereCoresHadBetter) {
  const Case c(many_heads());
  for (const Pool pool : {Pool::bshd, Pool::bhsd}) {
    const PagedCase paged(c, 16, pool);
    Plan plan;
    ASSERT_TRUE(plan_attention(c.config(), paged.batch(), {}, plan).ok());
    const bool better =
        detail::core_traits(detail::machine_vendor(), detail::machine_features()).whole_pages;
    EXPECT_EQ(plan.data()->shape.whole_pages, better && pool == Pool::bhsd);
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
  for (const std::int32_t number : {-1, -2, static_cast<std::int32_t>(paged_.layout().pages)}) {
    const char* const forgotten = ": it was forgotten, and queries see its keys";
    const std::int32_t former = std::exchange(paged_.page(1, 37), number);
    expect_refused(paged_.tensors(true),
                   "tables.pages[42] (" + std::to_string(number) +
                       "), page 37 of sequence 1, must be from 0 to pages.pages - 1 (" + last +
                       ")" + (number == kForgottenPage ? forgotten : ""));
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
