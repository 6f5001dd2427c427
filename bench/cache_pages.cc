#include "bench/cache_pages.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "tests/proof/inputs.h"

namespace heed::bench {
namespace {

constexpr std::uint64_t kOrderSeed = 3;

/// 0 … count − 1 (Fisher–Yates).
std::vector<std::int32_t> shuffled(std::int64_t count) {
  std::vector<std::int32_t> numbers(static_cast<std::size_t>(count));
  std::iota(numbers.begin(), numbers.end(), 0);
  proof::Random random(kOrderSeed);
  for (std::size_t i = numbers.size(); i > 1; --i) {
    std::swap(numbers[i - 1], numbers[static_cast<std::size_t>(random.below(std::int64_t(i)))]);
  }
  return numbers;
}

}  // namespace

CachePages::CachePages(const std::vector<std::int32_t>& key_lengths, std::int32_t page_tokens,
                       std::int32_t shared_keys) {
  for (const std::int64_t keys : key_lengths) {
    const std::int64_t pages = (keys + page_tokens - 1) / page_tokens;
    indptr_.push_back(static_cast<std::int32_t>(indptr_.back() + pages));
  }
  const std::int32_t shared = shared_keys / page_tokens;
  count_ = indptr_.back() - shared * (static_cast<std::int64_t>(key_lengths.size()) - 1);
  const std::vector<std::int32_t> numbers = shuffled(count_);
  const auto prefix_end = numbers.begin() + shared;
  auto next = prefix_end;
  for (std::size_t b = 0; b < key_lengths.size(); ++b) {
    const auto own_end = next + (indptr_[b + 1] - indptr_[b] - shared);
    pages_.insert(pages_.end(), numbers.begin(), prefix_end);
    pages_.insert(pages_.end(), next, own_end);
    next = own_end;
  }
}

bool CachePages::uniform() const {
  for (std::size_t b = 1; b < indptr_.size(); ++b) {
    if (indptr_[b] != static_cast<std::int32_t>(b) * indptr_[1]) return false;
  }
  return true;
}

PageTables CachePages::tables() const {
  if (pages_.empty()) return {};
  if (uniform()) return {.pages = pages_, .stride = indptr_[1]};
  return {.pages = pages_, .indptr = indptr_};
}

}  // namespace heed::bench
