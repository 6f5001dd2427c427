// The pages of a cache that has served many sequences.
#pragma once

#include <cstdint>
#include <vector>

#include "heed/attention.h"

namespace heed::bench {

/// Which pages hold the keys and values of each sequence of a batch: as many as those need, all in
/// use, in random order, the same every time.
class CachePages {
 public:
  /// No pages, for no sequences.
  CachePages() = default;
  /// The first `shared_keys` keys, of whole pages, are those of all sequences.
  CachePages(const std::vector<std::int32_t>& key_lengths, std::int32_t page_tokens,
             std::int32_t shared_keys);

  std::int64_t count() const { return count_; }
  /// A block table where all sequences have as many pages, else CSR. Refers to arrays in this
  /// object.
  PageTables tables() const;

 private:
  bool uniform() const;

  std::int64_t count_ = 0;
  std::vector<std::int32_t> indptr_{0}, pages_;
};

}  // namespace heed::bench
