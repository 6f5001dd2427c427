// convert: the numbers of each type as the nearest ones of every other.
#include "heed/convert.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "heed/executor.h"
#include "heed/tensor_data.h"
#include "tests/proof/elements.h"
#include "tests/proof/inputs.h"
#include "tests/proof/numbers.h"
#include "tests/proof/typed_tensors.h"
#include "tests/support/attention_run.h"

namespace heed::tests {
namespace {

using proof::TypedBuffer;

/// Floats of all sizes, with zeros, infinities and NaN among them.
std::vector<float> mixed_floats(std::int64_t count) {
  using proof::kInfinity;
  constexpr float kOdd[] = {0, -0.0F, 1e-8F, 3e-5F, 7e4F, -1e6F, 1e-40F, -kInfinity, 448, 480};
  proof::Random random(7);
  std::vector<float> floats(static_cast<std::size_t>(count));
  for (float& x : floats) {
    x = static_cast<float>(random.normal());
    if (random.below(40) == 0) x = random.pick(std::span<const float>(kOdd));
    if (random.below(900) == 0) x = std::numeric_limits<float>::quiet_NaN();
  }
  return floats;
}

/// The nearest numbers of a type, by the proof's arithmetic.
TypedBuffer narrowed(std::span<const float> floats, DType type) {
  TypedBuffer buffer(type, std::ssize(floats));
  proof::narrow(floats, buffer.data());
  return buffer;
}

void expect_converted(const TypedBuffer& from, DType type, std::int64_t count,
                      const RunOptions& options) {
  const TypedBuffer to(type, count);
  const Status status = convert(from.data(), to.data(), count, options);
  ASSERT_TRUE(status.ok()) << status.message();
  if (type == from.data().type()) {
    EXPECT_TRUE(std::ranges::equal(to.bytes(), from.bytes())) << dtype_info(type).name;
    return;
  }
  std::vector<float> a, b, c;
  const TypedBuffer wanted = narrowed(proof::floats_of(from.data(), count, a), type);
  const auto actual = proof::floats_of(to.data(), count, b);
  const auto expected = proof::floats_of(wanted.data(), count, c);
  for (std::size_t i = 0; i < actual.size(); ++i) {
    ASSERT_TRUE(same_bits(actual[i], expected[i]))
        << dtype_info(from.data().type()).name << " to " << dtype_info(type).name << ", " << i
        << " of " << count << ": " << actual[i] << " and not " << expected[i];
  }
}

// Guard pages around both sides see what is read or written outside.
TEST(Convert, EveryTypeBecomesEveryOther) {
  for (const std::string_view isa : supported_isas()) {
    for (const std::int64_t count : {0, 1, 31, 32, 1000, 1024, 1056, 5 * 1024 + 96}) {
      const std::vector<float> floats = mixed_floats(count);
      for (const DTypeInfo& from : kDTypes) {
        if (from.scaled || count % from.block_elements != 0) continue;
        const TypedBuffer numbers = narrowed(floats, from.type);
        for (const DTypeInfo& to : kDTypes) {
          if (to.scaled || count % to.block_elements != 0) continue;
          RunOptions options;
          options.isa = isa;
          expect_converted(numbers, to.type, count, options);
          if (testing::Test::HasFatalFailure()) return;
        }
      }
    }
  }
}

TEST(Convert, BySeveralWorkers) {
  constexpr std::int64_t count = (std::int64_t{1} << 20) + 32;
  const std::vector<float> floats = mixed_floats(count);
  const TypedBuffer numbers = narrowed(floats, DType::f32);
  Executor executor;
  ASSERT_TRUE(Executor::create(3, executor).ok());
  RunOptions options;
  options.workers = 3;
  options.executor = &executor;
  for (const DType type : {DType::f16, DType::q4_0}) {
    expect_converted(numbers, type, count, options);
  }
}

TEST(Convert, WhatIsRefused) {
  const TypedBuffer from(DType::f32, 64), to(DType::q8_0, 64);
  const auto refused = [](const InputData& x, const OutputData& y, std::int64_t count) {
    return std::string(convert(x, y, count).message());
  };
  EXPECT_EQ(refused(from.data(), to.data(), -1), "elements (-1) must not be negative");
  EXPECT_EQ(refused(from.data(), to.data(), 48),
            "elements (48) must be a multiple of 32: to is of q8_0");
  EXPECT_EQ(refused(to.data(), from.data(), 33),
            "elements (33) must be a multiple of 32: from is of q8_0");
  EXPECT_EQ(refused(nullptr, to.data(), 32), "from must not be null");
  EXPECT_EQ(refused(from.data(), OutputData{nullptr, DType::f16}, 32), "to must not be null");
  EXPECT_EQ(refused(from.data(), {to.data().data(), static_cast<DType>(-1)}, 32),
            "the type of to (-1) must be one of f32, f16, bf16, int8, int4, fp8_e4m3, fp8_e5m2, "
            "q8_0, q4_0");
  EXPECT_EQ(refused(from.data(), {to.data().data(), DType::int4}, 32),
            "to is of int4, whose scales lie apart: heed::append writes them");
  EXPECT_EQ(refused(from.data(), {from.data().data(), DType::f16}, 32), "to must not overlap from");
  EXPECT_NE(refused(from.data(), from.data(), std::numeric_limits<std::int64_t>::max()), "");
  EXPECT_TRUE(convert(nullptr, nullptr, 0).ok());
  const std::span<std::byte> bytes = to.bytes();
  EXPECT_TRUE(std::ranges::all_of(bytes, [](std::byte b) { return b == std::byte{0xFF}; }));
}

}  // namespace
}  // namespace heed::tests
