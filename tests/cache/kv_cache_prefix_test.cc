// Pages that are found by their tokens, and pages that windows have passed: what each operation
// does, refuses and says.
#include <gtest/gtest.h>

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "heed/heed.h"

namespace heed::tests {
namespace {

using Numbers = std::vector<std::int32_t>;

/// first, first + 1, …
Numbers text(std::int32_t first, std::int32_t count) {
  Numbers tokens;
  for (std::int32_t i = 0; i < count; ++i) tokens.push_back(first + i);
  return tokens;
}

Numbers operator+(Numbers a, const Numbers& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

void expect_refused(const Status& status, const std::string& message) {
  EXPECT_EQ(status.code(), StatusCode::invalid_argument);
  EXPECT_EQ(status.message(), message);
}

class PrefixTest : public testing::Test {
 protected:
  /// 8 pages of 4 tokens, 5 sequences.
  PrefixTest() { create({.pages = 8, .page_tokens = 4, .sequences = 5, .prefixes = true}); }

  void create(const PageBudget& budget) {
    ASSERT_TRUE(PagedSequences::create(budget, sequences_).ok());
  }

  /// A sequence for the text, of which so many tokens must be found.
  std::int32_t begin(const Numbers& tokens, std::int64_t expected) {
    std::int32_t id = -1;
    std::int64_t found = -1;
    EXPECT_TRUE(sequences_.begin(tokens, id, found).ok());
    EXPECT_EQ(found, expected);
    EXPECT_EQ(sequences_.tokens(id), expected);
    return id;
  }
  void extend(std::int32_t id, std::int64_t count) {
    std::vector<std::int64_t> slots(static_cast<std::size_t>(count));
    const Status status = sequences_.extend(id, slots, copy_);
    EXPECT_TRUE(status.ok()) << status.message();
  }
  void publish(std::int32_t id, const Numbers& tokens) {
    const Status status = sequences_.publish(id, tokens);
    EXPECT_TRUE(status.ok()) << status.message();
  }
  /// A sequence that has all of the text, published.
  std::int32_t read(const Numbers& tokens, std::int64_t expected) {
    const std::int32_t id = begin(tokens, expected);
    extend(id, std::ssize(tokens) - expected);
    publish(id, tokens);
    return id;
  }
  void remove(std::int32_t id) { EXPECT_TRUE(sequences_.remove(id).ok()); }
  Numbers pages(std::int32_t id) const {
    const std::span<const std::int32_t> list = sequences_.pages(id);
    return {list.begin(), list.end()};
  }

  PagedSequences sequences_;
  PageCopy copy_;
};

TEST_F(PrefixTest, TextsShareTheFullPagesOfTheirBeginning) {
  const std::int32_t a = read(text(0, 10), 0);
  EXPECT_EQ(pages(a), (Numbers{0, 1, 2}));
  const std::int32_t b = begin(text(0, 10), 8);  // the third page is not full
  EXPECT_EQ(pages(b), (Numbers{0, 1}));
  const std::int32_t c = begin(text(0, 7) + text(50, 9), 4);  // the second page differs
  EXPECT_EQ(pages(c), (Numbers{0}));
  begin(text(1, 8), 0);
  EXPECT_EQ(sequences_.free_pages(), 5);
}

TEST_F(PrefixTest, OneTokenIsLeftToCompute) {
  remove(read(text(0, 8), 0));
  remove(begin(text(0, 8), 4));
  remove(begin(text(0, 9), 8));
  remove(begin(text(0, 4), 0));
  remove(begin({}, 0));
}

TEST_F(PrefixTest, PagesWithTheSameTokensAfterOthersAreOthers) {
  const Numbers same = text(70, 4), tail = {99};
  const std::int32_t a = read(text(0, 4) + same, 0), b = read(text(10, 4) + same, 0);
  EXPECT_EQ(pages(begin(text(0, 4) + same + tail, 8)), pages(a));
  EXPECT_EQ(pages(begin(text(10, 4) + same + tail, 8)), pages(b));
  begin(same + tail, 0);
}

TEST_F(PrefixTest, NothingIsFoundBeforeItIsPublished) {
  const std::int32_t a = begin(text(0, 12), 0);
  extend(a, 12);
  remove(begin(text(0, 12), 0));
  publish(a, text(0, 7));
  remove(begin(text(0, 12), 4));
  publish(a, text(0, 12));
  remove(begin(text(0, 13), 12));
}

TEST_F(PrefixTest, EndedTextsAreFoundUntilTheirPagesAreNeeded) {
  remove(read(text(0, 12), 0));
  remove(read(text(50, 4), 0));
  EXPECT_EQ(sequences_.free_pages(), 8);
  const std::int32_t other = begin({}, 0);
  extend(other, 4 * 4);  // the pages that nobody can find
  remove(begin(text(0, 13), 12));
  extend(other, 4);  // the oldest: page 50 …
  remove(begin(text(50, 5), 0));
  remove(begin(text(0, 13), 12));
  extend(other, 4);  // … and then the last page of the text
  EXPECT_EQ(begin(text(0, 13), 8), 1);
  EXPECT_EQ(sequences_.free_pages(), 0);
  std::vector<std::int64_t> slots(1);
  const Status status = sequences_.extend(1, slots, copy_);
  EXPECT_EQ(status.message(),
            "sequence 1 needs 1 more pages for 1 more tokens; free pages: 0 of 8");
}

// A use makes pages young again.
TEST_F(PrefixTest, ThePagesGoThatWereUsedLongestAgo) {
  for (const std::int32_t first : {0, 20, 40, 60}) remove(read(text(first, 8), 0));
  remove(begin(text(0, 9), 8));
  const std::int32_t other = begin({}, 0);
  extend(other, 16);
  remove(begin(text(20, 9), 0));
  remove(begin(text(40, 9), 0));
  remove(begin(text(60, 9), 8));
  remove(begin(text(0, 9), 8));
}

TEST_F(PrefixTest, TheSameTextTwiceIsOneToOthers) {
  const std::int32_t a = begin(text(0, 9), 0), b = begin(text(0, 9), 0);
  extend(a, 9);
  extend(b, 9);
  publish(a, text(0, 9));
  publish(b, text(0, 9));
  EXPECT_EQ(pages(begin(text(0, 9), 8)), (Numbers{pages(a)[0], pages(a)[1]}));
  const Numbers longer = text(0, 13);
  extend(b, 4);
  publish(b, longer);  // goes on after the pages of the other
  EXPECT_EQ(pages(begin(text(0, 13), 12)), (Numbers{pages(a)[0], pages(a)[1], pages(b)[2]}));
  remove(b);
  EXPECT_EQ(sequences_.free_pages(), 8 - 3 - 1) << "b's own first two pages, and its last";
}

TEST_F(PrefixTest, APageThatIsWrittenAnewIsNotFound) {
  const std::int32_t a = read(text(0, 8), 0);
  ASSERT_TRUE(sequences_.truncate(a, 6).ok());
  remove(begin(text(0, 9), 8));  // what was published is still there
  extend(a, 1);
  EXPECT_EQ(copy_.tokens, 0);
  remove(begin(text(0, 9), 4));
  extend(a, 1);
  publish(a, text(0, 6) + text(90, 2));
  remove(begin(text(0, 9), 4));
  remove(begin(text(0, 6) + text(90, 3), 8));
}

TEST_F(PrefixTest, APageThatOthersHoldIsCopiedAndStillFound) {
  const std::int32_t a = read(text(0, 8), 0), b = begin(text(0, 9), 8);
  ASSERT_TRUE(sequences_.truncate(a, 6).ok());
  extend(a, 1);
  EXPECT_EQ(copy_.tokens, 2);
  EXPECT_EQ(pages(begin(text(0, 9), 8)), pages(b));
}

TEST_F(PrefixTest, ChildrenGoOnWhereTheirParentsWere) {
  const std::int32_t a = read(text(0, 8), 0);
  std::int32_t child = -1, early = -1;
  ASSERT_TRUE(sequences_.fork(a, 8, child).ok());
  ASSERT_TRUE(sequences_.fork(a, 5, early).ok());
  extend(child, 4);
  publish(child, text(0, 12));
  remove(begin(text(0, 13), 12));
  extend(early, 4);
  publish(early, text(0, 5) + text(80, 4));
  remove(begin(text(0, 5) + text(80, 4), 8));
}

// What followed a page that is gone is not found after another page with its tokens, but for those
// who publish it again.
TEST_F(PrefixTest, PagesAfterOneThatIsGone) {
  const std::int32_t a = read(text(0, 12), 0);
  ASSERT_TRUE(sequences_.forget(a, 4).ok());
  const std::int32_t other = begin({}, 0);
  extend(other, 6 * 4);  // takes all pages but the two that a has, its first one at last
  remove(other);
  remove(begin(text(0, 13), 0));
  const std::int32_t b = read(text(0, 4), 0);
  remove(begin(text(0, 13), 4));
  publish(a, text(0, 12));  // was published, and is not looked at
  remove(begin(text(0, 13), 4));
  ASSERT_TRUE(sequences_.truncate(a, 8).ok());
  publish(a, text(0, 8));
  EXPECT_EQ(pages(begin(text(0, 9), 8)), (Numbers{pages(b)[0], pages(a)[1]}));
}

TEST_F(PrefixTest, ALimitedSequenceFindsNoMoreThanItMayHave) {
  create({.pages = 8, .page_tokens = 4, .sequences = 5, .sequence_tokens = 10, .prefixes = true});
  read(text(0, 10), 0);
  begin(text(0, 30), 8);
}

TEST_F(PrefixTest, Refuses) {
  const std::int32_t a = read(text(0, 8), 0);
  expect_refused(sequences_.publish(a, text(0, 9)),
                 "tokens has 9 entries; sequence 0 has 8 tokens");
  expect_refused(sequences_.publish(7, {}), "sequence 7 is not in use");
  ASSERT_TRUE(sequences_.truncate(a, 4).ok());
  expect_refused(sequences_.publish(a, text(1, 4)),
                 "tokens: page 0 of sequence 0 was published with other tokens");
  for (int i = 1; i < 5; ++i) begin({}, 0);
  std::int32_t id = -5;
  std::int64_t found = -5;
  EXPECT_EQ(sequences_.begin(text(0, 8), id, found).code(), StatusCode::exhausted);
  EXPECT_EQ(id, -5);
  EXPECT_EQ(found, -5);
  const std::string message =
      "prefixes must be set when sequences are created that share pages by tokens";
  create({.pages = 8, .page_tokens = 4, .sequences = 5});
  expect_refused(sequences_.begin({}, id, found), message);
  expect_refused(sequences_.publish(0, {}), message);
  constexpr std::int64_t many = (std::int64_t{1} << 31) - 1;
  expect_refused(
      PagedSequences::create({.pages = many,
                              .page_tokens = many,
                              .sequences = 1,
                              .sequence_tokens = 1,
                              .prefixes = true},
                             sequences_),
      "prefixes of 2147483647 pages of 2147483647 tokens reach beyond the address space");
}

class ForgetTest : public PrefixTest {
 protected:
  ForgetTest() { create({.pages = 8, .page_tokens = 4, .sequences = 5}); }

  std::int32_t add(std::int64_t tokens) {
    std::int32_t id = -1;
    EXPECT_TRUE(sequences_.add(id).ok());
    extend(id, tokens);
    return id;
  }
};

TEST_F(ForgetTest, GivesBackPagesThatLieWhollyBefore) {
  const std::int32_t a = add(14);
  ASSERT_TRUE(sequences_.forget(a, 3).ok());
  EXPECT_EQ(pages(a), (Numbers{0, 1, 2, 3}));
  ASSERT_TRUE(sequences_.forget(a, 9).ok());
  EXPECT_EQ(pages(a), (Numbers{-1, -1, 2, 3}));
  EXPECT_EQ(sequences_.tokens(a), 14);
  EXPECT_EQ(sequences_.free_pages(), 6);
  ASSERT_TRUE(sequences_.forget(a, 9).ok());
  EXPECT_EQ(sequences_.free_pages(), 6);
  extend(a, 4);
  EXPECT_EQ(pages(a), (Numbers{-1, -1, 2, 3, 0}));
  Numbers table(5), indptr(2), indices(5);
  ASSERT_TRUE(sequences_.block_table(Numbers{a}, 5, table).ok());
  ASSERT_TRUE(sequences_.page_lists(Numbers{a}, indptr, indices).ok());
  EXPECT_EQ(table, pages(a));
  EXPECT_EQ(indices, pages(a));
  remove(a);
  EXPECT_EQ(sequences_.free_pages(), 8);
}

TEST_F(ForgetTest, KeepsTheFirstOnesThatAreAskedFor) {
  const std::int32_t a = add(16);
  ASSERT_TRUE(sequences_.forget(a, 16, 5).ok());
  EXPECT_EQ(pages(a), (Numbers{0, 1, -1, -1}));
  ASSERT_TRUE(sequences_.forget(a, 8, 4).ok());
  EXPECT_EQ(pages(a), (Numbers{0, -1, -1, -1}));
  ASSERT_TRUE(sequences_.forget(a, 8, 100).ok());
  EXPECT_EQ(pages(a), (Numbers{0, -1, -1, -1}));
  extend(a, 1);
  EXPECT_EQ(pages(a), (Numbers{0, -1, -1, -1, 1}));
}

TEST_F(ForgetTest, LeavesWhatOthersHold) {
  const std::int32_t a = add(10);
  std::int32_t b = -1;
  ASSERT_TRUE(sequences_.fork(a, 10, b).ok());
  ASSERT_TRUE(sequences_.forget(a, 8).ok());
  EXPECT_EQ(sequences_.free_pages(), 5);
  EXPECT_EQ(pages(b), (Numbers{0, 1, 2}));
  std::int32_t c = -1;
  ASSERT_TRUE(sequences_.fork(a, 9, c).ok());
  EXPECT_EQ(pages(c), (Numbers{-1, -1, 2}));
  remove(b);
  EXPECT_EQ(sequences_.free_pages(), 7);
  Numbers prefixes(2);
  ASSERT_TRUE(sequences_.shared_prefixes(Numbers{a, c}, prefixes).ok());
  EXPECT_EQ(prefixes, (Numbers{0, 9}));
  const std::int32_t d = add(9);
  ASSERT_TRUE(sequences_.forget(d, 8).ok());
  ASSERT_TRUE(sequences_.shared_prefixes(Numbers{a, d}, prefixes).ok());
  EXPECT_EQ(prefixes, (Numbers{0, 0})) << "what both have forgotten is not the same";
}

TEST_F(ForgetTest, ForgottenPagesTakeNoTokens) {
  const std::int32_t a = add(10);
  ASSERT_TRUE(sequences_.forget(a, 8).ok());
  std::int32_t child = -5;
  const std::string message =
      "tokens (6) must not end within page 1 of sequence 0, which was forgotten";
  expect_refused(sequences_.truncate(a, 6), message);
  expect_refused(sequences_.fork(a, 6, child), message);
  EXPECT_EQ(child, -5);
  EXPECT_EQ(pages(a), (Numbers{-1, -1, 2}));
  ASSERT_TRUE(sequences_.truncate(a, 8).ok());
  ASSERT_TRUE(sequences_.truncate(a, 4).ok());
  extend(a, 2);
  EXPECT_EQ(pages(a), (Numbers{-1, 2}));
  expect_refused(sequences_.forget(a, 7), "tokens (7) must be from 0 to the 6 of sequence 0");
  expect_refused(sequences_.forget(a, 5, -1), "keep_first (-1) must be 0 or more");
  expect_refused(sequences_.forget(3, 0), "sequence 3 is not in use");
}

/// Attention of the last of 30 tokens with a window, before and after pages are forgotten.
class WindowedCache : public testing::Test {
 protected:
  static constexpr std::int64_t kTokens = 30, kDims = 8;

  void SetUp() override {
    const auto layout = PagedLayout::bshd(16, 4, 1, kDims);
    ASSERT_TRUE(KvCache::create({.layout = layout, .sequences = 2}, cache_).ok());
    ASSERT_TRUE(cache_.add(id_).ok());
    std::vector<std::int64_t> slots(kTokens);
    ASSERT_TRUE(cache_.extend(id_, slots).ok());
    std::vector<float> k(kTokens * kDims), v(k.size());
    for (std::size_t i = 0; i < k.size(); ++i) {
      k[i] = static_cast<float>(i % 7) - 3, v[i] = static_cast<float>(i);
    }
    ASSERT_TRUE(
        append(layout, cache_.layer(0), {.k = k.data(), .v = v.data(), .slots = slots}).ok());
  }

  Status attend(std::vector<float>& out) {
    const AttentionConfig config{
        .head_dim = kDims, .causal = true, .window_left = 9, .keep_first = 3};
    const Batch batch{.query = {.length = 1}, .key = {.length = kTokens}, .pages = cache_.layout()};
    std::vector<std::int32_t> table(8);
    Plan plan;
    Workspace workspace;
    Status status = cache_.block_table({&id_, 1}, 8, table);
    if (status.ok()) status = plan_attention(config, batch, {}, plan);
    if (status.ok()) status = workspace.reserve(plan);
    const std::vector<float> q(kDims, 0.25F);
    if (!status.ok()) return status;
    return run(plan,
               {.q = q.data(),
                .k = cache_.layer(0).k,
                .v = cache_.layer(0).v,
                .out = out.data(),
                .tables = {.pages = table, .stride = 8}},
               workspace);
  }

  KvCache cache_;
  std::int32_t id_ = -1;
};

TEST_F(WindowedCache, AttendsWithoutWhatTheWindowHides) {
  std::vector<float> before(kDims), after(kDims, -5);
  ASSERT_TRUE(attend(before).ok());
  ASSERT_TRUE(cache_.forget(id_, 20, 3).ok());  // the token sees keys 20 … 29 and 0 … 2
  EXPECT_EQ(cache_.free_pages(), 8 + 4);
  ASSERT_TRUE(attend(after).ok());
  EXPECT_EQ(after, before);
}

TEST_F(WindowedCache, RefusesToAttendToWhatWasForgotten) {
  std::vector<float> out(kDims, -5);
  ASSERT_TRUE(cache_.forget(id_, 24, 3).ok());
  expect_refused(attend(out),
                 "tables.pages[5] (-1), page 5 of sequence 0, must be from 0 to pages.pages - 1 "
                 "(15): it was forgotten, and queries see its keys");
  ASSERT_TRUE(cache_.forget(id_, 20, 0).ok());
  expect_refused(attend(out),
                 "tables.pages[0] (-1), page 0 of sequence 0, must be from 0 to pages.pages - 1 "
                 "(15): it was forgotten, and queries see its keys");
  EXPECT_EQ(out, std::vector<float>(kDims, -5));
}

}  // namespace
}  // namespace heed::tests
