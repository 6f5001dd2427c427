// A warm run allocates nothing of heed's own. This program replaces the C library's allocation
// functions, and with them what operator new calls, by ones that count.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>
#include <vector>

#include "heed/heed.h"

#if defined(__has_feature)
#define HEED_HAS_FEATURE(feature) __has_feature(feature)
#else
#define HEED_HAS_FEATURE(feature) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || \
    HEED_HAS_FEATURE(address_sanitizer) || HEED_HAS_FEATURE(thread_sanitizer)
#define HEED_COUNTS_ALLOCATIONS 0
#else
#define HEED_COUNTS_ALLOCATIONS 1
#endif

namespace {

std::atomic<int> allocations{0};  ///< by anybody
std::atomic<int> news{0};         ///< by C++ code: heed's own, for oneTBB uses its own allocator

}  // namespace

#if HEED_COUNTS_ALLOCATIONS
extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);

void* malloc(std::size_t bytes) {
  ++allocations;
  return __libc_malloc(bytes);
}
void* calloc(std::size_t count, std::size_t bytes) {
  ++allocations;
  return __libc_calloc(count, bytes);
}
void* realloc(void* memory, std::size_t bytes) {
  ++allocations;
  return __libc_realloc(memory, bytes);
}
void* aligned_alloc(std::size_t alignment, std::size_t bytes) {
  ++allocations;
  return __libc_memalign(alignment, bytes);
}
int posix_memalign(void** memory, std::size_t alignment, std::size_t bytes) {
  ++allocations;
  *memory = __libc_memalign(alignment, bytes);
  return *memory == nullptr;
}
}

void* operator new(std::size_t bytes) {
  ++news;
  void* memory = std::malloc(bytes);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  ++news;
  const auto step = static_cast<std::size_t>(alignment);
  void* memory = std::aligned_alloc(step, (bytes + step - 1) / step * step);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
#endif

namespace heed::tests {
namespace {

/// A batch on plain vectors: nothing here allocates once it is made.
class Work {
 public:
  Work(std::int64_t queries, std::int64_t keys, int workers)
      : q_(size(queries, 4), 0.5F),
        k_(size(keys, 2), 0.25F),
        v_(size(keys, 2), 1.0F),
        out_(size(queries, 4)),
        lse_(static_cast<std::size_t>(queries) * 4) {
    config_.query_heads = 4;
    config_.kv_heads = 2;
    config_.head_dim = kDims;
    config_.causal = true;
    batch_.query.length = queries;
    batch_.key.length = keys;
    options_.workers = workers;
  }

  Status plan(Plan& into) const { return plan_attention(config_, batch_, options_, into); }
  AttentionTensors tensors() {
    return {.q = q_.data(), .k = k_.data(), .v = v_.data(), .out = out_.data(), .lse = lse_.data()};
  }

 private:
  static constexpr std::int64_t kDims = 64;
  static std::size_t size(std::int64_t tokens, std::int64_t heads) {
    return static_cast<std::size_t>(tokens * heads * kDims);
  }

  AttentionConfig config_;
  Batch batch_;
  PlanOptions options_;
  std::vector<float> q_, k_, v_, out_, lse_;
};

class AttentionAllocation : public testing::Test {
 protected:
  void SetUp() override {
    if (!HEED_COUNTS_ALLOCATIONS) GTEST_SKIP() << "sanitizers replace the allocator themselves";
  }
};

/// How many calls of malloc and its kin, and of operator new, `action` makes, in any thread.
struct Count {
  int allocations, news;
};
template <class Action>
Count count(const Action& action) {
  const int allocated = allocations, newed = news;
  action();
  return {allocations - allocated, news - newed};
}

TEST_F(AttentionAllocation, TheCountersCount) {
  const Count counted = count([] {
    std::vector<float> vector(1000);
    void* volatile memory = std::malloc(10);
    std::free(memory);
    EXPECT_EQ(vector.size(), 1000U);
  });
  EXPECT_EQ(counted.news, 1);
  EXPECT_EQ(counted.allocations, 2);
}

TEST_F(AttentionAllocation, NoneInRunsOfOneWorker) {
  for (const std::int64_t queries : {1, 300}) {
    Work work(queries, 3000, 1);
    Plan plan;
    Workspace workspace;
    ASSERT_TRUE(work.plan(plan).ok());
    ASSERT_TRUE(workspace.reserve(plan).ok());
    bool fine = run(plan, work.tensors(), workspace).ok();
    const Count counted = count([&] {
      for (int i = 0; i < 3; ++i) fine &= run(plan, work.tensors(), workspace).ok();
    });
    EXPECT_TRUE(fine);
    EXPECT_EQ(counted.allocations, 0);
  }
}

TEST_F(AttentionAllocation, NoneInShares) {
  for (const std::int64_t queries : {1, 100}) {
    Work work(queries, 9000, 4);
    Plan plan;
    Workspace workspace;
    ASSERT_TRUE(work.plan(plan).ok());
    ASSERT_TRUE(workspace.reserve(plan).ok());
    bool fine = true;
    const Count counted = count([&] {
      for (const int nth : {1, 4}) {
        for (int ith = 0; ith < nth; ++ith) {
          fine &= run_share(plan, work.tensors(), workspace, ith, nth).ok();
        }
      }
    });
    EXPECT_TRUE(fine);
    EXPECT_EQ(counted.allocations, 0);
  }
}

// oneTBB may refill its pools of tasks when it likes; heed's own code uses operator new.
TEST_F(AttentionAllocation, NoneOfHeedsOwnInRunsOfManyWorkers) {
  Work work(300, 3000, 4);
  Plan plan;
  Workspace workspace;
  Executor executor;
  ASSERT_TRUE(Executor::create(2, executor).ok());
  ASSERT_TRUE(work.plan(plan).ok());
  ASSERT_TRUE(workspace.reserve(plan).ok());
  for (Executor* where : std::array<Executor*, 2>{nullptr, &executor}) {
    bool fine = run(plan, work.tensors(), workspace, where).ok();
    const Count counted = count([&] {
      for (int i = 0; i < 5; ++i) fine &= run(plan, work.tensors(), workspace, where).ok();
    });
    EXPECT_TRUE(fine);
    EXPECT_EQ(counted.news, 0);
  }
}

TEST_F(AttentionAllocation, NoneWhenPlanningOrReservingAgain) {
  for (const std::int64_t queries : {1, 300}) {
    const Work work(queries, 9000, 7);
    Plan plan;
    Workspace workspace;
    for (int i = 0; i < 2; ++i) {
      ASSERT_TRUE(work.plan(plan).ok());
      ASSERT_TRUE(workspace.reserve(plan).ok());
    }
    bool fine = true;
    const Count counted = count([&] {
      for (int i = 0; i < 3; ++i) fine &= work.plan(plan).ok() && workspace.reserve(plan).ok();
    });
    EXPECT_TRUE(fine);
    EXPECT_EQ(counted.allocations, 0);
  }
}

}  // namespace
}  // namespace heed::tests
