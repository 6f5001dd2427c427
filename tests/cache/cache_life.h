// A life of a cache beside a simple model of it: each sequence is the list of its tokens. A token
// is a number that stands for it and for all tokens before it in its text, as its keys and values
// do, which spell the number: a page that was shared with another text would be seen.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "heed/kv_cache.h"

namespace heed::tests {

inline constexpr std::int64_t kPages = 24, kSequences = 7, kLayers = 2, kHeads = 2, kDims = 3;
inline constexpr std::int64_t kValueDims = 2;

/// Element x of a token's key; of its value, which begins behind the key: whole numbers below 2²⁴.
inline float element(int token, std::int64_t layer, std::int64_t head, std::int64_t x) {
  const std::int64_t place = (layer * kHeads + head) * (kDims + kValueDims) + x;
  return static_cast<float>(token * kLayers * kHeads * (kDims + kValueDims) + place);
}

/// The elements of a layer of all `tokens`, [token, head, dim], from the `first` on.
inline std::vector<float> elements(std::span<const int> tokens, std::int64_t layer,
                                   std::int64_t first, std::int64_t dims) {
  std::vector<float> all;
  for (const int token : tokens) {
    for (std::int64_t head = 0; head < kHeads; ++head) {
      for (std::int64_t x = 0; x < dims; ++x) all.push_back(element(token, layer, head, first + x));
    }
  }
  return all;
}

/// Tokens of a sequence at most: half the pages.
inline std::int64_t longest(const PagedLayout& layout) { return kPages / 2 * layout.page_tokens; }

class CacheLife {
 public:
  /// below(n) chooses a number in 0 … n − 1.
  using Choice = std::function<std::int64_t(std::int64_t n)>;

  CacheLife(Choice below, const PagedLayout& layout) : below_(std::move(below)), layout_(layout) {
    const Status status = KvCache::create({.layout = layout,
                                           .layers = kLayers,
                                           .sequences = kSequences,
                                           .sequence_tokens = longest(layout),
                                           .prefixes = true},
                                          cache_);
    EXPECT_TRUE(status.ok()) << status.message();
  }

  void step() {
    switch (below_(14)) {
      case 0:
        return add();
      case 10:
      case 11:
        return begin();
      case 12:
        return publish();
      case 13:
        return forget();
      case 1:
      case 2:
        return fork();
      case 3:
        return truncate();
      case 4:
        return below_(3) == 0 ? remove() : truncate();
      case 5:
        return below_(4) == 0 ? misuse() : extend();
      default:
        return extend();
    }
  }

  void check() {
    std::set<std::int32_t> held;
    for (const auto& [id, tokens] : model_) {
      ASSERT_EQ(cache_.tokens(id), static_cast<std::int64_t>(tokens.size()));
      const std::span<const std::int32_t> pages = cache_.pages(id);
      ASSERT_EQ(static_cast<std::int64_t>(pages.size()), pages_for(tokens.size()));
      held.insert(pages.begin(), pages.end());
      held.erase(kForgottenPage);
      for (std::int64_t layer = 0; layer < kLayers; ++layer) check_contents(tokens, pages, layer);
      if (testing::Test::HasFailure()) return;
    }
    ASSERT_EQ(cache_.free_pages() + static_cast<std::int64_t>(held.size()), kPages);
    for (const std::int32_t page : held) ASSERT_TRUE(page >= 0 && page < kPages) << page;
    check_tables();
  }

  void end() {
    while (!model_.empty()) remove();
    EXPECT_EQ(cache_.free_pages(), kPages);
  }

  /// How often each way of an operation was taken: a life that misses one proves nothing of it.
  struct Lived {
    int extended, copied, exhausted, too_long, forked, truncated, removed, no_sequence, misused;
    int found, not_found, forgotten, ends_forgotten;
  };
  const Lived& lived() const { return lived_; }

 private:
  std::int64_t pages_for(std::size_t tokens) const {
    return (static_cast<std::int64_t>(tokens) + layout_.page_tokens - 1) / layout_.page_tokens;
  }

  /// Any of the sequences; the model is not empty.
  std::int32_t any() {
    const auto it = std::next(model_.begin(), below_(static_cast<std::int64_t>(model_.size())));
    return it->first;
  }

  bool full() const { return static_cast<std::int64_t>(model_.size()) == kSequences; }

  void add() {
    std::int32_t id = -1;
    const Status status = cache_.add(id);
    ASSERT_EQ(status.code(), full() ? StatusCode::exhausted : StatusCode::ok);
    lived_.no_sequence += full();
    if (!status.ok()) return;
    ASSERT_TRUE(model_.emplace(id, std::vector<int>()).second) << id;
  }

  void fork() {
    if (model_.empty()) return;
    const std::int32_t id = any();
    const std::vector<int>& parent = model_[id];
    const std::int64_t length = below_(static_cast<std::int64_t>(parent.size()) + 1);
    std::int32_t child = -1;
    const Status status = cache_.fork(id, length, child);
    if (ends_forgotten(id, length)) {
      ASSERT_EQ(status.code(), StatusCode::invalid_argument);
      ++lived_.ends_forgotten;
      return;
    }
    ASSERT_EQ(status.code(), full() ? StatusCode::exhausted : StatusCode::ok);
    if (!status.ok()) return;
    const std::vector<int> prefix(parent.begin(), parent.begin() + length);
    ASSERT_TRUE(model_.emplace(child, prefix).second) << child;
    ++lived_.forked;
  }

  void truncate() {
    if (model_.empty()) return;
    const std::int32_t id = any();
    std::vector<int>& tokens = model_[id];
    const auto length = static_cast<std::int64_t>(tokens.size());
    const std::int64_t cut = below_(std::min(length, 3 * layout_.page_tokens) + 1);
    if (ends_forgotten(id, length - cut)) {
      ASSERT_FALSE(cache_.truncate(id, length - cut).ok());
      ++lived_.ends_forgotten;
      return;
    }
    ASSERT_TRUE(cache_.truncate(id, length - cut).ok());
    tokens.resize(static_cast<std::size_t>(length - cut));
    lived_.truncated += cut > 0;
  }

  void remove() {
    if (model_.empty()) return;
    const std::int32_t id = any();
    ASSERT_TRUE(cache_.remove(id).ok());
    ended_ = std::move(model_[id]);
    model_.erase(id);
    ++lived_.removed;
  }

  /// The letter of a token, which is what a text has: its number tells it and all before it.
  std::int32_t letter(int token) const { return letters_[static_cast<std::size_t>(token)]; }

  std::vector<std::int32_t> text(std::span<const int> tokens) const {
    std::vector<std::int32_t> letters;
    for (const int token : tokens) letters.push_back(letter(token));
    return letters;
  }

  /// The token that is this letter after `before`; −1 is the beginning of a text.
  int token_after(int before, std::int32_t letter) {
    const auto [it, is_new] = tokens_.try_emplace({before, letter}, std::ssize(letters_));
    if (is_new) letters_.push_back(letter);
    return it->second;
  }

  /// A text that begins as one that is there, or as the last one that ended, and may go on
  /// otherwise.
  void begin() {
    std::vector<int> tokens = model_.empty() || below_(3) == 0 ? ended_ : model_[any()];
    tokens.resize(static_cast<std::size_t>(below_(std::ssize(tokens) + 1)));
    if (!tokens.empty() && below_(3) == 0) {
      const int before = tokens.size() < 2 ? -1 : tokens[tokens.size() - 2];
      tokens.back() = token_after(before, static_cast<std::int32_t>(below_(3)));
    }
    std::int32_t id = -1;
    std::int64_t found = -1;
    const Status status = cache_.begin(text(tokens), id, found);
    ASSERT_EQ(status.code(), full() ? StatusCode::exhausted : StatusCode::ok);
    lived_.no_sequence += full();
    if (!status.ok()) return;
    ASSERT_EQ(found % layout_.page_tokens, 0);
    ASSERT_TRUE(found == 0 || found < std::ssize(tokens)) << found;
    lived_.found += found > 0;
    lived_.not_found += found == 0 && std::ssize(tokens) > layout_.page_tokens;
    tokens.resize(static_cast<std::size_t>(found));
    ASSERT_TRUE(model_.emplace(id, std::move(tokens)).second) << id;
  }

  void publish() {
    if (model_.empty()) return;
    const std::int32_t id = any();
    const std::vector<int>& tokens = model_[id];
    const std::int64_t count = below_(4) == 0 ? below_(std::ssize(tokens) + 1) : std::ssize(tokens);
    std::vector<std::int32_t> letters = text(tokens);
    letters.resize(static_cast<std::size_t>(count));
    const Status status = cache_.publish(id, letters);
    ASSERT_TRUE(status.ok()) << status.message();
  }

  void forget() {
    if (model_.empty()) return;
    const std::int32_t id = any();
    const std::int64_t before = below_(std::ssize(model_[id]) + 1);
    const std::int64_t keep = below_(2) * below_(2 * layout_.page_tokens);
    const std::span<const std::int32_t> pages = cache_.pages(id);
    std::vector<std::int32_t> expected(pages.begin(), pages.end());
    for (std::int64_t i = 0; i < std::ssize(expected); ++i) {
      const std::int64_t first = i * layout_.page_tokens;
      if (first >= keep && first + layout_.page_tokens <= before) {
        lived_.forgotten +=
            std::exchange(expected[static_cast<std::size_t>(i)], kForgottenPage) >= 0;
      }
    }
    ASSERT_TRUE(cache_.forget(id, before, keep).ok());
    ASSERT_TRUE(std::ranges::equal(cache_.pages(id), expected));
  }

  /// Whether so many tokens of a sequence end within a page that it has forgotten.
  bool ends_forgotten(std::int32_t id, std::int64_t tokens) const {
    if (tokens % layout_.page_tokens == 0) return false;
    const auto page = static_cast<std::size_t>(tokens / layout_.page_tokens);
    return cache_.pages(id)[page] == kForgottenPage;
  }

  /// Whether another sequence holds this page.
  bool shared(std::int32_t id, std::int32_t page) const {
    return std::ranges::any_of(model_, [&](const auto& other) {
      return other.first != id && std::ranges::count(cache_.pages(other.first), page) > 0;
    });
  }

  /// What is refused changes nothing, which check() sees.
  void misuse() {
    std::int32_t id = static_cast<std::int32_t>(below_(kSequences + 3)) - 1, child = -1;
    std::vector<std::int64_t> slots(2, -1);
    const auto it = model_.find(id);
    if (it == model_.end()) {
      EXPECT_FALSE(cache_.truncate(id, 0).ok());
      EXPECT_FALSE(cache_.remove(id).ok());
      EXPECT_FALSE(cache_.extend(id, slots).ok());
      EXPECT_FALSE(cache_.fork(id, 0, child).ok());
    } else {
      const std::int64_t length = std::ssize(it->second);
      for (const std::int64_t wrong : {std::int64_t{-1}, length + 1}) {
        EXPECT_FALSE(cache_.truncate(id, wrong).ok());
        EXPECT_FALSE(cache_.fork(id, wrong, child).ok());
      }
    }
    EXPECT_EQ(child, -1);
    ++lived_.misused;
  }

  void extend() {
    if (model_.empty()) return;
    const std::int32_t id = any();
    std::vector<int>& tokens = model_[id];
    const std::int64_t count = below_(3) == 0 ? below_(8 * layout_.page_tokens) : below_(3);
    const std::size_t length = tokens.size(), longer = length + static_cast<std::size_t>(count);
    const bool partly_filled = static_cast<std::int64_t>(length) % layout_.page_tokens != 0;
    const bool copies = count > 0 && partly_filled && shared(id, cache_.pages(id).back());
    const bool too_long = static_cast<std::int64_t>(longer) > longest(layout_);
    const bool fits =
        pages_for(longer) - pages_for(length) + (copies ? 1 : 0) <= cache_.free_pages();
    std::vector<std::int64_t> slots(static_cast<std::size_t>(count), -1);
    const Status status = cache_.extend(id, slots);
    ASSERT_EQ(status.code(), !too_long && fits ? StatusCode::ok : StatusCode::exhausted)
        << status.message();
    lived_.too_long += too_long;
    lived_.exhausted += !too_long && !fits;
    if (!status.ok()) return;
    lived_.copied += copies;
    ++lived_.extended;
    for (std::int64_t i = 0; i < count; ++i) {
      const auto letter = static_cast<std::int32_t>(below_(2));
      tokens.push_back(token_after(tokens.empty() ? -1 : tokens.back(), letter));
    }
    write(std::span(tokens).subspan(length), slots);
  }

  void write(std::span<const int> tokens, std::span<const std::int64_t> slots) {
    for (std::int64_t layer = 0; layer < kLayers; ++layer) {
      const std::vector<float> k = elements(tokens, layer, 0, kDims);
      const std::vector<float> v = elements(tokens, layer, kDims, kValueDims);
      const Status status = append(layout_, cache_.layer(layer),
                                   {.k = k.data(), .v = v.data(), .slots = slots}, {.workers = 1});
      ASSERT_TRUE(status.ok()) << status.message();
    }
  }

  void check_contents(std::span<const int> tokens, std::span<const std::int32_t> pages,
                      std::int64_t layer) {
    const KvPages pool = cache_.layer(layer);
    for (std::size_t t = 0; t < tokens.size(); ++t) {
      const auto token = static_cast<std::int64_t>(t);
      const std::int64_t page = pages[static_cast<std::size_t>(token / layout_.page_tokens)];
      if (page == kForgottenPage) continue;
      const std::int64_t slot = token % layout_.page_tokens;
      const auto at = [&](const PageStrides& s, std::int64_t head) {
        return page * s.page + slot * s.token + head * s.head;
      };
      for (std::int64_t head = 0; head < kHeads; ++head) {
        const float* const k = pool.k.as<float>() + at(layout_.k, head);
        const float* const v = pool.v.as<float>() + at(layout_.v, head);
        for (std::int64_t x = 0; x < kDims; ++x) {
          ASSERT_EQ(k[x], element(tokens[t], layer, head, x)) << "token " << t;
        }
        for (std::int64_t x = 0; x < kValueDims; ++x) {
          ASSERT_EQ(v[x], element(tokens[t], layer, head, kDims + x)) << "token " << t;
        }
      }
    }
  }

  void check_tables() {
    std::vector<std::int32_t> ids;
    for (const auto& [id, tokens] : model_) ids.push_back(id);
    std::vector<std::int32_t> table(ids.size() * kPages), indptr(ids.size() + 1);
    std::vector<std::int32_t> indices(ids.size() * kPages);
    ASSERT_TRUE(cache_.block_table(ids, kPages, table).ok());
    ASSERT_TRUE(cache_.page_lists(ids, indptr, indices).ok());
    for (std::size_t i = 0; i < ids.size(); ++i) {
      const std::span<const std::int32_t> pages = cache_.pages(ids[i]);
      ASSERT_EQ(indptr[i + 1] - indptr[i], static_cast<std::int32_t>(pages.size()));
      ASSERT_TRUE(std::ranges::equal(pages, std::span(table).subspan(i * kPages, pages.size())));
      ASSERT_TRUE(std::equal(pages.begin(), pages.end(), indices.begin() + indptr[i]));
    }
    check_shared_prefixes(ids);
  }

  /// What sequences have in common in their pages they have in common.
  void check_shared_prefixes(const std::vector<std::int32_t>& ids) {
    std::vector<std::int32_t> prefixes(ids.size());
    ASSERT_TRUE(cache_.shared_prefixes(ids, prefixes).ok());
    for (std::size_t i = 1; i < ids.size(); ++i) {
      const std::vector<int>&before = model_.at(ids[i - 1]), &own = model_.at(ids[i]);
      ASSERT_LE(prefixes[i], std::ssize(before));
      ASSERT_LE(prefixes[i], std::ssize(own));
      ASSERT_TRUE(std::equal(own.begin(), own.begin() + prefixes[i], before.begin()));
    }
  }

  using Model = std::map<std::int32_t, std::vector<int>>;

  Choice below_;
  PagedLayout layout_;
  KvCache cache_;
  Model model_;
  std::map<std::pair<int, std::int32_t>, int> tokens_;  ///< by what is before, and the letter
  std::vector<std::int32_t> letters_;                   ///< of each token
  std::vector<int> ended_;                              ///< the last text that ended
  Lived lived_{};
};

}  // namespace heed::tests
