// Outputs that overlap what is read, or each other, and pointers into the middle of a float: every
// function refuses them, says why and writes nothing. Tensors that interleave in one buffer are
// fine.
#include <algorithm>
#include <array>
#include <cstddef>
#include <functional>
#include <string>
#include <type_traits>
#include <vector>

#include "tests/support/attention_run.h"

namespace heed::tests {
namespace {

using proof::Case;

/// A pointer to the second byte of a float.
template <class Float>
Float* misaligned(Float* place) {
  using Byte = std::conditional_t<std::is_const_v<Float>, const std::byte, std::byte>;
  using Void = std::conditional_t<std::is_const_v<Float>, const void, void>;
  return static_cast<Float*>(static_cast<Void*>(reinterpret_cast<Byte*>(place) + 1));
}

void expect_refused(const Status& status, const std::string& message) {
  EXPECT_EQ(status.code(), StatusCode::invalid_argument);
  EXPECT_EQ(status.message(), message);
}

const std::string kMisaligned = " must begin at a multiple of 4 bytes, as its elements do";

/// Two tokens of one head of 4 dimensions, and three keys, in one buffer.
class TensorPlaces : public testing::Test {
 protected:
  TensorPlaces() {
    std::ranges::fill(memory_, 0.5F);
    config_.head_dim = kDims;
    batch_.query.length = kTokens;
    batch_.key.length = kKeys;
    tensors_ = {.q = at(0), .k = at(100), .v = at(200), .out = at(300), .lse = at(400)};
    make_plan();
  }

  float* at(std::int64_t place) { return memory_.data() + place; }
  void make_plan() {
    ASSERT_TRUE(plan_attention(config_, batch_, {.workers = 2}, plan_).ok());
    ASSERT_TRUE(workspace_.reserve(plan_).ok());
  }
  PartialStates states(std::int64_t place) {
    return PartialStates::in(at(place), state_shape(plan_));
  }

  /// What every way to run says of tensors that `change` has made wrong.
  void expect_runs_refused(const std::function<void(AttentionTensors&)>& change,
                           const std::string& message) {
    SCOPED_TRACE(message);
    AttentionTensors tensors = tensors_;
    change(tensors);
    const std::vector<float> before = memory_;
    expect_refused(run(plan_, tensors, workspace_), message);
    expect_refused(run_share(plan_, tensors, workspace_, 0, 1), message);
    EXPECT_EQ(memory_, before) << "a refused call wrote";
    EXPECT_TRUE(run_share(plan_, tensors_, workspace_, 0, 1).ok());
  }
  void expect_states_refused(const AttentionTensors& tensors, const PartialStates& states,
                             const std::string& message) {
    SCOPED_TRACE(message);
    const std::vector<float> before = memory_;
    expect_refused(run_partial(plan_, tensors, states, workspace_), message);
    expect_refused(run_partial_share(plan_, tensors, states, workspace_, 0, 1), message);
    EXPECT_EQ(memory_, before) << "a refused call wrote";
  }

  static constexpr std::int64_t kDims = 4, kTokens = 2, kKeys = 3;
  std::vector<float> memory_ = std::vector<float>(600);
  AttentionConfig config_;
  Batch batch_;
  AttentionTensors tensors_;
  Plan plan_;
  Workspace workspace_;
};

TEST_F(TensorPlaces, ThoseThatFaultsAreMadeFromAreGood) {
  EXPECT_TRUE(run(plan_, tensors_, workspace_).ok());
  EXPECT_TRUE(run_partial(plan_, tensors_, states(500), workspace_).ok());
}

TEST_F(TensorPlaces, OutputsOnInputs) {
  using T = AttentionTensors;
  const auto out_at = [&](std::int64_t place) { return [=, this](T& t) { t.out = at(place); }; };
  const auto lse_at = [&](std::int64_t place) { return [=, this](T& t) { t.lse = at(place); }; };
  for (const std::int64_t place : {0, 7}) {
    expect_runs_refused(out_at(place), "out must not overlap q");
    expect_runs_refused(lse_at(place), "lse must not overlap q");
  }
  expect_runs_refused(out_at(93), "out must not overlap k");
  expect_runs_refused(out_at(111), "out must not overlap k");
  expect_runs_refused(lse_at(99), "lse must not overlap k");
  expect_runs_refused(out_at(211), "out must not overlap v");
  expect_runs_refused(lse_at(211), "lse must not overlap v");
  expect_runs_refused(lse_at(307), "lse must not overlap out");
  for (const std::int64_t place : {8, 92, 112}) {
    tensors_.out = at(place);
    EXPECT_TRUE(run(plan_, tensors_, workspace_).ok());
  }
}

TEST_F(TensorPlaces, PointersIntoTheMiddleOfAFloat) {
  using T = AttentionTensors;
  expect_runs_refused([](T& t) { t.q = misaligned(t.q.as<float>()); }, "q" + kMisaligned);
  expect_runs_refused([](T& t) { t.k = misaligned(t.k.as<float>()); }, "k" + kMisaligned);
  expect_runs_refused([](T& t) { t.v = misaligned(t.v.as<float>()); }, "v" + kMisaligned);
  expect_runs_refused([](T& t) { t.out = misaligned(t.out.as<float>()); }, "out" + kMisaligned);
  expect_runs_refused([](T& t) { t.lse = misaligned(t.lse); }, "lse" + kMisaligned);
  PartialStates wrong = states(500);
  wrong.m = misaligned(wrong.m);
  expect_states_refused(tensors_, wrong, "states.m" + kMisaligned);
  expect_refused(clear(plan_, wrong), "states.m" + kMisaligned);
}

// Keys may be values, and inputs overlap as they like.
TEST_F(TensorPlaces, InputsMayBeTheSame) {
  tensors_.k = tensors_.v = tensors_.q;
  memory_.resize(memory_.size());
  EXPECT_TRUE(run(plan_, tensors_, workspace_).ok());
}

// Queries, outputs and log-sum-exps of a token, one after the other.
TEST_F(TensorPlaces, InterleavedTensors) {
  for (std::int64_t i = 0; i < 100; ++i) *at(i) = static_cast<float>(i % 7) - 3.0F;
  ASSERT_TRUE(run(plan_, tensors_, workspace_).ok());
  const std::vector<float> expected(at(300), at(300) + kTokens * kDims);
  constexpr std::int64_t row = 2 * kDims + 1;
  std::copy_n(at(4), kDims, at(400 + row));
  std::copy_n(at(0), kDims, at(400));
  batch_.q = batch_.out = batch_.lse = Layout{kTokens * row, row, row};
  make_plan();
  tensors_.q = at(400), tensors_.out = at(400 + kDims), tensors_.lse = at(400 + 2 * kDims);
  ASSERT_TRUE(run(plan_, tensors_, workspace_).ok());
  for (std::int64_t i = 0; i < kTokens * kDims; ++i) {
    const std::int64_t place = 400 + i / kDims * row + kDims + i % kDims;
    EXPECT_TRUE(same_bits(*at(place), expected[static_cast<std::size_t>(i)]));
  }
  tensors_.lse = at(400 + kDims);
  expect_refused(run(plan_, tensors_, workspace_), "lse must not overlap out");
}

TEST_F(TensorPlaces, PagesAndTheirTables) {
  batch_.pages = PagedLayout::together(PagedLayout::bshd(2, 3, 1, kDims));
  make_plan();
  const std::array<std::int32_t, 1> table = {1};
  tensors_.v = tensors_.k + batch_.pages->v.page / 2;
  tensors_.tables = {.pages = table, .stride = 1};
  EXPECT_TRUE(run(plan_, tensors_, workspace_).ok());
  using T = AttentionTensors;
  expect_runs_refused([&](T& t) { t.out = at(110); }, "out must not overlap k");
  expect_runs_refused([&](T& t) { t.out = at(112); }, "out must not overlap v");
  expect_runs_refused([&](T& t) { t.out = at(100 + 36); }, "out must not overlap v");
  expect_runs_refused(
      [&](T& t) {
        t.tables.pages = {reinterpret_cast<const std::int32_t*>(t.out.data()) + 2, 1};
      },
      "out must not overlap tables.pages");
  expect_runs_refused(
      [&](T& t) {
        t.tables.indptr = {reinterpret_cast<const std::int32_t*>(t.lse), 2};
      },
      "lse must not overlap tables.indptr");
}

TEST_F(TensorPlaces, PartialStates) {
  PartialStates wrong = states(500);
  wrong.l = wrong.m + 1;
  expect_states_refused(tensors_, wrong, "states.l must not overlap states.m");
  expect_refused(clear(plan_, wrong), "states.l must not overlap states.m");
  wrong = states(500);
  wrong.o = at(7);
  expect_states_refused(tensors_, wrong, "states.o must not overlap q");
  const PartialStates good = states(500), total = states(550);
  ASSERT_TRUE(run_partial(plan_, tensors_, good, workspace_).ok());
  ASSERT_TRUE(clear(plan_, total).ok());
  EXPECT_TRUE(merge_into(plan_, total, good).ok());
  expect_refused(merge_into(plan_, total, total), "total.m must not overlap states.m");
  wrong = good;
  wrong.o = total.o + 3;
  expect_refused(merge_into(plan_, total, wrong), "total.o must not overlap states.o");
  const std::array<ConstPartialStates, 2> shards = {total, good};
  EXPECT_TRUE(merge(plan_, shards, at(300), at(400)).ok());
  expect_refused(merge(plan_, shards, at(300), at(302)), "lse must not overlap out");
  expect_refused(merge(plan_, shards, good.o), "out must not overlap shards[1].o");
  expect_refused(merge(plan_, shards, at(300), total.l), "lse must not overlap shards[0].l");
  expect_refused(merge(plan_, shards, misaligned(at(300))), "out" + kMisaligned);
}

TEST_F(TensorPlaces, StatesBeyondTheAddressSpace) {
  batch_.query.length = 270'000'000;  // of 2²³ partitions, each of 1026 floats: 2⁶³ bytes
  batch_.key.length = 0;
  config_.value_head_dim = kMaxHeadDim;
  ASSERT_TRUE(plan_attention(config_, batch_, {.workers = 1}, plan_).ok());
  const PartialStates huge{at(500), at(510), at(520), 1 << 23};
  const std::string text = clear(plan_, huge).message();
  EXPECT_NE(text.find("states of 8388608 partitions"), std::string::npos) << text;
  EXPECT_NE(text.find("beyond the address space"), std::string::npos) << text;
}

TEST(ExecutorsThatWereNeverCreated, AreRefusedEverywhere) {
  const std::string message =
      "executor has no threads: make it with Executor::create or Executor::adopt first";
  const Case c(small_case(3, 5));
  const Plan plan = plan_case(c, on({}, 2));
  Workspace workspace;
  ASSERT_TRUE(workspace.reserve(plan).ok());
  Outputs outputs = fresh_outputs(c);
  Executor none;
  const AttentionTensors tensors = outputs.with(c.inputs());
  expect_refused(run(plan, tensors, workspace, &none), message);
  std::vector<float> memory(2 * state_shape(plan).floats());
  const PartialStates states = PartialStates::in(memory.data(), state_shape(plan));
  const PartialStates total =
      PartialStates::in(memory.data() + memory.size() / 2, state_shape(plan));
  expect_refused(run_partial(plan, tensors, states, workspace, &none), message);
  expect_refused(merge_into(plan, total, states, {}, &none), message);
  const std::array<ConstPartialStates, 1> shards = {states};
  expect_refused(merge(plan, shards, tensors.out, tensors.lse, {}, &none), message);
  std::array<float, 8> x{}, y{};
  const ConstRows in{x.data(), 2, 4, 4};
  const Rows out{y.data(), 2, 4, 4};
  const SoftmaxOptions options{.executor = &none};
  expect_refused(softmax(in, out, options), message);
  expect_refused(log_softmax(in, out, options), message);
  expect_refused(log_sum_exp(in, y.data(), options), message);
  expect_refused(softmax_gradient(in, in, out, options), message);
  expect_refused(log_softmax_gradient(in, in, out, options), message);
  Rotary rotary;
  ASSERT_TRUE(Rotary::create({.rotary_dim = 4, .positions = 4}, rotary).ok());
  const std::array<std::int64_t, 2> numbers = {1, 2};
  expect_refused(rotate(rotary, {.x = x.data(), .y = y.data(), .head_dim = 4, .positions = numbers},
                        {.executor = &none}),
                 message);
  expect_refused(normalise_heads({}, {.x = x.data(), .y = y.data(), .tokens = 2, .head_dim = 4},
                                 {.executor = &none}),
                 message);
  const NewTokens tokens{.k = x.data(), .v = x.data(), .slots = numbers};
  std::array<float, 16> k{}, v{};
  expect_refused(
      append(PagedLayout::bshd(1, 4, 1, 4), {k.data(), v.data()}, tokens, {.executor = &none}),
      message);
}

}  // namespace
}  // namespace heed::tests
