// Every code of every element type: as values, as keys, and as what floats of outputs are rounded
// to.
#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "tests/proof/elements.h"
#include "tests/proof/inputs.h"
#include "tests/proof/typed_tensors.h"
#include "tests/support/attention_run.h"
#include "tests/support/typed_run.h"

namespace heed::tests {
namespace {

using proof::TypedBuffer;

/// Attention to a single key with a logit of 0 gives its value.
std::vector<float> through_one_key(const InputData& values, std::int64_t count, DType out_type,
                                   std::string_view isa) {
  constexpr std::int64_t kDims = 64;
  const std::int64_t rows = count / kDims;
  AttentionConfig config;
  config.head_dim = 1;
  config.value_head_dim = kDims;
  config.v_type = values.type();
  config.out_type = out_type;
  Batch batch;
  batch.sequences = rows;
  batch.query.length = batch.key.length = 1;
  Plan plan;
  Workspace workspace;
  EXPECT_TRUE(plan_attention(config, batch, on(isa), plan).ok());
  EXPECT_TRUE(workspace.reserve(plan).ok());
  const std::vector<float> zeros(static_cast<std::size_t>(rows), 0.0F);
  const TypedBuffer out(out_type, count);
  AttentionTensors tensors;
  tensors.q = tensors.k = zeros.data();
  tensors.v = values;
  tensors.out = out.data();
  EXPECT_TRUE(run(plan, tensors, workspace).ok());
  std::vector<float> buffer;
  const std::span<const float> floats = proof::floats_of(out.data(), count, buffer);
  return {floats.begin(), floats.end()};
}

/// −0 becomes +0 on the way.
float through(float x) { return x + 0.0F; }

template <class Element, std::size_t Codes>
void expect_every_code() {
  using Bits = decltype(Element::bits);
  std::vector<Element> codes(Codes);
  for (std::size_t i = 0; i < Codes; ++i) codes[i].bits = static_cast<Bits>(i);
  const InputData data = codes.data();
  std::vector<float> buffer;
  const auto expected = proof::floats_of(data, static_cast<std::int64_t>(Codes), buffer);
  for (const std::string_view isa : supported_isas()) {
    const std::vector<float> actual =
        through_one_key(data, static_cast<std::int64_t>(Codes), DType::f32, isa);
    for (std::size_t i = 0; i < Codes; ++i) {
      ASSERT_TRUE(same_bits(actual[i], through(expected[i])))
          << isa << ", " << dtype_info(data.type()).name << " code " << i << ": " << actual[i]
          << " and not " << expected[i];
    }
  }
}

TEST(ElementTypes, EveryCode) {
  expect_every_code<Float16, 65536>();
  expect_every_code<BFloat16, 65536>();
  expect_every_code<Float8E4M3, 256>();
  expect_every_code<Float8E5M2, 256>();
}

/// Elements of a type with every code: of blocks every scale that is a multiple of 32, with
/// codes of all values.
TypedBuffer every_code(DType type, std::int64_t elements) {
  TypedBuffer buffer(type, elements);
  const std::span<std::byte> bytes = buffer.bytes();
  const DTypeInfo& info = dtype_info(type);
  if (info.block_elements < 32) {
    // Two's complement of their number: all codes of 16 bits, those of 8 bits again and again.
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      const std::size_t code = i / static_cast<std::size_t>(info.block_bytes);
      bytes[i] =
          static_cast<std::byte>(code >> (8 * (i % static_cast<std::size_t>(info.block_bytes))));
    }
    return buffer;
  }
  const auto block_bytes = static_cast<std::size_t>(info.block_bytes);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const std::size_t block = i / block_bytes, at = i % block_bytes;
    const auto scale = static_cast<std::uint16_t>(block * 32 + block % 32);
    bytes[i] = at == 0   ? static_cast<std::byte>(scale & 0xFF)
               : at == 1 ? static_cast<std::byte>(scale >> 8)
                         : static_cast<std::byte>(block * 31 + at * 7);
  }
  return buffer;
}

// As keys, which decode transposes while they are packed. What is not finite spoils the rows of its
// sequence, so these are short; each has a whole block of keys, and one more.
TEST(ElementTypes, EveryCodeOfKeys) {
  constexpr std::int64_t kKeys = 33, kSequences = 64, kDims = 32;
  for (const DTypeInfo& type : kDTypes) {
    if (type.type == DType::f32) continue;
    AttentionConfig config;
    config.query_heads = 3;
    config.head_dim = kDims;
    config.k_type = type.type;
    config.scale = 0.125F;
    Batch batch;
    batch.sequences = kSequences;
    batch.query.length = 1;
    batch.key.length = kKeys;
    const TypedBuffer k = every_code(type.type, kSequences * kKeys * kDims);
    std::vector<float> v(static_cast<std::size_t>(kSequences * kKeys * kDims));
    std::vector<float> q(static_cast<std::size_t>(kSequences * 3 * kDims));
    proof::Random random(5);
    for (float& x : v) x = static_cast<float>(random.normal());
    for (float& x : q) x = static_cast<float>(random.normal());
    AttentionTensors tensors{.q = q.data(), .k = k.data(), .v = v.data()};
    const std::vector<float> scales(kSequences * kKeys, 0.1F);
    if (type.scaled) tensors.k_scales.scales = scales.data();
    for (const std::string_view isa : supported_isas()) {
      SCOPED_TRACE(type.name);
      expect_oracle({config, batch, tensors}, on(isa));
      if (HasFailure()) return;
    }
  }
}

/// Every float that is a 16-bit code of the type, or lies half way to the next one, or beside that.
std::vector<float> floats_around(DType type) {
  std::vector<float> floats;
  for (std::uint32_t code = 0; code < 65536; ++code) {
    const auto bits = static_cast<std::uint16_t>(code);
    const Float16 half{bits};
    const BFloat16 brain{bits};
    std::vector<float> buffer;
    const InputData data = type == DType::f16 ? InputData(&half) : InputData(&brain);
    const float x = proof::floats_of(data, 1, buffer)[0];
    const float infinity = std::numeric_limits<float>::infinity();
    const float ulp =
        std::isfinite(x) ? std::abs(x) * (type == DType::f16 ? 0x1p-11F : 0x1p-8F) : 0;
    for (const float y : {x, x + ulp, x + ulp / 2}) {
      for (const float z : {y, std::nextafter(y, infinity), std::nextafter(y, -infinity)}) {
        floats.push_back(z);
      }
    }
  }
  floats.resize(floats.size() / 64 * 64);
  return floats;
}

TEST(ElementTypes, OutputsAreRoundedToTheNearest) {
  for (const DType type : {DType::f16, DType::bf16}) {
    const std::vector<float> floats = floats_around(type);
    const TypedBuffer rounded(type, std::ssize(floats));
    std::vector<float> zeroed = floats, buffer;
    for (float& x : zeroed) x = through(x);
    proof::narrow(zeroed, rounded.data());
    const auto count = static_cast<std::int64_t>(floats.size());
    const auto expected = proof::floats_of(rounded.data(), count, buffer);
    for (const std::string_view isa : supported_isas()) {
      const std::vector<float> actual = through_one_key(floats.data(), count, type, isa);
      for (std::size_t i = 0; i < floats.size(); ++i) {
        ASSERT_TRUE(same_bits(actual[i], expected[i]))
            << isa << ": " << floats[i] << " became " << actual[i] << " and not " << expected[i];
      }
    }
  }
}

// Scales of blocks may be anything, NaN and infinite ones too; codes as well, −128 included.
TEST(ElementTypes, EveryScaleAndCodeOfBlocks) {
  std::vector<BlockQ8> wide(2048);
  std::vector<BlockQ4> narrow(2048);
  for (std::size_t i = 0; i < wide.size(); ++i) {
    wide[i].scale.bits = narrow[i].scale.bits = static_cast<std::uint16_t>(i * 32 + i % 32);
    for (std::size_t j = 0; j < 32; ++j) {
      wide[i].codes[j] = static_cast<std::int8_t>((i * 32 + j) % 256 - 128);
      if (j < 16) narrow[i].codes[j] = static_cast<std::uint8_t>(i * 16 + j);
    }
  }
  for (const InputData& data : {InputData(wide.data()), InputData(narrow.data())}) {
    std::vector<float> buffer;
    const auto expected = proof::floats_of(data, 65536, buffer);
    for (const std::string_view isa : supported_isas()) {
      const std::vector<float> actual = through_one_key(data, 65536, DType::f32, isa);
      for (std::size_t i = 0; i < 65536; ++i) {
        ASSERT_TRUE(same_bits(actual[i], through(expected[i])))
            << isa << ", element " << i << ": " << actual[i] << " and not " << expected[i];
      }
    }
  }
}

}  // namespace
}  // namespace heed::tests
