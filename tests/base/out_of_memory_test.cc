// Every public call while memory runs out: it says so, changes nothing, and works when it is called
// again.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "heed/heed.h"
#include "tests/support/failing_call.h"

namespace heed::tests {
namespace {

constexpr std::int64_t kHeads = 4, kDims = 64, kTokens = 300, kPageTokens = 16;
constexpr std::int64_t kRows = 64, kLength = 4096;

std::vector<float> numbers(std::int64_t count) {
  std::vector<float> x(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < x.size(); ++i) {
    x[i] = static_cast<float>(i * 7919 % 1021) / 512.0F - 1.0F;
  }
  return x;
}

AttentionConfig config() {
  return {.query_heads = kHeads, .kv_heads = kHeads / 2, .head_dim = kDims, .causal = true};
}

/// Does what oneTBB does once in a process, which does not survive an allocation that fails: heed
/// looks for memory beforehand, but a single allocation that fails is not seen that way.
void start_threads() {
  Executor executor;
  EXPECT_TRUE(Executor::create(2, executor).ok());
}

/// Three ragged sequences in pages that the last two share at first.
struct Pages {
  std::vector<std::int32_t> query_offsets = {0, 7, 8, 108};
  std::vector<std::int32_t> lengths = {300, 280, 290};
  std::vector<std::int32_t> shared = {0, 0, 272};
  std::vector<std::int32_t> indptr = {0, 19, 37, 56};
  std::vector<std::int32_t> pages = list();
  PagedLayout layout = PagedLayout::bshd(64, kPageTokens, kHeads / 2, kDims);

  static std::vector<std::int32_t> list() {
    std::vector<std::int32_t> pages(56);
    std::iota(pages.begin(), pages.end(), 0);
    std::copy_n(pages.begin() + 19, 17, pages.begin() + 37);
    return pages;
  }
  Batch batch() const {
    Batch batch{.sequences = 3};
    batch.query.offsets = query_offsets;
    batch.key.length = 300;
    batch.key.lengths = lengths;
    batch.pages = layout;
    batch.shared_prefixes = shared;
    return batch;
  }
};

/// Everything that a run of attention needs.
struct Attention {
  explicit Attention(int planned_workers) : workers(planned_workers) {}

  Status make_plan() { return plan_attention(config(), pages.batch(), {.workers = workers}, plan); }
  Status ready() {
    Status status = make_plan();
    return status.ok() ? workspace.reserve(plan) : status;
  }
  AttentionTensors tensors() {
    return {.q = x.data(),
            .k = x.data(),
            .v = x.data() + 1024,
            .out = out.data(),
            .lse = lse.data(),
            .tables = {.pages = pages.pages, .indptr = pages.indptr}};
  }
  std::vector<float> results() const {
    std::vector<float> all = out;
    all.insert(all.end(), lse.begin(), lse.end());
    all.insert(all.end(), states.begin(), states.end());
    return all;
  }
  PartialStates partial() {
    const StateShape shape = state_shape(plan);
    states.resize(shape.floats());
    return PartialStates::in(states.data(), shape);
  }

  static const std::vector<float>& input() {
    static const std::vector<float> x = numbers(64 * kPageTokens * kHeads * kDims);
    return x;
  }

  int workers;
  Pages pages;
  const std::vector<float>& x = input();
  std::vector<float> out = std::vector<float>(108 * kHeads * kDims);
  std::vector<float> lse = std::vector<float>(108 * kHeads);
  std::vector<float> states;
  Plan plan;
  Workspace workspace;
  Executor executor;
};

using Prepare = std::function<void(Attention&)>;
using Act = std::function<Status(Attention&)>;

/// A call on an Attention of `workers` that is prepared so.
std::function<Call()> with_attention(int workers, const Prepare& prepare, const Act& act) {
  return [=] {
    const auto attention = std::make_shared<Attention>(workers);
    prepare(*attention);
    return Call{[=] { return act(*attention); }, [=] { return attention->results(); }};
  };
}

void nothing(Attention&) {}
void planned(Attention& a) { EXPECT_TRUE(a.make_plan().ok()); }

void ready(Attention& a) {
  EXPECT_TRUE(a.ready().ok());
  start_threads();
}

class OutOfMemory : public testing::Test {
 protected:
  void SetUp() override {
    if (!counts_allocations()) GTEST_SKIP() << "sanitizers replace the allocator themselves";
  }

  static void expect_survival(const std::function<Call()>& make) {
    EXPECT_EQ(fault_of_failing(Failing::one, make), "");
    EXPECT_EQ(fault_of_failing(Failing::all_from, make), "");
  }
};

TEST_F(OutOfMemory, TheCallsAllocate) {
  int failures = 0;
  Plan plan;
  const Pages pages;
  for (int n = 1; n < 1000; ++n) {
    const FailingAllocations failing(Failing::one, n);
    const Status status = plan_attention(config(), pages.batch(), {.workers = 1}, plan);
    if (status.ok()) break;
    EXPECT_EQ(status.code(), StatusCode::out_of_memory);
    ++failures;
  }
  EXPECT_GT(failures, 3);
}

TEST_F(OutOfMemory, Planning) {
  for (const int workers : {0, 4}) {
    expect_survival(with_attention(workers, nothing, [](Attention& a) { return a.make_plan(); }));
  }
}

TEST_F(OutOfMemory, PlanningWhatIsWrong) {
  expect_survival(with_attention(1, nothing, [](Attention& a) -> Status {
    AttentionConfig wrong = config();
    wrong.kv_heads = 3;
    Status status = plan_attention(wrong, a.pages.batch(), {}, a.plan);
    const bool right = status.code() == StatusCode::invalid_argument &&
                       status.message() == "kv_heads (3) must divide query_heads (4)";
    return right ? Status() : status;
  }));
}

TEST_F(OutOfMemory, NamesOfIsas) {
  expect_survival(with_attention(1, nothing, [](Attention& a) -> Status {
    Status status = plan_attention(config(), a.pages.batch(),
                                   {.isa = "none of the names", .workers = 1}, a.plan);
    return status.code() == StatusCode::invalid_argument &&
                   status.message().starts_with("isa (\"none of the names\") must be one of ")
               ? Status()
               : status;
  }));
}

TEST_F(OutOfMemory, Descriptions) {
  expect_survival(with_attention(2, planned, [](Attention& a) -> Status {
    const std::string text = a.plan.describe();
    if (text.empty()) return {StatusCode::out_of_memory, "out of memory"};
    return text.ends_with(" bytes\n") ? Status() : Status(StatusCode::internal, text);
  }));
}

TEST_F(OutOfMemory, Workspaces) {
  expect_survival(
      with_attention(2, planned, [](Attention& a) { return a.workspace.reserve(a.plan); }));
}

TEST_F(OutOfMemory, Runs) {
  for (const int workers : {1, 2}) {
    expect_survival(with_attention(
        workers, ready, [](Attention& a) { return run(a.plan, a.tensors(), a.workspace); }));
  }
}

TEST_F(OutOfMemory, RunsInAnExecutor) {
  const Prepare prepare = [](Attention& a) {
    ready(a);
    EXPECT_TRUE(Executor::create(2, a.executor).ok());
  };
  expect_survival(with_attention(
      2, prepare, [](Attention& a) { return run(a.plan, a.tensors(), a.workspace, &a.executor); }));
}

Status adopt(Executor& executor) {
  const auto one_by_one = [](void*, int tasks, TaskFunction task, void* argument) {
    for (int i = 0; i < tasks; ++i) task(argument, i);
  };
  return Executor::adopt(2, one_by_one, nullptr, executor);
}

TEST_F(OutOfMemory, RunsOnAHostsThreads) {
  const Prepare prepare = [](Attention& a) {
    ready(a);
    EXPECT_TRUE(adopt(a.executor).ok());
  };
  expect_survival(with_attention(
      2, prepare, [](Attention& a) { return run(a.plan, a.tensors(), a.workspace, &a.executor); }));
}

TEST_F(OutOfMemory, Shares) {
  expect_survival(with_attention(2, ready, [](Attention& a) {
    EXPECT_TRUE(a.workspace.reserve(a.plan).ok());
    Status first = run_share(a.plan, a.tensors(), a.workspace, 0, 2);
    Status second = run_share(a.plan, a.tensors(), a.workspace, 1, 2);
    return first.ok() ? second : first;
  }));
}

TEST_F(OutOfMemory, PartialStates) {
  const Prepare prepare = [](Attention& a) {
    ready(a);
    a.partial();
  };
  expect_survival(with_attention(2, prepare, [](Attention& a) {
    return run_partial(a.plan, a.tensors(), a.partial(), a.workspace);
  }));
  expect_survival(
      with_attention(2, prepare, [](Attention& a) { return clear(a.plan, a.partial()); }));
  const Prepare states = [](Attention& a) {
    ready(a);
    EXPECT_TRUE(run_partial(a.plan, a.tensors(), a.partial(), a.workspace).ok());
  };
  expect_survival(with_attention(2, states, [](Attention& a) {
    const ConstPartialStates shards[] = {a.partial(), a.partial()};
    return merge(a.plan, shards, a.out.data(), a.lse.data());
  }));
  expect_survival(with_attention(2, states, [](Attention& a) {
    const PartialStates all = a.partial();
    const PartialStates total{all.m, all.l, all.o, 1};
    const std::int64_t rows = state_shape(a.plan).rows;
    const ConstPartialStates last(all.m + rows, all.l + rows, all.o + rows * kDims, 1);
    return merge_into(a.plan, total, last);
  }));
}

TEST_F(OutOfMemory, Executors) {
  expect_survival([] {
    start_threads();
    const auto executor = std::make_shared<Executor>();
    return Call{[=] { return Executor::create(2, *executor); },
                [=] { return std::vector{static_cast<float>(executor->threads())}; }};
  });
  expect_survival([] {
    const auto executor = std::make_shared<Executor>();
    return Call{[=] { return adopt(*executor); },
                [=] { return std::vector{static_cast<float>(executor->threads())}; }};
  });
}

using Softmax = std::function<Status(const float* x, float* y, const SoftmaxOptions& options)>;

void expect_softmax_survival(const Softmax& softmax) {
  const auto make = [&softmax] {
    start_threads();
    const auto x = std::make_shared<std::vector<float>>(numbers(kRows * kLength));
    const auto y = std::make_shared<std::vector<float>>(x->size());
    return Call{[=] { return softmax(x->data(), y->data(), {.workers = 2}); }, [=] { return *y; }};
  };
  EXPECT_EQ(fault_of_failing(Failing::one, make), "");
  EXPECT_EQ(fault_of_failing(Failing::all_from, make), "");
}

ConstRows rows_of(const float* x) { return {x, kRows, kLength, kLength}; }
Rows rows_of(float* y) { return {y, kRows, kLength, kLength}; }

TEST_F(OutOfMemory, TheSoftmaxFamily) {
  using Options = SoftmaxOptions;
  expect_softmax_survival([](const float* x, float* y, const Options& options) {
    return softmax(rows_of(x), rows_of(y), options);
  });
  expect_softmax_survival([](const float* x, float* y, const Options& options) {
    return log_softmax(rows_of(x), rows_of(y), options);
  });
  expect_softmax_survival([](const float* x, float* y, const Options& options) {
    return log_sum_exp(rows_of(x), y, options);
  });
  expect_softmax_survival([](const float* x, float* y, const Options& options) {
    return softmax_gradient(rows_of(x), rows_of(x), rows_of(y), options);
  });
  expect_softmax_survival([](const float* x, float* y, const Options& options) {
    return log_softmax_gradient(rows_of(x), rows_of(x), rows_of(y), options);
  });
}

/// Rows to draw from, and the memory for it.
struct Sampling {
  Status draw(SamplingWorkspace* kept) {
    const SamplingRule rule{.top_k = 900, .top_p = 0.9F};
    return sample({z.data(), kRows, kLength, kLength}, {&rule, 1}, draws,
                  {tokens.data(), probabilities.data()}, {.workers = 2}, kept);
  }
  std::vector<float> results() const {
    std::vector<float> all(tokens.begin(), tokens.end());
    all.insert(all.end(), probabilities.begin(), probabilities.end());
    all.push_back(static_cast<float>(workspace.bytes()));
    return all;
  }

  std::vector<float> z = numbers(kRows * kLength), probabilities = std::vector<float>(kRows);
  std::vector<std::int32_t> tokens = std::vector<std::int32_t>(kRows);
  std::vector<Draw> draws = std::vector<Draw>(kRows);
  SamplingWorkspace workspace;
};

TEST_F(OutOfMemory, DrawnTokens) {
  const auto with_sampling = [](std::int64_t reserved, const auto& act) {
    return [=] {
      start_threads();
      const auto sampling = std::make_shared<Sampling>();
      EXPECT_TRUE(reserved == 0 || sampling->workspace.reserve(reserved, 2).ok());
      return Call{[=] { return act(*sampling); }, [=] { return sampling->results(); }};
    };
  };
  const auto draw = [](Sampling& s) { return s.draw(&s.workspace); };
  for (const std::int64_t reserved : {std::int64_t{0}, kLength / 2, kLength}) {
    expect_survival(with_sampling(reserved, draw));
  }
  expect_survival(with_sampling(0, [](Sampling& s) { return s.draw(nullptr); }));
  expect_survival(with_sampling(10, [](Sampling& s) { return s.workspace.reserve(kLength); }));
}

// What was there before is still there.
TEST_F(OutOfMemory, ASamplingWorkspaceThatCannotGrow) {
  Sampling s;
  ASSERT_TRUE(s.workspace.reserve(kLength / 2, 2).ok());
  const std::size_t bytes = s.workspace.bytes();
  s.tokens.assign(kRows, -7);
  {
    const FailingAllocations failing(Failing::all_from, 1);
    const Status status = s.draw(&s.workspace);
    EXPECT_EQ(status.code(), StatusCode::out_of_memory);
  }
  EXPECT_EQ(s.workspace.bytes(), bytes);
  EXPECT_EQ(s.tokens, std::vector<std::int32_t>(kRows, -7)) << "a call that failed wrote";
  EXPECT_TRUE(s.draw(&s.workspace).ok());
}

constexpr RotaryConfig kRotary{.rotary_dim = kDims, .positions = kTokens};

TEST_F(OutOfMemory, RotaryEmbedding) {
  expect_survival([] {
    const auto rotary = std::make_shared<Rotary>();
    return Call{[=] { return Rotary::create(kRotary, *rotary); },
                [=] {
                  const float* const data = rotary->data();
                  return std::vector(data, data + kTokens * kDims);
                }};
  });
}

std::vector<std::int64_t> counted(std::int64_t count) {
  std::vector<std::int64_t> list(static_cast<std::size_t>(count));
  std::iota(list.begin(), list.end(), 0);
  return list;
}

TEST_F(OutOfMemory, RotatedVectors) {
  expect_survival([] {
    struct State {
      std::vector<float> x = numbers(kTokens * kHeads * kDims), y = x;
      std::vector<std::int64_t> positions = counted(kTokens);
      Rotary rotary;
    };
    start_threads();
    const auto s = std::make_shared<State>();
    EXPECT_TRUE(Rotary::create(kRotary, s->rotary).ok());
    return Call{[=] {
                  return rotate(s->rotary,
                                {.x = s->x.data(),
                                 .y = s->y.data(),
                                 .heads = kHeads,
                                 .head_dim = kDims,
                                 .positions = s->positions},
                                {.workers = 2});
                },
                [=] { return s->y; }};
  });
}

TEST_F(OutOfMemory, NormalisedHeads) {
  expect_survival([] {
    start_threads();
    const auto x = std::make_shared<std::vector<float>>(numbers(kTokens * kHeads * kDims));
    const auto y = std::make_shared<std::vector<float>>(x->size());
    return Call{[=] {
                  return normalise_heads({},
                                         {.x = x->data(),
                                          .y = y->data(),
                                          .tokens = kTokens,
                                          .heads = kHeads,
                                          .head_dim = kDims},
                                         {.workers = 2});
                },
                [=] { return *y; }};
  });
}

TEST_F(OutOfMemory, AppendedTokens) {
  expect_survival([] {
    struct State {
      std::vector<float> x = numbers(kTokens * kHeads * kDims);
      std::vector<float> pages = std::vector<float>(2 * 20 * kPageTokens * kHeads * kDims);
      std::vector<std::int64_t> slots = counted(kTokens);
      Rotary rotary;
    };
    start_threads();
    const auto s = std::make_shared<State>();
    EXPECT_TRUE(Rotary::create(kRotary, s->rotary).ok());
    return Call{[=] {
                  const PagedLayout layout = PagedLayout::bshd(20, kPageTokens, kHeads, kDims);
                  return append(layout, {s->pages.data(), s->pages.data() + s->pages.size() / 2},
                                {.k = s->x.data(),
                                 .v = s->x.data(),
                                 .slots = s->slots,
                                 .rotary = &s->rotary,
                                 .positions = s->slots},
                                {.workers = 2});
                },
                [=] { return s->pages; }};
  });
}

/// What can be seen of the first sequences of a cache.
template <class Cache>
std::vector<float> contents(const Cache& cache) {
  std::vector<float> all = {static_cast<float>(cache.free_pages())};
  for (std::int32_t id = 0; id < 3; ++id) {
    all.push_back(static_cast<float>(cache.tokens(id)));
    for (const std::int32_t page : cache.pages(id)) all.push_back(static_cast<float>(page));
  }
  return all;
}

KvCacheConfig cache_config() {
  return {.layout = PagedLayout::bshd(64, kPageTokens, kHeads, kDims),
          .layers = 2,
          .sequences = 4,
          .prefixes = true};
}

TEST_F(OutOfMemory, CreatedCaches) {
  expect_survival([] {
    const auto cache = std::make_shared<KvCache>();
    return Call{[=] { return KvCache::create(cache_config(), *cache); },
                [=] { return contents(*cache); }};
  });
  expect_survival([] {
    const auto sequences = std::make_shared<PagedSequences>();
    return Call{[=] {
                  return PagedSequences::create({64, kPageTokens, 4, 0, true}, *sequences);
                },
                [=] { return contents(*sequences); }};
  });
}

/// A cache and the arrays that its calls fill.
struct CacheUse {
  KvCache cache;
  std::vector<std::int64_t> slots = std::vector<std::int64_t>(40);
  std::vector<std::int32_t> table = std::vector<std::int32_t>(8);
  std::vector<std::int32_t> indptr = std::vector<std::int32_t>(3);
  std::vector<std::int32_t> indices = table, prefixes = {0, 0}, ids = {0, 1};
  std::vector<std::int32_t> text = std::vector<std::int32_t>(40);
};

template <class Act>
bool works_in_the_end(const Act& act) {
  const Status status = act();
  return status.ok() || (status.code() == StatusCode::out_of_memory && act().ok());
}

/// The life of two sequences; each call is made again where memory is out.
Status live(CacheUse& u) {
  std::int32_t first = 0, second = 0;
  std::int64_t found = 0;
  KvCache& cache = u.cache;
  const bool good =
      works_in_the_end([&] { return cache.begin(u.text, first, found); }) &&
      works_in_the_end([&] { return cache.extend(first, u.slots); }) &&
      works_in_the_end([&] { return cache.publish(first, u.text); }) &&
      works_in_the_end([&] { return cache.forget(first, kPageTokens); }) &&
      works_in_the_end([&] { return cache.fork(first, 20, second); }) &&
      works_in_the_end([&] { return cache.extend(second, std::span(u.slots).first(3)); }) &&
      works_in_the_end([&] { return cache.block_table(u.ids, 4, u.table); }) &&
      works_in_the_end([&] { return cache.page_lists(u.ids, u.indptr, u.indices); }) &&
      works_in_the_end([&] { return cache.shared_prefixes(u.ids, u.prefixes); }) &&
      works_in_the_end([&] { return cache.truncate(second, 17); }) &&
      works_in_the_end([&] { return cache.remove(first); });
  return good ? Status() : Status(StatusCode::internal, "a call of the cache");
}

TEST_F(OutOfMemory, UsedCaches) {
  const auto make = [] {
    const auto used = std::make_shared<CacheUse>();
    EXPECT_TRUE(KvCache::create(cache_config(), used->cache).ok());
    return Call{[=] { return live(*used); }, [=] { return contents(used->cache); }};
  };
  EXPECT_EQ(fault_of_failing(Failing::one, make), "");
}

TEST_F(OutOfMemory, WhatTheProcessorIs) {
  expect_survival([] {
    return Call{[]() -> Status {
                  std::string_view name;
                  if (Status status = chosen_isa(name); !status.ok()) return status;
                  const bool whole = !cpu_info().vendor.empty() && !isas().empty();
                  return whole ? Status() : Status(StatusCode::out_of_memory, "out of memory");
                },
                [] {
                  const CpuInfo& cpu = cpu_info();
                  return std::vector{static_cast<float>(cpu.logical_cpus),
                                     static_cast<float>(cpu.default_workers),
                                     static_cast<float>(cpu.features.size()),
                                     static_cast<float>(cpu.memory_bytes)};
                }};
  });
}

}  // namespace
}  // namespace heed::tests
