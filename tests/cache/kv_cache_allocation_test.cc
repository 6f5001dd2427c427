// Once a cache is created it allocates nothing, whatever sequences do and however long they get.
#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <numeric>
#include <vector>

#include "heed/kv_cache.h"
#include "tests/support/allocation_count.h"

namespace heed::tests {
namespace {

constexpr std::int64_t kHeads = 2, kDims = 64, kTokens = 100;

/// A cache, and the tokens of a step.
class KvCacheAllocation : public testing::Test {
 protected:
  void SetUp() override {
    if (!counts_allocations()) GTEST_SKIP() << "sanitizers replace the allocator themselves";
    ASSERT_TRUE(KvCache::create({.layout = PagedLayout::bhsd(100, 7, kHeads, kDims),
                                 .layers = 2,
                                 .sequences = 4,
                                 .prefixes = true},
                                cache_)
                    .ok());
    ASSERT_TRUE(Rotary::create({.rotary_dim = kDims, .positions = 1000}, rotary_).ok());
    std::iota(positions_.begin(), positions_.end(), 0);
  }

  /// One more step of a sequence.
  bool step(std::int32_t id, std::size_t tokens) {
    const std::span<std::int64_t> slots = std::span(slots_).first(tokens);
    bool fine = cache_.extend(id, slots).ok();
    for (const std::int64_t layer : {0, 1}) {
      const NewTokens fresh{.k = k_.data(),
                            .v = v_.data(),
                            .slots = slots,
                            .rotary = &rotary_,
                            .positions = std::span(positions_).first(tokens)};
      fine &= append(cache_.layout(), cache_.layer(layer), fresh, {.workers = 1}).ok();
    }
    return fine;
  }

  /// A sequence's life, and that of a child which shares its beginning.
  bool live() {
    std::int32_t parent = -1, child = -1;
    std::int64_t found = 0;
    bool fine = cache_.begin(text_, parent, found).ok() && step(parent, kTokens - found);
    fine &= cache_.publish(parent, text_).ok() && cache_.forget(parent, 20).ok();
    fine &= cache_.fork(parent, 51, child).ok();
    for (int i = 0; i < 200; ++i) fine &= step(parent, 1) && step(child, 1);
    fine &= cache_.truncate(child, 60).ok();
    const std::array<std::int32_t, 2> ids = {parent, child};
    fine &= cache_.block_table(ids, 100, table_).ok();
    fine &= cache_.page_lists(ids, indptr_, table_).ok();
    fine &= cache_.shared_prefixes(ids, std::span(indptr_).first(2)).ok();
    return fine && cache_.remove(parent).ok() && cache_.remove(child).ok();
  }

  KvCache cache_;
  Rotary rotary_;
  std::vector<float> k_ = std::vector<float>(kTokens * kHeads * kDims, 1.0F), v_ = k_;
  std::vector<std::int64_t> slots_ = std::vector<std::int64_t>(kTokens), positions_ = slots_;
  std::array<std::int32_t, kTokens> text_{};
  std::array<std::int32_t, 3> indptr_{};
  std::vector<std::int32_t> table_ = std::vector<std::int32_t>(200);
};

TEST_F(KvCacheAllocation, NoneOnceCreated) {
  bool fine = true;
  const Count counted = count([&] {
    for (int i = 0; i < 3; ++i) fine &= live();
  });
  EXPECT_TRUE(fine);
  EXPECT_EQ(counted.allocations, 0);
  EXPECT_EQ(cache_.free_pages(), 100);
}

TEST_F(KvCacheAllocation, NoneInRotation) {
  bool fine = true;
  const Count counted = count([&] {
    const RotaryTensors tensors{.x = k_.data(),
                                .y = v_.data(),
                                .heads = kHeads,
                                .head_dim = kDims,
                                .positions = positions_};
    fine &= rotate(rotary_, tensors, {.workers = 1}).ok();
  });
  EXPECT_TRUE(fine);
  EXPECT_EQ(counted.allocations, 0);
}

// The budget of a page shows that the counters count.
TEST_F(KvCacheAllocation, CreatingAllocates) {
  PagedSequences sequences;
  const Count counted = count([&] {
    EXPECT_TRUE(
        PagedSequences::create({.pages = 1, .page_tokens = 1, .sequences = 1}, sequences).ok());
  });
  EXPECT_GT(counted.news, 0);
}

// oneTBB may refill its pools of tasks when it likes; heed's own code uses operator new.
TEST_F(KvCacheAllocation, NoneOfHeedsOwnWithManyWorkers) {
  constexpr std::size_t tokens = 700;
  std::int32_t id = -1;
  std::vector<std::int64_t> slots(tokens);
  std::vector<float> k(tokens * kHeads * kDims, 1.0F), v = k;
  ASSERT_TRUE(cache_.add(id).ok());
  ASSERT_TRUE(cache_.extend(id, slots).ok());
  const NewTokens fresh{.k = k.data(), .v = v.data(), .slots = slots};
  bool fine = append(cache_.layout(), cache_.layer(0), fresh, {.workers = 4}).ok();
  const Count counted = count([&] {
    for (int i = 0; i < 5; ++i) {
      fine &= append(cache_.layout(), cache_.layer(1), fresh, {.workers = 4}).ok();
    }
  });
  EXPECT_TRUE(fine);
  EXPECT_EQ(counted.news, 0);
}

}  // namespace
}  // namespace heed::tests
