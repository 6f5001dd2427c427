#include "runtime/cache/prefix_table.h"

#include <algorithm>
#include <bit>

namespace heed::detail {
namespace {

/// The mixing function of SplitMix64 (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number
/// Generators", OOPSLA 2014).
std::uint64_t mix(std::uint64_t z) {
  z += 0x9E3779B97F4A7C15U;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
  return z ^ (z >> 31);
}

std::uint64_t hash_of(std::uint64_t before, std::span<const std::int32_t> tokens) {
  std::uint64_t hash = before;
  for (const std::int32_t token : tokens) hash = mix(hash ^ static_cast<std::uint32_t>(token));
  return hash;
}

}  // namespace

PrefixTable::PrefixTable(std::int64_t pages, std::int64_t page_tokens)
    : page_tokens_(page_tokens),
      entries_(static_cast<std::size_t>(pages)),
      tokens_(static_cast<std::size_t>(pages * page_tokens)),
      buckets_(std::bit_ceil(static_cast<std::size_t>(pages)), -1) {}

std::span<const std::int32_t> PrefixTable::tokens(std::int32_t page) const {
  return std::span(tokens_).subspan(static_cast<std::size_t>(page * page_tokens_),
                                    static_cast<std::size_t>(page_tokens_));
}

std::int32_t PrefixTable::find(const Chain& before, std::span<const std::int32_t> tokens) const {
  std::int32_t page = buckets_[bucket(hash_of(before.hash, tokens))];
  while (page >= 0) {
    if (entry(page).before == before.number && std::ranges::equal(this->tokens(page), tokens)) {
      break;
    }
    page = entry(page).next;
  }
  return page;
}

void PrefixTable::list(const Chain& before, std::span<const std::int32_t> tokens,
                       std::int32_t page) {
  Entry& e = entry(page);
  e.hash = hash_of(before.hash, tokens);
  e.number = ++last_number_;
  e.before = before.number;
  std::ranges::copy(tokens, tokens_.begin() + page * page_tokens_);
  std::int32_t& first = buckets_[bucket(e.hash)];
  e.next = first;
  first = page;
}

void PrefixTable::unlist(std::int32_t page) {
  Entry& e = entry(page);
  std::int32_t* to = &buckets_[bucket(e.hash)];
  while (*to != page) to = &entry(*to).next;
  *to = e.next;
  e.number = 0;
}

void PrefixTable::rest(std::int32_t page) {
  entry(page).older = newest_;
  entry(page).newer = -1;
  (newest_ < 0 ? oldest_ : entry(newest_).newer) = page;
  newest_ = page;
  ++resting_;
}

void PrefixTable::wake(std::int32_t page) {
  const Entry& e = entry(page);
  (e.older < 0 ? oldest_ : entry(e.older).newer) = e.newer;
  (e.newer < 0 ? newest_ : entry(e.newer).older) = e.older;
  --resting_;
}

std::int32_t PrefixTable::forget_oldest() {
  const std::int32_t page = oldest_;
  wake(page);
  unlist(page);
  return page;
}

}  // namespace heed::detail
