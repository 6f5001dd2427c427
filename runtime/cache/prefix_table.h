// Full pages by the tokens that they hold and by those before them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace heed::detail {

/// The pages that can be found by their tokens. A page is told by its tokens and the page before it
/// in its text, that one by its own number, which no other page ever gets: so pages with the same
/// tokens after others are never taken for each other, whatever their hashes. Pages that nobody
/// holds rest in the order in which they came to, and are forgotten in that order. Everything is
/// allocated by the constructor.
class PrefixTable {
 public:
  /// What a page follows: nothing, or a page that can be or could be found.
  struct Chain {
    std::uint64_t hash = 0;    ///< of all tokens so far
    std::uint64_t number = 0;  ///< of the page; 0 for the beginning of a text
  };

  PrefixTable(std::int64_t pages, std::int64_t page_tokens);

  /// The page with these tokens, as many as a page has, after `before`; −1 where there is none.
  std::int32_t find(const Chain& before, std::span<const std::int32_t> tokens) const;
  bool listed(std::int32_t page) const { return entry(page).number != 0; }
  /// Of a listed page.
  Chain chain(std::int32_t page) const { return {entry(page).hash, entry(page).number}; }
  std::span<const std::int32_t> tokens(std::int32_t page) const;

  /// Lets a page that is not listed be found.
  void list(const Chain& before, std::span<const std::int32_t> tokens, std::int32_t page);
  void unlist(std::int32_t page);

  /// A listed page that nobody holds any more is the last to be forgotten; one that somebody holds
  /// again does not rest.
  void rest(std::int32_t page);
  void wake(std::int32_t page);
  std::int64_t resting() const { return resting_; }
  /// Unlists the page that has rested for longest; only where one does.
  std::int32_t forget_oldest();

 private:
  struct Entry {
    std::uint64_t hash = 0, number = 0;   ///< no number: it is not listed
    std::uint64_t before = 0;             ///< the number of the page before it
    std::int32_t next = -1;               ///< in its bucket
    std::int32_t older = -1, newer = -1;  ///< among those that rest
  };

  const Entry& entry(std::int32_t page) const { return entries_[static_cast<std::size_t>(page)]; }
  Entry& entry(std::int32_t page) { return entries_[static_cast<std::size_t>(page)]; }
  std::size_t bucket(std::uint64_t hash) const { return hash & (buckets_.size() - 1); }

  std::int64_t page_tokens_;
  std::uint64_t last_number_ = 0;
  std::vector<Entry> entries_;         ///< of each page
  std::vector<std::int32_t> tokens_;   ///< of each page
  std::vector<std::int32_t> buckets_;  ///< the first page of each; a power of two of them
  std::int32_t oldest_ = -1, newest_ = -1;
  std::int64_t resting_ = 0;
};

}  // namespace heed::detail
