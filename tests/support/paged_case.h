// The keys and values of a case in pages.
#pragma once

#include <cstdint>
#include <vector>

#include "heed/heed.h"
#include "tests/proof/case.h"
#include "tests/support/attention_run.h"

namespace heed::tests {

/// How pages lie: layouts of keys and values apart, or both in each page.
enum class Pool { bshd, bhsd, together };

/// Prefixes that sequences have in common with the ones before them, in tokens; or none.
using Prefixes = std::vector<std::int32_t>;

/// Gives the sequences of a case the keys and values that they should have in common.
void share_prefixes(proof::Case& c, const Prefixes& prefixes);

/// The keys and values of a case, moved to pages of a pool in no order. What no key lies in is NaN.
/// `together` needs elements of one size.
/// Whole pages of common prefixes are there once, and as far as they go so is the prefix.
class PagedCase {
 public:
  PagedCase(const proof::Case& c, std::int64_t page_tokens, Pool pool, Prefixes prefixes = {});

  const PagedLayout& layout() const { return layout_; }

  /// Refers to arrays in this object.
  Batch batch() const;
  AttentionTensors tensors(bool csr) const;

  /// A page number of sequence b's `page`th page, in the lists (CSR).
  std::int32_t& page(std::int64_t b, std::int64_t page) {
    return pages_[static_cast<std::size_t>(indptr_[static_cast<std::size_t>(b)] + page)];
  }

 private:
  PagedLayout make_layout(std::int64_t pages, std::int64_t page_tokens, Pool pool) const;
  void number_pages();
  void fill_block_table();
  void make_buffers(Pool pool);
  void copy_sequence(std::int64_t b);

  const proof::Case& case_;
  PagedLayout layout_;
  Prefixes prefixes_;
  std::int64_t row_pages_ = 0;
  std::vector<std::int32_t> indptr_, pages_, block_table_;
  void make_scales();
  void copy_scales(std::int64_t b, std::int64_t key);

  std::vector<proof::TypedBuffer> buffers_;
  OutputData k_, v_;
  std::vector<float> k_scales_, k_zero_points_, v_scales_, v_zero_points_;
};

/// The outputs of a case in pages.
Outputs run_paged(const proof::Case& c, const PagedCase& paged, const PlanOptions& options,
                  bool csr);

}  // namespace heed::tests
