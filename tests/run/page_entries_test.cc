// Which entries of page tables are read: those of keys that queries see, also where the sequence
// that comes next is prefetched. Memory that cannot be read lies after the last entry of a table,
// or in the place of the entries between the first keys and a window.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <span>
#include <string_view>
#include <vector>

#include "heed/heed.h"
#include "tests/support/attention_run.h"

namespace heed::tests {
namespace {

constexpr std::int64_t kSequences = 3, kPages = 8, kDims = 16;

/// Entries of page tables, in memory of which single pages can be made unreadable.
class Entries {
 public:
  explicit Entries(std::size_t memory_pages) : bytes_(memory_pages * page_bytes()) {
    memory_ = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory_ == MAP_FAILED) std::abort();
    std::int32_t page = 0;
    for (std::int32_t& entry : all()) entry = page++ % kPages;
  }
  ~Entries() { munmap(memory_, bytes_); }
  Entries(const Entries&) = delete;
  Entries& operator=(const Entries&) = delete;

  static std::size_t page_bytes() { return static_cast<std::size_t>(sysconf(_SC_PAGESIZE)); }
  /// In each page of memory.
  static std::int64_t per_page() {
    return static_cast<std::int64_t>(page_bytes() / sizeof(std::int32_t));
  }

  void forbid(std::size_t memory_page) {
    void* const first = static_cast<char*>(memory_) + memory_page * page_bytes();
    if (mprotect(first, page_bytes(), PROT_NONE) != 0) std::abort();
  }
  std::span<std::int32_t> all() const {
    return {static_cast<std::int32_t*>(memory_), bytes_ / sizeof(std::int32_t)};
  }

 private:
  std::size_t bytes_;
  void* memory_;
};

/// `queries` of each sequence attend to `keys` keys in pages of one token, with every ISA, one
/// sequence after the other and on several workers.
void attend(AttentionConfig config, std::int64_t queries, std::int64_t keys,
            const PageTables& tables) {
  config.head_dim = kDims;
  config.causal = true;
  Batch batch{.sequences = kSequences,
              .query = {.length = queries},
              .key = {.length = keys},
              .pages = PagedLayout::bshd(kPages, 1, 1, kDims)};
  const std::vector<float> q(static_cast<std::size_t>(kSequences * queries * kDims), 0.5F);
  const std::vector<float> pool(static_cast<std::size_t>(kPages * kDims), 0.25F);
  for (const std::string_view isa : supported_isas()) {
    for (const int workers : {1, 4, 16}) {
      std::vector<float> out(q.size());
      Plan plan;
      ASSERT_TRUE(plan_attention(config, batch, on(isa, workers), plan).ok());
      Workspace workspace;
      ASSERT_TRUE(workspace.reserve(plan).ok());
      AttentionTensors tensors{
          .q = q.data(), .k = pool.data(), .v = pool.data(), .out = out.data()};
      tensors.tables = tables;
      const Status status = run(plan, tensors, workspace);
      EXPECT_TRUE(status.ok()) << status.message();
      for (const float x : out) ASSERT_EQ(x, 0.25F) << isa << " on " << workers;
    }
  }
}

/// Single tokens, which decode computes, and prompts.
constexpr std::int64_t kQueries[] = {1, 40};

TEST(PageEntries, NoneAreReadBehindTheLastKey) {
  for (const std::int64_t keys : {100, 128, 300}) {
    Entries entries(2);
    entries.forbid(1);
    const auto used = static_cast<std::size_t>(kSequences * keys);
    const auto own = static_cast<std::size_t>(Entries::per_page()) - used;
    for (const std::int64_t queries : kQueries) {
      attend({}, queries, keys, {.pages = entries.all().subspan(own, used), .stride = keys});
    }
  }
}

/// Of so many first keys, and of a window so long.
void attend_around_a_gap(std::int64_t kept, std::int64_t window) {
  AttentionConfig config;
  config.keep_first = kept;
  config.window_left = window - 1;
  const std::int64_t hidden = Entries::per_page();
  // The first entries of each sequence end a page of memory, and the next page is that of the gap.
  Entries entries(3 * kSequences);
  for (std::size_t b = 0; b < kSequences; ++b) entries.forbid(3 * b + 1);
  const auto first = static_cast<std::size_t>(hidden - kept);
  for (const std::int64_t queries : kQueries) {
    attend(config, queries, kept + hidden + window + queries,
           {.pages = entries.all().subspan(first), .stride = 3 * hidden});
  }
}

TEST(PageEntries, NoneAreReadBetweenFirstKeysAndAWindow) { attend_around_a_gap(4, 16); }

TEST(PageEntries, NoneAreReadWhereAnItemBeginsInAGap) {
  attend_around_a_gap(Entries::per_page(), Entries::per_page() - 64);
}

}  // namespace
}  // namespace heed::tests
