// Sequences on pages: what each operation does, refuses and says.
#include "heed/kv_cache.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/this_build.h"

namespace heed::tests {
namespace {

using Numbers = std::vector<std::int32_t>;
using Slots = std::vector<std::int64_t>;

class PagedSequencesTest : public testing::Test {
 protected:
  /// 6 pages of 4 tokens, 3 sequences.
  PagedSequencesTest() { create({.pages = 6, .page_tokens = 4, .sequences = 3}); }

  void create(const PageBudget& budget) {
    const Status status = PagedSequences::create(budget, sequences_);
    ASSERT_TRUE(status.ok()) << status.message();
  }
  std::int32_t add() {
    std::int32_t id = -1;
    EXPECT_TRUE(sequences_.add(id).ok());
    return id;
  }
  std::int32_t fork(std::int32_t id, std::int64_t tokens) {
    std::int32_t child = -1;
    EXPECT_TRUE(sequences_.fork(id, tokens, child).ok());
    return child;
  }
  /// The slots of `count` more tokens.
  Slots extend(std::int32_t id, std::size_t count, const PageCopy& expected = {}) {
    Slots slots(count);
    PageCopy copy{7, 7, 7};
    const Status status = sequences_.extend(id, slots, copy);
    EXPECT_TRUE(status.ok()) << status.message();
    EXPECT_EQ(copy.tokens, expected.tokens);
    EXPECT_EQ(copy.from, expected.from);
    EXPECT_EQ(copy.to, expected.to);
    return slots;
  }
  Numbers pages(std::int32_t id) const {
    const std::span<const std::int32_t> list = sequences_.pages(id);
    return {list.begin(), list.end()};
  }
  static void expect_status(const Status& status, StatusCode code, const std::string& message) {
    EXPECT_EQ(status.code(), code);
    EXPECT_EQ(status.message(), message);
  }

  PagedSequences sequences_;
};

TEST_F(PagedSequencesTest, TokensFillPageAfterPage) {
  const std::int32_t id = add();
  EXPECT_EQ(sequences_.tokens(id), 0);
  EXPECT_EQ(extend(id, 3), (Slots{0, 1, 2}));
  EXPECT_EQ(extend(id, 0), Slots{});
  EXPECT_EQ(sequences_.free_pages(), 5);
  EXPECT_EQ(extend(id, 6), (Slots{3, 4, 5, 6, 7, 8}));
  EXPECT_EQ(sequences_.tokens(id), 9);
  EXPECT_EQ(pages(id), (Numbers{0, 1, 2}));
  EXPECT_EQ(sequences_.free_pages(), 3);
}

TEST_F(PagedSequencesTest, SequencesTakeTurns) {
  const std::int32_t a = add(), b = add();
  EXPECT_NE(a, b);
  extend(a, 4);
  extend(b, 1);
  EXPECT_EQ(extend(a, 1), (Slots{8}));
  EXPECT_EQ(pages(a), (Numbers{0, 2}));
  EXPECT_EQ(pages(b), (Numbers{1}));
}

TEST_F(PagedSequencesTest, APageThatIsFullIsNotCopied) {
  const std::int32_t a = add();
  extend(a, 8);
  const std::int32_t b = fork(a, 8), c = fork(a, 4);
  EXPECT_EQ(sequences_.free_pages(), 4);
  EXPECT_EQ(extend(b, 1), (Slots{8}));
  EXPECT_EQ(extend(c, 1), (Slots{12}));
  EXPECT_EQ(extend(a, 1), (Slots{16}));
  EXPECT_EQ(pages(c), (Numbers{0, 3}));
}

TEST_F(PagedSequencesTest, WhoeverWritesFirstCopies) {
  const std::int32_t a = add();
  extend(a, 6);
  const std::int32_t b = fork(a, 6), c = fork(a, 5);
  EXPECT_EQ(extend(a, 1, {1, 2, 2}), (Slots{10}));
  EXPECT_EQ(extend(c, 1, {1, 3, 1}), (Slots{13}));
  EXPECT_EQ(extend(b, 2), (Slots{6, 7}));  // its own by now
  EXPECT_EQ(pages(a), (Numbers{0, 2}));
  EXPECT_EQ(pages(b), (Numbers{0, 1}));
  EXPECT_EQ(pages(c), (Numbers{0, 3}));
  EXPECT_EQ(sequences_.free_pages(), 2);
}

TEST_F(PagedSequencesTest, APrefixThatEndsWithinAFullPageIsCopiedByTheChildAlone) {
  const std::int32_t a = add();
  extend(a, 9);
  const std::int32_t b = fork(a, 2);
  EXPECT_EQ(extend(a, 1), (Slots{9}));
  EXPECT_EQ(extend(b, 4, {0, 3, 2}), (Slots{14, 15, 16, 17}));
}

TEST_F(PagedSequencesTest, TruncatedTokensGiveTheirPagesBack) {
  const std::int32_t a = add();
  extend(a, 10);
  ASSERT_TRUE(sequences_.truncate(a, 5).ok());
  EXPECT_EQ(sequences_.tokens(a), 5);
  EXPECT_EQ(pages(a), (Numbers{0, 1}));
  EXPECT_EQ(sequences_.free_pages(), 4);
  EXPECT_EQ(extend(a, 1), (Slots{5}));
  ASSERT_TRUE(sequences_.truncate(a, 4).ok());
  EXPECT_EQ(pages(a), (Numbers{0}));
  ASSERT_TRUE(sequences_.truncate(a, 4).ok());
  ASSERT_TRUE(sequences_.truncate(a, 0).ok());
  EXPECT_EQ(sequences_.free_pages(), 6);
}

TEST_F(PagedSequencesTest, ATruncatedSequenceLeavesSharedPagesAlone) {
  const std::int32_t a = add();
  extend(a, 8);
  const std::int32_t b = fork(a, 8);
  ASSERT_TRUE(sequences_.truncate(b, 3).ok());
  EXPECT_EQ(sequences_.free_pages(), 4);
  EXPECT_EQ(extend(b, 1, {0, 2, 3}), (Slots{11}));
  ASSERT_TRUE(sequences_.remove(a).ok());
  EXPECT_EQ(sequences_.free_pages(), 5);
}

TEST_F(PagedSequencesTest, RemovedSequencesAndPagesAreUsedAgain) {
  const std::int32_t a = add(), b = add(), c = add();
  extend(a, 24);
  ASSERT_TRUE(sequences_.remove(a).ok());
  EXPECT_EQ(sequences_.tokens(a), -1);
  EXPECT_TRUE(pages(a).empty());
  EXPECT_EQ(sequences_.free_pages(), 6);
  EXPECT_EQ(add(), a);
  extend(b, 12);
  extend(c, 12);
  EXPECT_EQ(sequences_.free_pages(), 0);
}

TEST_F(PagedSequencesTest, NothingChangesWhenPagesAreExhausted) {
  const std::int32_t a = add(), b = add();
  extend(a, 18);
  const std::int32_t c = fork(a, 18);
  extend(b, 4);
  const Numbers before = pages(a);
  Slots slots(3, -5);
  PageCopy copy{7, 8, 9};
  expect_status(sequences_.extend(a, slots, copy), StatusCode::exhausted,
                "sequence " + std::to_string(a) +
                    " needs 2 more pages for 3 more tokens; free pages: 0 of 6");
  expect_status(sequences_.extend(c, std::span(slots).first(1), copy), StatusCode::exhausted,
                "sequence " + std::to_string(c) +
                    " needs 1 more pages for 1 more tokens; free pages: 0 of 6");
  EXPECT_EQ(slots, Slots(3, -5));
  EXPECT_EQ(copy.from, 7);
  EXPECT_EQ(copy.tokens, 9);
  EXPECT_EQ(pages(a), before);
  EXPECT_EQ(sequences_.tokens(a), 18);
  ASSERT_TRUE(sequences_.remove(c).ok());
  EXPECT_EQ(extend(a, 2), (Slots{18, 19}));
}

TEST_F(PagedSequencesTest, NothingChangesWhenSequencesAreExhausted) {
  const std::int32_t a = add();
  add(), add();
  extend(a, 5);
  std::int32_t id = -5;
  expect_status(sequences_.add(id), StatusCode::exhausted, "all 3 sequences are in use");
  expect_status(sequences_.fork(a, 5, id), StatusCode::exhausted, "all 3 sequences are in use");
  EXPECT_EQ(id, -5);
  EXPECT_EQ(sequences_.free_pages(), 4);
}

TEST_F(PagedSequencesTest, ASequenceMayBeLimited) {
  create({.pages = 6, .page_tokens = 4, .sequences = 3, .sequence_tokens = 6});
  const std::int32_t a = add();
  extend(a, 5);
  Slots slots(2);
  PageCopy copy;
  expect_status(sequences_.extend(a, slots, copy), StatusCode::exhausted,
                "sequence " + std::to_string(a) +
                    " of 5 tokens has no room for 2 more: a sequence may have 6");
  EXPECT_EQ(extend(a, 1), (Slots{5}));
}

TEST_F(PagedSequencesTest, IdsThatAreNotInUse) {
  const std::int32_t a = add();
  ASSERT_TRUE(sequences_.remove(a).ok());
  Slots slots(1);
  PageCopy copy;
  Numbers table(10);
  for (const std::int32_t id : {a, -1, 3, std::numeric_limits<std::int32_t>::max()}) {
    const std::string message = "sequence " + std::to_string(id) + " is not in use";
    std::int32_t child = -5;
    const Numbers ids = {id};
    for (const Status& status :
         {sequences_.extend(id, slots, copy), sequences_.fork(id, 0, child),
          sequences_.truncate(id, 0), sequences_.remove(id), sequences_.block_table(ids, 5, table),
          sequences_.page_lists(ids, std::span(table).first(2), table)}) {
      expect_status(status, StatusCode::invalid_argument, message);
    }
    EXPECT_EQ(sequences_.tokens(id), -1);
    EXPECT_TRUE(pages(id).empty());
  }
  EXPECT_EQ(sequences_.free_pages(), 6);
}

TEST_F(PagedSequencesTest, PrefixesThatDoNotExist) {
  const std::int32_t a = add();
  extend(a, 5);
  for (const std::int64_t wrong : {-1, 6}) {
    const std::string message = "tokens (" + std::to_string(wrong) +
                                ") must be from 0 to the 5 of sequence " + std::to_string(a);
    std::int32_t child = -5;
    expect_status(sequences_.truncate(a, wrong), StatusCode::invalid_argument, message);
    expect_status(sequences_.fork(a, wrong, child), StatusCode::invalid_argument, message);
    EXPECT_EQ(child, -5);
  }
}

TEST_F(PagedSequencesTest, Budgets) {
  const std::string counts = " must be from 1 to 2147483647";
  const auto expect_refused = [](const PageBudget& budget, const std::string& message) {
    PagedSequences sequences;
    expect_status(PagedSequences::create(budget, sequences), StatusCode::invalid_argument, message);
  };
  expect_refused({0, 4, 3}, "pages (0)" + counts);
  expect_refused({6, 0, 3}, "page_tokens (0)" + counts);
  expect_refused({6, 4, 0}, "sequences (0)" + counts);
  expect_refused({std::int64_t{1} << 31, 4, 3}, "pages (2147483648)" + counts);
  expect_refused({6, 4, 3, -1}, "sequence_tokens (-1) must be 0 or more");
}

TEST_F(PagedSequencesTest, NothingIsInOneThatWasNotCreatedOrHasMoved) {
  std::int32_t id = -5;
  const auto expect_empty = [&](PagedSequences& sequences) {
    EXPECT_EQ(sequences.free_pages(), 0);
    EXPECT_EQ(sequences.tokens(0), -1);
    expect_status(sequences.add(id), StatusCode::exhausted, "all 0 sequences are in use");
  };
  PagedSequences none;
  expect_empty(none);
  extend(add(), 5);
  const PagedSequences moved = std::move(sequences_);
  EXPECT_EQ(moved.tokens(0), 5);
  expect_empty(sequences_);
}

TEST_F(PagedSequencesTest, PageTables) {
  const std::int32_t a = add(), b = add(), c = add();
  extend(a, 9);
  extend(c, 1);
  const Numbers ids = {c, a, b};
  Numbers table(3 * 4, -5);
  ASSERT_TRUE(sequences_.block_table(ids, 4, table).ok());
  EXPECT_EQ(table, (Numbers{3, -5, -5, -5, 0, 1, 2, -5, -5, -5, -5, -5}));
  Numbers indptr(4), indices(5, -5);
  ASSERT_TRUE(sequences_.page_lists(ids, indptr, indices).ok());
  EXPECT_EQ(indptr, (Numbers{0, 1, 4, 4}));
  EXPECT_EQ(indices, (Numbers{3, 0, 1, 2, -5}));
  EXPECT_TRUE(sequences_.block_table({}, 4, {}).ok());
  EXPECT_TRUE(sequences_.page_lists({}, std::span(indptr).first(1), {}).ok());
}

TEST_F(PagedSequencesTest, SharedPrefixes) {
  create({.pages = 20, .page_tokens = 4, .sequences = 6});
  const std::int32_t a = add();
  extend(a, 10);
  const std::int32_t b = fork(a, 10), c = fork(a, 5), d = add();
  const auto prefixes = [&](const Numbers& ids) {
    Numbers shared(ids.size(), -5);
    EXPECT_TRUE(sequences_.shared_prefixes(ids, shared).ok());
    return shared;
  };
  EXPECT_EQ(prefixes({a, b, c, d}), (Numbers{0, 10, 5, 0}));
  extend(b, 1, {2, 3, 2});  // writes to its last page, which then is its own
  extend(d, 1);
  EXPECT_EQ(prefixes({a, b, c, d, a, a}), (Numbers{0, 8, 5, 0, 0, 10}));
  EXPECT_EQ(prefixes({}), Numbers());
  Numbers shared(2, -5);
  expect_status(sequences_.shared_prefixes(Numbers{a, b, c}, shared), StatusCode::invalid_argument,
                "prefixes has 2 elements; it must have one for each of 3 ids");
  expect_status(sequences_.shared_prefixes(Numbers{a, 5}, shared), StatusCode::invalid_argument,
                "sequence 5 is not in use");
  EXPECT_EQ(shared, Numbers(2, -5));
}

TEST_F(PagedSequencesTest, PageTablesThatOverlapTheirIds) {
  Numbers numbers(8, 0);
  numbers[0] = add();
  extend(numbers[0], 2);
  const std::span<std::int32_t> all(numbers);
  const auto expect_refused = [](const Status& status, const std::string& message) {
    expect_status(status, StatusCode::invalid_argument, message);
  };
  expect_refused(sequences_.block_table(all.first(1), 1, all.first(1)),
                 "table must not overlap ids");
  expect_refused(sequences_.page_lists(all.first(1), all.first(2), all.subspan(3)),
                 "indptr must not overlap ids");
  expect_refused(sequences_.page_lists(all.first(1), all.subspan(1, 2), all.subspan(2)),
                 "indices must not overlap indptr");
  expect_refused(sequences_.shared_prefixes(all.first(1), all.first(1)),
                 "prefixes must not overlap ids");
  expect_status(sequences_.page_lists(all.first(1), all.subspan(1, 2), all.subspan(3)),
                StatusCode::ok, "");
}

TEST_F(PagedSequencesTest, PageTablesThatAreTooSmall) {
  const std::int32_t a = add(), b = add();
  extend(b, 2);
  extend(a, 9);
  const Numbers ids = {b, a};
  Numbers table(8, -5), indptr(3, -5);
  const auto expect_refused = [&](const Status& status, const std::string& message) {
    expect_status(status, StatusCode::invalid_argument, message);
    EXPECT_EQ(table, Numbers(8, -5));
    EXPECT_EQ(indptr, Numbers(3, -5));
  };
  expect_refused(sequences_.block_table(ids, 2, table),
                 "stride (2) must be at least the 3 pages of sequence " + std::to_string(a));
  expect_refused(sequences_.block_table(ids, 5, table),
                 "table has 8 elements; it must have 2 rows of 5");
  expect_refused(sequences_.page_lists(ids, std::span(indptr).first(2), table),
                 "indptr has 2 elements; it must have 3, one more than there are ids");
  expect_refused(sequences_.page_lists(ids, indptr, std::span(table).first(3)),
                 "indices has 3 elements for 4 pages");
}

TEST(KvCacheTest, HasAlignedMemoryForEachLayer) {
  constexpr std::int64_t layers = 3;
  const PagedLayout layout = PagedLayout::bhsd(5, 3, 2, 7, 9);
  KvCache cache;
  ASSERT_TRUE(KvCache::create({.layout = layout, .layers = layers, .sequences = 2}, cache).ok());
  EXPECT_EQ(cache.layers(), layers);
  EXPECT_EQ(cache.layout().v.page, layout.v.page);
  EXPECT_EQ(cache.free_pages(), 5);
  std::vector<std::pair<float*, std::size_t>> pools;
  for (std::int64_t i = 0; i < layers; ++i) {
    pools.emplace_back(cache.layer(i).k.as<float>(), 5 * 3 * 2 * 7);
    pools.emplace_back(cache.layer(i).v.as<float>(), 5 * 3 * 2 * 9);
  }
  for (std::size_t i = 0; i < pools.size(); ++i) {
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(pools[i].first) % 64, 0U);
    std::fill_n(pools[i].first, pools[i].second, static_cast<float>(i));
  }
  for (std::size_t i = 0; i < pools.size(); ++i) {
    for (std::size_t x = 0; x < pools[i].second; ++x) {
      ASSERT_EQ(pools[i].first[x], static_cast<float>(i)) << "pools overlap";
    }
  }
  EXPECT_GE(cache.bytes(), layers * 5 * 3 * 2 * (7 + 9) * sizeof(float));
  EXPECT_EQ(cache.layer(-1).k, nullptr);
  EXPECT_EQ(cache.layer(layers).v, nullptr);
  EXPECT_EQ(KvCache().layer(0).k, nullptr);
}

/// Keys and values of each token, or of each of its heads, side by side.
PagedLayout side_by_side(bool heads) {
  PagedLayout layout = PagedLayout::bshd(5, 3, 2, 7, 9);
  layout.k.token = layout.v.token = 2 * (7 + 9);
  layout.k.page = layout.v.page = 3 * layout.k.token;
  if (heads) layout.k.head = layout.v.head = 7 + 9;
  return layout;
}

// Strides that leave room for values between keys, and for keys between values, cost nothing more.
TEST(KvCacheTest, KeysAndValuesTogetherTakeNoMoreThanApart) {
  const PagedLayout apart[] = {PagedLayout::bhsd(5, 3, 2, 7, 9), PagedLayout::bshd(5, 3, 2, 7, 9)};
  for (const PagedLayout& layout :
       {PagedLayout::together(apart[0]), PagedLayout::together(apart[1]), side_by_side(false),
        side_by_side(true)}) {
    constexpr std::int64_t layers = 40'000, elements = 5 * 3 * 2 * (7 + 9);
    KvCache cache;
    ASSERT_TRUE(KvCache::create({.layout = layout, .layers = layers, .sequences = 1}, cache).ok());
    EXPECT_LT(cache.bytes(), layers * (elements + 16) * sizeof(float) + (std::size_t{1} << 21));
    const auto fill = [&](float* pool, const PageStrides& s, std::int64_t dims, float value) {
      for (std::int64_t i = 0; i < 5 * 3 * 2; ++i) {
        std::fill_n(pool + i / 6 * s.page + i / 2 % 3 * s.token + i % 2 * s.head, dims, value);
      }
    };
    for (std::int64_t i = 0; i < 2; ++i) {
      fill(cache.layer(i).k.as<float>(), layout.k, 7, static_cast<float>(2 * i + 1));
      fill(cache.layer(i).v.as<float>(), layout.v, 9, static_cast<float>(2 * i + 2));
    }
    for (std::int64_t i = 0; i < 2; ++i) {
      const std::span<const float> layer(cache.layer(i).k.as<float>(), elements);
      EXPECT_EQ(std::ranges::count(layer, static_cast<float>(2 * i + 1)), 5 * 3 * 2 * 7);
      EXPECT_EQ(std::ranges::count(layer, static_cast<float>(2 * i + 2)), 5 * 3 * 2 * 9);
    }
    if (layout.k.head == PagedLayout::together(apart[0]).k.head) {
      EXPECT_EQ(cache.layer(0).v, cache.layer(0).k + 3 * 2 * 7) << "as PagedLayout::together says";
    }
  }
}

// What cannot be had is refused before anything is taken, with what it would take.
TEST(KvCacheTest, SizesAreCheckedBeforeAnythingIsAllocated) {
  const auto peak = [] {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
  };
  const long before = peak();
  KvCacheConfig config{.layout = PagedLayout::bshd(1 << 30, 1, 1, 1), .sequences = 1 << 30};
  config.layers = 0x7FFFFFFF;
  config.layout.k.page = std::int64_t{1} << 29;
  KvCache cache;
  EXPECT_NE(KvCache::create(config, cache).message().find("layers (2147483647) of"),
            std::string::npos);
  PagedSequences sequences;
  const Status status = PagedSequences::create(
      {.pages = 0x7FFFFFFF, .page_tokens = 1, .sequences = 0x7FFFFFFF}, sequences);
  EXPECT_EQ(
      status.message(),
      "sequences (2147483647) with page tables of 2147483647 entries reach beyond the address "
      "space: sequence_tokens bounds them");
  EXPECT_LT(peak() - before, 100 << 10);
}

TEST(KvCacheTest, PageTablesThatMemoryHasNoRoomForSaySo) {
  if (kSanitized) GTEST_SKIP() << "sanitizers end where an allocation is too large";
  PagedSequences sequences;
  const Status status =
      PagedSequences::create({.pages = 1 << 25, .page_tokens = 1, .sequences = 1 << 25}, sequences);
  EXPECT_EQ(status.code(), StatusCode::out_of_memory);
  EXPECT_EQ(status.message(),
            "out of memory: 33554432 sequences with page tables of 33554432 entries, and 33554432 "
            "pages; sequence_tokens bounds the tables");
}

TEST(KvCacheTest, Refuses) {
  KvCache cache;
  const auto expect_refused = [&](const KvCacheConfig& config, const std::string& message) {
    const Status status = KvCache::create(config, cache);
    EXPECT_EQ(status.code(), StatusCode::invalid_argument);
    EXPECT_EQ(status.message(), message);
    EXPECT_EQ(cache.bytes(), 0U);
  };
  const std::string counts = " must be from 1 to 2147483647";
  const PagedLayout layout = PagedLayout::bshd(5, 3, 2, 7);
  expect_refused({}, "layout.pages (0)" + counts);
  expect_refused({.layout = layout, .layers = 0, .sequences = 2}, "layers (0)" + counts);
  expect_refused({.layout = layout, .layers = 1}, "sequences (0)" + counts);
  PagedLayout huge = layout;
  huge.k.page = std::int64_t{1} << 58;
  expect_refused({.layout = huge, .sequences = 1},
                 "layout: a layer of 4611686018427388072 bytes of keys and 840 of values reaches "
                 "beyond the address space");
  huge.k.page = std::int64_t{1} << 57;
  expect_refused({.layout = huge, .layers = 8, .sequences = 1},
                 "layers (8) of 2305843009213694144 bytes reach beyond the address space");
}

}  // namespace
}  // namespace heed::tests
