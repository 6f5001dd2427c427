// Long random lives of a cache, each step of which is checked against the model of cache_life.h.
#include <gtest/gtest.h>

#include <cstdint>
#include <random>

#include "heed/kv_cache.h"
#include "tests/cache/cache_life.h"
#include "tests/proof/inputs.h"

namespace heed::tests {
namespace {

class KvCacheLives : public testing::TestWithParam<std::int64_t> {};

TEST_P(KvCacheLives, LoseNothingAndLeakNoPage) {
  const std::uint64_t seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  const std::int64_t page_tokens = GetParam();
  for (const PagedLayout& layout :
       {PagedLayout::bshd(kPages, page_tokens, kHeads, kDims, kValueDims),
        PagedLayout::bhsd(kPages, page_tokens, kHeads, kDims, kValueDims)}) {
    proof::Random random(seed);
    CacheLife life([&](std::int64_t n) { return random.below(n); }, layout);
    constexpr int steps = 30000;
    for (int i = 0; i < steps && !HasFailure(); ++i) {
      SCOPED_TRACE(testing::Message() << "step " << i);
      life.step();
      life.check();
    }
    if (HasFailure()) return;
    life.end();
    const CacheLife::Lived& lived = life.lived();
    for (const int times : {lived.extended, lived.exhausted, lived.too_long, lived.forked,
                            lived.truncated, lived.removed, lived.no_sequence, lived.misused,
                            lived.found, lived.not_found, lived.forgotten}) {
      EXPECT_GT(times, 20);
    }
    if (page_tokens > 1) {
      EXPECT_GT(lived.copied, 20);
      EXPECT_GT(lived.ends_forgotten, 20);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(PageTokens, KvCacheLives, testing::Values(1, 2, 7, 16));

}  // namespace
}  // namespace heed::tests
