// Any sequence of operations on a cache, each checked against the model of
// tests/cache/cache_life.h.
#include "tests/cache/cache_life.h"
#include "tests/fuzz/fuzz.h"

// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer's name
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace heed::tests;
  constexpr std::int64_t page_tokens[] = {1, 2, 7, 16};
  Choices choices({data, size});
  const std::int64_t tokens = choices.pick(page_tokens);
  const auto make = choices.flip() ? heed::PagedLayout::bhsd : heed::PagedLayout::bshd;
  CacheLife life([&](std::int64_t n) { return choices.below(n); },
                 make(kPages, tokens, kHeads, kDims, kValueDims));
  while (!choices.ended()) {
    life.step();
    life.check();
  }
  life.end();
  return 0;
}
