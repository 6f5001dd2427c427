// Faults of masks and of lists of keys are found while planning, with a sentence that names the
// field and its value; a failure changes nothing.
#include <array>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "tests/proof/numbers.h"
#include "tests/support/attention_run.h"

namespace heed::tests {
namespace {

using proof::kInfinity;
constexpr std::int64_t kLargest = std::numeric_limits<std::int64_t>::max();

/// Two sequences of three queries and ten keys of two heads, all of which are visible.
struct Description {
  AttentionConfig config{.query_heads = 2, .kv_heads = 1, .head_dim = 1};
  Batch batch;
  std::vector<float> floats = std::vector<float>(120, 0.0F);
  std::vector<std::int64_t> offsets = std::vector<std::int64_t>(7, 0);
  std::vector<std::int32_t> keys;

  Description() {
    batch.sequences = 2;
    batch.query.length = 3;
    batch.key.length = 10;
  }
  void mask_of_floats() { batch.mask = KeyMask::bhqk(MaskType::f32, floats.data(), 2, 3, 10); }
  void lists() { batch.key_lists = KeyLists{offsets, keys}; }
};

void expect_refused(const std::string& sentence, const std::function<void(Description&)>& commit) {
  SCOPED_TRACE(sentence);
  Description good;
  Plan plan;
  ASSERT_TRUE(plan_attention(good.config, good.batch, {}, plan).ok());
  const std::string before = plan.describe();
  Description bad;
  commit(bad);
  const Status status = plan_attention(bad.config, bad.batch, {}, plan);
  EXPECT_EQ(status.code(), StatusCode::invalid_argument);
  EXPECT_NE(status.message().find(sentence), std::string::npos) << status.message();
  EXPECT_EQ(plan.describe(), before);
}

TEST(MaskErrors, FormsOfMasks) {
  const auto mask = [](const std::function<void(KeyMask&)>& change) {
    return [change](Description& d) {
      d.mask_of_floats();
      change(*d.batch.mask);
    };
  };
  expect_refused("mask.data must not be null", mask([](auto& m) { m.data = nullptr; }));
  expect_refused("mask.type (9) must be bits, bytes, f32, f16 or bf16",
                 mask([](auto& m) { m.type = static_cast<MaskType>(9); }));
  expect_refused("mask.query_block (0) must be", mask([](auto& m) { m.query_block = 0; }));
  expect_refused("mask.key_block (-3) must be", mask([](auto& m) { m.key_block = -3; }));
  expect_refused("mask.last_keys (-1) must be", mask([](auto& m) { m.last_keys = -1; }));
  expect_refused("mask.data must be aligned to 4 bytes",
                 mask([](auto& m) { m.data = static_cast<const char*>(m.data) + 1; }));
  expect_refused("mask", mask([](auto& m) { m.query_stride = kLargest; }));
  expect_refused("mask.query_stride (10) must be a multiple of 8", mask([](auto& m) {
                   m.type = MaskType::bits;
                   m.sequence_stride = 64, m.head_stride = 32;
                 }));
  expect_refused("keep_first (-1) must be 0 or more", [](auto& d) { d.config.keep_first = -1; });
}

TEST(MaskErrors, RaggedQueriesHaveNoBlocks) {
  static constexpr std::array<std::int32_t, 3> offsets = {0, 3, 6};
  expect_refused("mask.query_block (2) must be 1 where queries are ragged", [](auto& d) {
    d.mask_of_floats();
    d.batch.mask->query_block = 2;
    d.batch.query = {.offsets = offsets};
  });
}

// Number 75 is of sequence 1, head 0, query 1, key 5; its sentence says where biases go.
TEST(MaskErrors, FloatsThatAreBiases) {
  for (const float number : {0.5F, -1e30F, kInfinity, std::numeric_limits<float>::quiet_NaN(),
                             std::numeric_limits<float>::denorm_min()}) {
    const auto commit = [number](Description& d) {
      d.mask_of_floats();
      d.floats[75] = number;
    };
    expect_refused("mask: element 75, of key 5 of sequence 1, must be 0 (visible) or −∞ (hidden)",
                   commit);
    expect_refused("as modifiers.bias", commit);
  }
  std::vector<Float16> halves(60);
  halves[59].bits = 0x7E00;  // the last of 60
  expect_refused("mask: element 59, of key 9 of sequence 1", [&](auto& d) {
    d.batch.mask = KeyMask{MaskType::f16, halves.data(), 30, 0, 10};
  });
}

// Numbers that no query and key belong to may be anything.
TEST(MaskErrors, NumbersThatNobodyReads) {
  Description d;
  d.batch.mask = KeyMask{MaskType::f32, d.floats.data(), 60, 30, 10, 1, 1, 4};  // of 4 last keys
  for (std::size_t i = 0; i < d.floats.size(); ++i) d.floats[i] = i % 10 < 4 ? 0.0F : 7.0F;
  Plan plan;
  const Status status = plan_attention(d.config, d.batch, {}, plan);
  EXPECT_TRUE(status.ok()) << status.message();
}

TEST(MaskErrors, Lists) {
  expect_refused("key_lists.offsets has 6 entries; it must have 7", [](auto& d) {
    d.offsets.pop_back();
    d.lists();
  });
  expect_refused("key_lists.offsets[0] (1) must be 0", [](auto& d) {
    d.offsets.assign(7, 1);
    d.lists();
  });
  expect_refused("key_lists.offsets[2] (3) must not be less than the entry before it (4)",
                 [](auto& d) {
                   d.offsets = {0, 4, 3, 4, 4, 4, 4};
                   d.keys.resize(4);
                   d.lists();
                 });
  expect_refused("key_lists.offsets must end with 3, the number of key_lists.keys; it is 0",
                 [](auto& d) {
                   d.keys.resize(3);
                   d.lists();
                 });
  for (const std::int32_t key : {-1, 10}) {
    expect_refused(
        "key_lists.keys[2] (" + std::to_string(key) + ") must be from 0 to 9, a key of sequence 1",
        [key](auto& d) {
          d.offsets = {0, 1, 1, 1, 1, 3, 3};
          d.keys = {9, 0, key};
          d.lists();
        });
  }
  expect_refused("mask and key_lists exclude each other", [](auto& d) {
    d.lists();
    d.mask_of_floats();
  });
}

}  // namespace
}  // namespace heed::tests
