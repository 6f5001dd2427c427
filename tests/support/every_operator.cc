#include "tests/support/every_operator.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <initializer_list>
#include <numeric>
#include <span>

#include "heed/heed.h"

namespace heed::tests {
namespace {

constexpr std::int64_t kHeads = 8, kKvHeads = 2, kDims = 64, kTokens = 300, kPageTokens = 16;
constexpr std::int64_t kRows = 64, kLength = 4096;

const std::vector<float>& numbers() {
  static const std::vector<float> x = [] {
    std::vector<float> made(kRows * kLength);
    for (std::size_t i = 0; i < made.size(); ++i) {
      made[i] = static_cast<float>(i * 7919 % 1021) / 512.0F - 1.0F;
    }
    return made;
  }();
  return x;
}

void expect_ok(const Status& status) { EXPECT_TRUE(status.ok()) << status.message(); }

template <class Number>
std::vector<float> joined(std::initializer_list<std::vector<Number>> parts) {
  std::vector<float> all;
  for (const auto& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

std::vector<std::int64_t> counted(std::int64_t count) {
  std::vector<std::int64_t> list(static_cast<std::size_t>(count));
  std::iota(list.begin(), list.end(), 0);
  return list;
}

/// Attention of so many queries over so many keys, and memory for what it writes.
struct Attention {
  Attention(std::int64_t queries, std::int64_t keys, int workers)
      : out(queries * kHeads * kDims), lse(queries * kHeads) {
    const AttentionConfig config{
        .query_heads = kHeads, .kv_heads = kKvHeads, .head_dim = kDims, .causal = true};
    const Batch batch{.query = {.length = queries}, .key = {.length = keys}};
    expect_ok(plan_attention(config, batch, {.workers = workers}, plan));
    expect_ok(workspace.reserve(plan));
    states.resize(state_shape(plan).floats());
  }
  AttentionTensors tensors() {
    const float* const x = numbers().data();
    return {.q = x, .k = x + 1, .v = x + 2, .out = out.data(), .lse = lse.data()};
  }
  PartialStates partial() { return PartialStates::in(states.data(), state_shape(plan)); }

  std::vector<float> out, lse, states;
  Plan plan;
  Workspace workspace;
};

std::vector<float> run_of(std::int64_t queries, std::int64_t keys, int workers,
                          Executor* executor) {
  Attention a(queries, keys, workers);
  expect_ok(run(a.plan, a.tensors(), a.workspace, executor));
  return joined({a.out, a.lse});
}

/// Two shards' worth of the states that `run_partial` writes in `partial`, merged in `merging`.
/// States are compared by what they merge to: their scale depends on how the work was cut.
std::vector<float> merged(int workers, Executor* partial, Executor* merging) {
  Attention a(kTokens, kTokens, workers);
  expect_ok(run_partial(a.plan, a.tensors(), a.partial(), a.workspace, partial));
  const std::array<ConstPartialStates, 2> shards = {a.partial(), a.partial()};
  expect_ok(merge(a.plan, shards, a.out.data(), a.lse.data(), {}, merging));
  return joined({a.out, a.lse});
}

std::vector<float> merged_into(int workers, Executor* executor) {
  Attention a(kTokens, kTokens, workers);
  expect_ok(run_partial(a.plan, a.tensors(), a.partial(), a.workspace));
  StateShape one = state_shape(a.plan);
  one.partitions = 1;
  std::vector<float> memory(one.floats());
  const PartialStates total = PartialStates::in(memory.data(), one);
  expect_ok(clear(a.plan, total));
  expect_ok(merge_into(a.plan, total, a.partial(), {}, executor));
  const std::array<ConstPartialStates, 1> shards = {total};
  expect_ok(merge(a.plan, shards, a.out.data(), a.lse.data()));
  return joined({a.out, a.lse});
}

std::vector<float> weights_of(int workers, Executor* executor) {
  Attention a(kTokens, kTokens, workers);
  std::vector<float> entropy(kHeads * kTokens), mass(kHeads * kTokens);
  AttentionWeights asked;
  asked.entropy = entropy.data();
  asked.mass = mass.data();
  expect_ok(a.workspace.reserve(a.plan, asked));
  expect_ok(attention_weights(a.plan, a.tensors(), asked, a.workspace, executor));
  return joined({a.out, a.lse, entropy, mass});
}

ConstRows given_rows() { return {numbers().data(), kRows, kLength, kLength}; }

/// What a function of rows writes.
template <class Function>
Operator of_rows(const char* name, const Function& function) {
  return {name, [function](int workers, Executor* executor) {
            std::vector<float> y(kRows * kLength);
            SoftmaxOptions options;
            options.workers = workers;
            options.executor = executor;
            expect_ok(function(Rows{y.data(), kRows, kLength, kLength}, options));
            return y;
          }};
}

std::vector<float> appended(int workers, Executor* executor) {
  constexpr std::int64_t kPages = 20;
  const PagedLayout layout = PagedLayout::bshd(kPages, kPageTokens, kHeads, kDims);
  std::vector<float> k(kPages * kPageTokens * kHeads * kDims), v(k.size());
  const std::vector<std::int64_t> slots = counted(kTokens);
  const NewTokens tokens{.k = numbers().data(), .v = numbers().data(), .slots = slots};
  expect_ok(
      append(layout, {k.data(), v.data()}, tokens, {.workers = workers, .executor = executor}));
  return joined({k, v});
}

std::vector<float> rotated(int workers, Executor* executor) {
  std::vector<float> y(kTokens * kHeads * kDims);
  const std::vector<std::int64_t> positions = counted(kTokens);
  Rotary rotary;
  expect_ok(Rotary::create({.rotary_dim = kDims, .positions = kTokens}, rotary));
  expect_ok(rotate(rotary,
                   {.x = numbers().data(),
                    .y = y.data(),
                    .heads = kHeads,
                    .head_dim = kDims,
                    .positions = positions},
                   {.workers = workers, .executor = executor}));
  return y;
}

std::vector<float> converted(int workers, Executor* executor) {
  std::vector<BFloat16> y(numbers().size());
  expect_ok(convert(numbers().data(), y.data(), std::ssize(y),
                    {.workers = workers, .executor = executor}));
  std::vector<float> bits(y.size());
  for (std::size_t i = 0; i < y.size(); ++i) bits[i] = y[i].bits;
  return bits;
}

std::vector<float> drawn(int workers, Executor* executor) {
  const SamplingRule rule{.top_k = 900, .top_p = 0.9F};
  const std::vector<Draw> draws(kRows);
  std::vector<std::int32_t> tokens(kRows);
  std::vector<float> probabilities(kRows);
  expect_ok(sample({numbers().data(), kRows, kLength, kLength}, {&rule, 1}, draws,
                   {tokens.data(), probabilities.data()},
                   {.workers = workers, .executor = executor}));
  return joined({std::vector<float>(tokens.begin(), tokens.end()), probabilities});
}

}  // namespace

const std::vector<Operator>& every_operator() {
  static const std::vector<Operator> operators = {
      {"run of a prompt",
       [](int workers, Executor* executor) { return run_of(kTokens, kTokens, workers, executor); }},
      {"run of a token",
       [](int workers, Executor* executor) { return run_of(1, 2000, workers, executor); }},
      {"run_partial",
       [](int workers, Executor* executor) { return merged(workers, executor, nullptr); }},
      {"merge", [](int workers, Executor* executor) { return merged(workers, nullptr, executor); }},
      {"merge_into", merged_into},
      {"attention_weights", weights_of},
      of_rows("softmax", [](const Rows& y, const auto& o) { return softmax(given_rows(), y, o); }),
      of_rows("log_softmax",
              [](const Rows& y, const auto& o) { return log_softmax(given_rows(), y, o); }),
      of_rows("log_sum_exp",
              [](const Rows& y, const auto& o) {
                return log_sum_exp(given_rows(), y.data.as<float>(), o);
              }),
      of_rows("softmax_gradient",
              [](const Rows& y, const auto& o) {
                return softmax_gradient(given_rows(), given_rows(), y, o);
              }),
      of_rows("log_softmax_gradient",
              [](const Rows& y, const auto& o) {
                return log_softmax_gradient(given_rows(), given_rows(), y, o);
              }),
      {"append", appended},
      {"rotate", rotated},
      {"convert", converted},
      {"sample", drawn},
  };
  return operators;
}

}  // namespace heed::tests
